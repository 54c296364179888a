"""How many calls may be in flight at once."""

from __future__ import annotations


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
