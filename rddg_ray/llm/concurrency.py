"""How many calls may be in flight at once: in a process, and over a run."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

# Whoever was left without a place asks again within this time, or wants none any more.
_HEEDED_S = 0.25


class Slots:
    """Places of the calls that are in flight or about to fly.

    A call that waits for its turn has none: waiting must not keep the next one from flying.

    Args:
        n_slots: Places, at least 1; None for no bound.
    """

    __slots__ = ("_n_slots", "n_taken")

    def __init__(self, n_slots: int | None = None) -> None:
        if n_slots is not None and n_slots < 1:
            raise ValueError(f"max_concurrency must be at least 1, found {n_slots}")
        self._n_slots = n_slots
        self.n_taken = 0

    def n_free(self, n_wanted: int) -> int:
        """Return how many of the places wanted are free."""
        if self._n_slots is None:
            return n_wanted
        return max(0, min(n_wanted, self._n_slots - self.n_taken))

    def take(self) -> None:
        """Take a place."""
        self.n_taken += 1

    def give_back(self) -> None:
        """Give a place back."""
        self.n_taken -= 1


@dataclass(slots=True)
class _Want:
    """Places that a process was left without."""

    n_places: int
    since_s: float
    asked_s: float


class Flights:
    """Calls in flight or about to fly, by the process that makes them, and a bound on them all.

    Where more wait than places are left, processes share: none takes a place that another one,
    with fewer calls in flight, was left without a moment ago; of equals the longest waiting comes
    first. A process whose own calls end would otherwise always be the first to hear of a place.

    Args:
        n_most: Calls at most, at least 1; None for no bound.
    """

    def __init__(self, n_most: int | None = None) -> None:
        if n_most is not None and n_most < 1:
            raise ValueError(f"max_concurrency must be at least 1, found {n_most}")
        self._n_most = n_most
        self._n_now = 0
        self._started: dict[str, deque[float]] = {}
        self._wants: dict[str, _Want] = {}

    def __len__(self) -> int:
        """Return how many calls there are."""
        return self._n_now

    def oldest_s(self) -> float | None:
        """Return when the longest under way was given its turn; None where there is none."""
        return min((started[0] for started in self._started.values()), default=None)

    def n_free(self, now_s: float, n_wanted: int, owner: str = "") -> int:
        """Return how many of the places that a process wants it may take now."""
        if self._n_most is None:
            return n_wanted
        want = self._wants.get(owner)
        since_s = now_s if want is None else want.since_s
        n_left = self._n_most - self._n_now - self._n_due_to_others(now_s, owner, since_s)
        n_free = max(0, min(n_wanted, n_left))
        if n_free < n_wanted:
            self._wants[owner] = _Want(n_wanted - n_free, now_s if n_free else since_s, now_s)
        else:
            self._wants.pop(owner, None)
        return n_free

    def start(self, now_s: float, n_calls: int, owner: str = "") -> None:
        """Count calls that were given their turns."""
        if n_calls > 0:
            self._started.setdefault(owner, deque()).extend([now_s] * n_calls)
            self._n_now += n_calls

    def end(self, owner: str = "") -> None:
        """Count a call's end. Which one is not told, and only their number counts: the oldest."""
        if owner in self._started:
            self._drop_oldest(owner)

    def correct(self, now_s: float, n_calls: int, owner: str) -> None:
        """Take a process's word for how many it has: an end, or all, may have gone unheard."""
        while len(self._started.get(owner, ())) > n_calls:
            self._drop_oldest(owner)
        self.start(now_s, n_calls - len(self._started.get(owner, ())), owner)

    def drop(self, owner: str) -> None:
        """Forget a process that is gone, with its calls."""
        self._n_now -= len(self._started.pop(owner, ()))
        self._wants.pop(owner, None)

    def forget(self, until_s: float) -> None:
        """Drop the calls that were given their turns up to a moment."""
        for owner in list(self._started):
            while owner in self._started and self._started[owner][0] <= until_s:
                self._drop_oldest(owner)

    def _drop_oldest(self, owner: str) -> None:
        started = self._started[owner]
        started.popleft()
        self._n_now -= 1
        if not started:
            del self._started[owner]

    def _n_due_to_others(self, now_s: float, owner: str, since_s: float) -> int:
        """Return how many places are due to others before this process may take one more."""
        n_own = len(self._started.get(owner, ()))
        n_due = 0
        for other, want in self._wants.items():
            if other == owner or want.asked_s < now_s - _HEEDED_S:
                continue
            n_more = n_own - len(self._started.get(other, ())) + (want.since_s < since_s)
            n_due += max(0, min(want.n_places, n_more))
        return n_due
