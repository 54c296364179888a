"""What refusals (429) mean for those who come after: one pause a burst, fewer at once."""

from __future__ import annotations

import math

FIRST_WINDOW = 8
LARGEST_WINDOW = 1024
_FIRST_PAUSE_S = 1.0
_MAX_PAUSE_S = 60.0
_MAX_RETRY_AFTER_S = 300.0
_CALM = 2.0
_OPENED_PER_S = 15.0
_MAX_STEP_S = 0.15


class Bursts:
    """Turns refusals into pauses, one for all refusals that have the same cause.

    Calls that were in flight when the first refusal came are refused too; they belong to its
    burst until its pause is over. Where the server names no wait above 0, the pause is 1 s, and
    twice the last one (at most 60 s) if the next burst follows within twice the last pause.
    """

    __slots__ = ("_ends_s", "_pause_s", "n_bursts")

    def __init__(self) -> None:
        self._ends_s = -math.inf
        self._pause_s = 0.0
        self.n_bursts = 0

    def refuse(self, now_s: float, retry_after_s: float | None) -> float:
        """Take note of a refusal; return the seconds to shift everything by, 0 within a burst.

        Args:
            now_s: The moment the refusal came.
            retry_after_s: Seconds the server asked to wait, at most 300 heeded, or None.
        """
        asked_s = min(retry_after_s, _MAX_RETRY_AFTER_S) if retry_after_s else None
        if now_s < self._ends_s:
            return self._lengthened(asked_s)
        pause_s = self._next_pause_s(now_s) if asked_s is None else asked_s
        self.n_bursts += 1
        self._pause_s = pause_s
        self._ends_s = now_s + pause_s
        return pause_s

    def _lengthened(self, asked_s: float | None) -> float:
        # One server answers a burst with about the same wait; a much longer one is news.
        if asked_s is None or asked_s <= max(2 * self._pause_s, self._pause_s + 1.0):
            return 0.0
        more_s = asked_s - self._pause_s
        self._pause_s = asked_s
        self._ends_s += more_s
        return more_s

    def _next_pause_s(self, now_s: float) -> float:
        if now_s - self._ends_s > _CALM * self._pause_s:
            return _FIRST_PAUSE_S
        return min(_MAX_PAUSE_S, max(_FIRST_PAUSE_S, 2 * self._pause_s))


class Window:
    """Calls in flight where no limit is known: more as they pass, half as many once refused.

    Until the first burst of refusals it grows by one for each success, and by one for each 67 ms
    in which calls wait for a place in it: a reply may take a minute, while a refusal comes back
    before the next call goes out, so silence is taken for consent. From the first burst on it
    grows by one for each windowful of successes. A burst halves it, or what is in flight if that
    is less.

    Args:
        initial: Calls in flight at first.
        maximum: Calls in flight at most.

    References:
        Chiu & Jain (1989), Analysis of the increase and decrease algorithms for congestion
        avoidance in computer networks.
    """

    __slots__ = ("_full_s", "_maximum", "_size", "_starting")

    def __init__(self, initial: int = FIRST_WINDOW, maximum: int = LARGEST_WINDOW) -> None:
        if not 1 <= initial <= maximum:
            raise ValueError(f"initial must lie in [1, {maximum}], found {initial}")
        self._size = float(initial)
        self._maximum = float(maximum)
        self._starting = True
        self._full_s: float | None = None

    @property
    def size(self) -> int:
        """Return how many calls may be in flight, at least 1."""
        return int(self._size)

    def n_free(self, now_s: float, n_in_flight: int, n_wanted: int) -> int:
        """Return how many of the places wanted are free.

        Args:
            now_s: The moment of asking.
            n_in_flight: Calls in flight.
            n_wanted: Calls that wait.
        """
        if self._full_s is not None and self._starting:
            # Only time in which calls waited counts, and a process that stood still opens little.
            waited_s = min(now_s - self._full_s, _MAX_STEP_S)
            self._size = min(self._maximum, self._size + _OPENED_PER_S * waited_s)
        n_free = max(0, min(n_wanted, self.size - n_in_flight))
        self._full_s = now_s if n_free < n_wanted else None
        return n_free

    def succeed(self) -> None:
        """Take note of a success."""
        more = 1.0 if self._starting else 1.0 / self._size
        self._size = min(self._maximum, self._size + more)

    def back_off(self, n_in_flight: float = math.inf) -> None:
        """Take note of a burst of refusals.

        Args:
            n_in_flight: Calls in flight when it came, the refused one too.
        """
        self._starting = False
        self._size = max(1.0, min(self._size, n_in_flight) / 2)
