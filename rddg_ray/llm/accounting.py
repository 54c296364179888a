"""Learning from headers what a server charges: what was reserved, or what was used."""

from __future__ import annotations

import heapq
import math
from typing import Literal

Accounting = Literal["reserve", "actual"]

_MIN_OBSERVATIONS = 30
_MAX_OBSERVATIONS = 5_000
_FACTOR = 2.0
_RESET_SHARE = 0.05


class _Bucket:
    """What a server would miss that wins back its limit evenly."""

    __slots__ = ("_at_s", "_missing", "error")

    def __init__(self) -> None:
        self._at_s = -math.inf
        self._missing = 0.0
        self.error = 0.0

    def charge(self, at_s: float, amount: float, limit: float) -> None:
        self._win_back(at_s, limit)
        self._missing += amount

    def observe(self, now_s: float, used: float, limit: float) -> None:
        self._win_back(now_s, limit)
        self.error += abs(self._missing - used)

    def _win_back(self, now_s: float, limit: float) -> None:
        won = max(0.0, now_s - self._at_s) * limit / 60.0
        self._missing = max(0.0, self._missing - won)
        self._at_s = max(self._at_s, now_s)


class _Window:
    """What a server would have counted that wins nothing back until it starts anew.

    A new start shows as a fall of what it reports, and is one here too.
    """

    __slots__ = ("_peak", "_used", "error")

    def __init__(self) -> None:
        self._used: float | None = None
        self._peak = 0.0
        self.error = 0.0

    def charge(self, amount: float) -> None:
        if self._used is not None:
            self._used += amount

    def observe(self, used: float, limit: float) -> None:
        if self._used is None or used < self._peak - _RESET_SHARE * limit:
            self._used = self._peak = used
            return
        self._peak = max(self._peak, used)
        self.error += abs(self._used - used)


class _Hypothesis:
    """One accounting, for servers of either kind; the kind that fits better speaks for it."""

    __slots__ = ("_bucket", "_window")

    def __init__(self) -> None:
        self._bucket = _Bucket()
        self._window = _Window()

    def charge(self, at_s: float, amount: float, limit: float) -> None:
        self._bucket.charge(at_s, amount, limit)
        self._window.charge(amount)

    def observe(self, now_s: float, used: float, limit: float) -> None:
        self._bucket.observe(now_s, used, limit)
        self._window.observe(used, limit)

    @property
    def error(self) -> float:
        return min(self._bucket.error, self._window.error)


class AccountingLearner:
    """Compares what a server reports as used with what it would be under either accounting.

    It decides once one of them fits twice as well as the other over at least 30 responses, and
    gives up, on the safe side, after 5,000. A burst of refusals after it found `actual` proves
    it wrong for good.
    """

    def __init__(self) -> None:
        self.accounting: Accounting = "reserve"
        self.is_done = False
        self._sendings: list[tuple[float, float]] = []
        self._reserve = _Hypothesis()
        self._actual = _Hypothesis()
        self._n_observations = 0

    def send(self, at_s: float, estimate: float) -> None:
        """Take note of a call that is sent at a moment, now or later."""
        if not self.is_done:
            heapq.heappush(self._sendings, (at_s, estimate))

    def observe(
        self, now_s: float, used: float, limit: int | None = None, remaining: int | None = None
    ) -> None:
        """Take note of a reply.

        Args:
            now_s: The moment it came.
            used: Tokens of prompt and reply.
            limit: The server's limit on tokens a minute, or None where it does not tell.
            remaining: Tokens left of it.
        """
        if self.is_done or limit is None or remaining is None:
            return
        while self._sendings and self._sendings[0][0] <= now_s:
            at_s, estimate = heapq.heappop(self._sendings)
            self._reserve.charge(at_s, estimate, limit)
        self._actual.charge(now_s, used, limit)
        self._reserve.observe(now_s, limit - remaining, limit)
        self._actual.observe(now_s, limit - remaining, limit)
        self._n_observations += 1
        self._decide()

    def refuse(self) -> None:
        """Take note of a burst of refusals."""
        if self.accounting == "actual":
            self._end("reserve")

    def _decide(self) -> None:
        if self._n_observations < _MIN_OBSERVATIONS:
            return
        actual, reserve = self._actual.error, self._reserve.error
        if actual * _FACTOR < reserve:
            self._end("actual")
        elif reserve * _FACTOR < actual or self._n_observations >= _MAX_OBSERVATIONS:
            self._end("reserve")

    def _end(self, accounting: Accounting) -> None:
        self.accounting, self.is_done = accounting, True
        self._sendings.clear()
