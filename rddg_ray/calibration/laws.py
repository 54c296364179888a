"""The law of a batch of real rows: what a faithful endpoint's rows would come to.

A heavy tail makes textbook variances (1 / n of a mean, 1 / (2 n) of a log standard deviation,
1 / (n - 3) of a Fisher z) far too small, and biases the log standard deviation of a small batch
downwards. So the law is taken from the real rows themselves: many batches are drawn from them
with replacement, from a fixed random state.
"""

from __future__ import annotations

import numpy as np

from rddg_ray.calibration.moments import number_summaries, number_totals
from rddg_ray.measuring import Floats, Ints

# Sizes at which batches of real rows are drawn; between them the law is interpolated in 1 / n,
# above them its variance falls like 1 / n.
_SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 50, 100, 200)
# Batches drawn. With the most their mean is known to 1/40 of a batch's standard deviation, so that
# the pooled evidence of a dozen rounds is still free of it; wide tables get fewer.
_MOST_DRAWS, _LEAST_DRAWS = 1600, 200
_MOST_WORK = 200_000_000  # draws x rows x columns squared
# Numbers in a stack of batches that are worked on at once: some 30 MB.
_MOST_NUMBERS = 4_000_000


class DrawnLaw:
    """Mean and variance of the number summaries over batches of real rows."""

    def __init__(self, numbers: Floats, pairs: tuple[Ints, Ints], target: Floats) -> None:
        """Prepare a class.

        Args:
            numbers: Its real rows, standardised, shape `(n_rows, n_numbers)`; NaN is missing.
            pairs: Columns of the pairs to correlate.
            target: The summaries of all of them.
        """
        self._numbers = numbers
        self._pairs = pairs
        self._target = target
        self._laws: dict[int, tuple[Floats, Floats]] = {}

    def at(self, size: int) -> tuple[Floats, Floats]:
        """Return mean and variance at a number of rows, at least 1.

        A summary that fewer than half of the batches define has mean NaN and variance infinite.
        """
        lower = max(n for n in _SIZES if n <= size)
        upper = min((n for n in _SIZES if n >= size), default=lower)
        below, above = self._drawn(lower), self._drawn(upper)
        if upper == lower:
            fall = lower / size
            return self._target * (1 - fall) + below[0] * fall, below[1] * fall
        weight = (1 / size - 1 / upper) / (1 / lower - 1 / upper)
        return _between(below[0], above[0], weight), _between(below[1], above[1], weight)

    def _drawn(self, size: int) -> tuple[Floats, Floats]:
        if size not in self._laws:
            self._laws[size] = self._draw(size)
        return self._laws[size]

    def _draw(self, size: int) -> tuple[Floats, Floats]:
        found = self._batches(size) if len(self._numbers) else np.zeros((0, len(self._target)))
        defined = np.isfinite(found)
        counts = defined.sum(axis=0)
        enough = counts >= max(len(found) / 2, 1)
        safe = np.maximum(counts, 1)
        mean = np.where(defined, found, 0.0).sum(axis=0) / safe
        variance = (np.where(defined, found - mean, 0.0) ** 2).sum(axis=0) / safe
        return np.where(enough, mean, np.nan), np.where(enough, variance, np.inf)

    def _batches(self, size: int) -> Floats:
        """Return the summaries of batches drawn at this size, shape `(n_draws, n_summaries)`."""
        n_real, n_numbers = self._numbers.shape
        rng = np.random.default_rng([size, n_real])
        width = max(n_numbers, 1)
        n_draws = int(np.clip(_MOST_WORK // (size * width**2), _LEAST_DRAWS, _MOST_DRAWS))
        at_once = int(np.clip(_MOST_NUMBERS // (4 * width * max(size, width)), 1, n_draws))
        stacks = []
        for start in range(0, n_draws, at_once):
            picked = rng.integers(n_real, size=(min(at_once, n_draws - start), size))
            totals = number_totals(self._numbers[picked])
            stacks.append(number_summaries(totals, self._pairs)[0])
        return np.concatenate(stacks)


def _between(below: Floats, above: Floats, weight: float) -> Floats:
    """Interpolate; a law that is not defined at the smaller size is taken from the larger one."""
    usable = np.isfinite(below) & np.isfinite(above)
    with np.errstate(invalid="ignore"):
        between = weight * below + (1 - weight) * above
    return np.where(usable, between, above)
