"""When a chain that was lost is started again."""

from __future__ import annotations

from collections import Counter

_MAX_LOSSES = 6
_FIRST_PAUSE_S = 1.0


class Restarts:
    """Counts how often chains were lost; pauses grow, and patience ends, only without progress.

    A run of days on machines that come and go loses its actors many times, and that is no reason
    to stop; losing them six times within one round is.
    """

    def __init__(self) -> None:
        self.starts: Counter[int] = Counter()
        self._losses: Counter[int] = Counter()
        self._rounds: dict[int, int] = {}
        self._refusals: dict[int, set[int]] = {}

    def pause_s(self, chain: int, rounds: int, *, refused_by: int | None = None) -> float | None:
        """Return the seconds before a lost chain is started again, or None to give it up.

        Args:
            chain: Which chain.
            rounds: How far it was.
            refused_by: The host that was lost before it began the chain. The first time that is
                no loss of the chain; a host that is lost by beginning it may look the same.
        """
        if rounds > self._rounds.get(chain, 0):
            self._losses[chain] = 0
            self._rounds[chain] = rounds
            self._refusals.pop(chain, None)
        refusals = self._refusals.setdefault(chain, set())
        if refused_by is not None and refused_by not in refusals:
            refusals.add(refused_by)
            return 0.0
        self._losses[chain] += 1
        if self._losses[chain] == _MAX_LOSSES:
            return None
        return _FIRST_PAUSE_S * float(2 ** (self._losses[chain] - 1))
