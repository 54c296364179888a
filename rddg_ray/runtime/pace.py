"""How long the rest takes and what it costs, from the recent pace."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_WINDOW_S = 180.0
_LEAST_S = 10.0
_LEAST_STEPS = 3


@dataclass(frozen=True, slots=True)
class _Moment:
    at_s: float
    n_done: int
    cost_usd: float


class Pace:
    """Watches rows come in and says what the others will take; None while it cannot know.

    A resumed run starts with rows that come at once, from replies on record, and every chain
    with calls that make no row. So it counts from the first rows that a new call made, and is
    silent until rows came at three moments or more, over ten seconds or more, and again where
    none has come for three minutes.
    """

    def __init__(self) -> None:
        self._moments: deque[_Moment] = deque()
        self._n_calls: int | None = None
        self._n_done = 0
        self._now_s = 0.0

    def tell(self, now_s: float, n_done: int, n_calls: int, cost_usd: float = 0.0) -> None:
        """Take note of where the run is.

        Args:
            now_s: Seconds on a clock that never goes back.
            n_done: Rows so far.
            n_calls: Calls paid for so far, over all starts of the run: what a start replays from
                the journal does not move it.
            cost_usd: What they cost.
        """
        self._now_s = now_s
        if self._n_calls is None:
            self._n_calls = n_calls
        if n_calls > self._n_calls and n_done > self._n_done:
            self._moments.append(_Moment(now_s, n_done, cost_usd))
        self._n_done = n_done
        while self._moments and self._moments[0].at_s < now_s - _WINDOW_S:
            self._moments.popleft()

    def time_left_s(self, n_wanted: int) -> float | None:
        """Return the seconds until `n_wanted` rows are done, or None where nobody can tell."""
        if not self._is_known():
            return None
        first, last = self._moments[0], self._moments[-1]
        # Up to now, not to the last row: where rows stop coming, the time left grows.
        per_row_s = (self._now_s - first.at_s) / (last.n_done - first.n_done)
        return max(0, n_wanted - last.n_done) * per_row_s

    def projected_usd(self, n_wanted: int) -> float | None:
        """Return what the run will have cost at its end, or None where nobody can tell."""
        if not self._is_known():
            return None
        first, last = self._moments[0], self._moments[-1]
        per_row_usd = (last.cost_usd - first.cost_usd) / (last.n_done - first.n_done)
        return last.cost_usd + max(0, n_wanted - last.n_done) * per_row_usd

    def _is_known(self) -> bool:
        if len(self._moments) <= _LEAST_STEPS:
            return False
        return self._moments[-1].at_s - self._moments[0].at_s >= _LEAST_S
