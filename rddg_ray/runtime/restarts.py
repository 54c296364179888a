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

    def pause_s(self, chain: int, rounds: int) -> float | None:
        """Return the seconds before a lost chain is started again, or None to give it up.

        Args:
            chain: Which chain.
            rounds: How far it was.
        """
        if rounds > self._rounds.get(chain, 0):
            self._losses[chain] = 0
            self._rounds[chain] = rounds
        self._losses[chain] += 1
        if self._losses[chain] == _MAX_LOSSES:
            return None
        return _FIRST_PAUSE_S * float(2 ** (self._losses[chain] - 1))
