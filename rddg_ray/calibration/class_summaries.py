"""The summaries of one class's rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rddg_ray.calibration.laws import DrawnLaw
from rddg_ray.calibration.moments import (
    LEAST_LOG_SD,
    MOST_CORRELATION,
    number_summaries,
    number_totals,
    share_null,
    share_summaries,
)
from rddg_ray.calibration.shares import share_members
from rddg_ray.calibration.summary import Observation, Summary
from rddg_ray.measuring import Floats, Gauge, Ints, Measured

# A number's sampling variance per row is at least this: a column that is constant in a class's
# real rows is no proof that it can never vary.
_LEAST_VARIANCE = 0.01
_MAX_LAWS = 256
# How far a control may lie from its target: two standard deviations, a factor of 2 of a spread,
# half a Fisher z (0.46 from 0), and for shares 0.3 (from 0.5 to 0.78). Whoever does not answer to
# that will not answer to more, and what is wrung out of a column costs the others.
_REACHES = (2.0, float(np.log(2)), 0.5, 0.3)
# Rows of a usual batch.
_USUAL = 15.0


class ClassSummaries:
    """The summaries of one class.

    Attributes:
        summaries: What they are: means, log standard deviations, correlations, shares.
        target: Their values in the class's real rows.
        unit: Their standard deviation per row, `sqrt(n v(n))` at 15 rows.
        low: Lowest control, as the real rows have it.
        high: Highest control.
        speakable: Whether a summary can be said in words; pooled categories cannot.
        centre: Mean of each number in the real rows, in the column's unit.
        scale: Their standard deviation.
        n_totals: Length of the array of totals.
    """

    def __init__(self, gauge: Gauge, at: int, real: Measured, rare_share: float) -> None:
        """Prepare the class at place `at`.

        Args:
            gauge: The gauge that measured the rows.
            at: The class's place in `gauge.classes`.
            real: Real rows of all classes.
            rare_share: Categories below this share are pooled.
        """
        mine = real.take(real.labels == at)
        self._n_real = len(mine)
        self.centre, self.scale = _standards(mine.numbers, real.numbers)
        self._low, self._high = _edges((mine.numbers - self.centre) / self.scale)
        self._numbers = self._standardised(mine.numbers)
        n_numbers = len(gauge.numbers)
        self._pairs = _pairs(n_numbers)
        members, shared = share_members(gauge, gauge.classes[at], mine, rare_share)
        # Every slot belongs to one column, so a share is a sum over slots.
        self._of_share = np.zeros((len(members), len(gauge.slots)))
        for share, (_, slots) in enumerate(members):
            self._of_share[share, slots] = 1.0
        label, names = gauge.classes[at], [column.name for column in gauge.numbers]
        self.summaries: tuple[Summary, ...] = (
            *(Summary(label, "mean", (name,)) for name in names),
            *(Summary(label, "std", (name,)) for name in names),
            *(Summary(label, "correlation", (names[a], names[b]))
              for a, b in zip(*self._pairs, strict=True)),
            *shared,
        )  # fmt: skip
        found, counts = number_summaries(number_totals(self._numbers), self._pairs)
        self._known_share = counts / max(self._n_real, 1)
        real_shares = self._counts(mine.slots) / max(self._n_real, 1)
        # Half a row more keeps a category that no real row has from being impossible.
        self._shares = (real_shares * self._n_real + 0.5) / (self._n_real + 1)
        self._share_laws: dict[int, tuple[Floats, Floats]] = {}
        self.n_totals = 1 + len(self._shares) + 4 * n_numbers**2
        self._drawn = DrawnLaw(self._numbers, self._pairs, found)
        self.target = np.concatenate([found, np.arcsin(np.sqrt(real_shares))])
        self._usable = self._which_are_usable(n_numbers)
        self.low, self.high = self._range(n_numbers)
        self.unit = self._unit()
        self.speakable = self._usable & np.array(
            [s.kind != "share" or len(s.values) == 1 for s in self.summaries], dtype=np.bool_
        )

    def totals(self, rows: Measured) -> Floats:
        """Return what the summaries of some rows of this class are made of, as one array."""
        numbers = number_totals(self._standardised(rows.numbers))
        return np.concatenate([[float(len(rows))], self._counts(rows.slots), numbers.ravel()])

    def observe(self, totals: Floats) -> Observation:
        """Return the summaries of the rows of these totals, against as many real rows."""
        n_rows, n_shares = float(totals[0]), len(self._shares)
        width = self._numbers.shape[1]
        numbers = totals[1 + n_shares :].reshape(4, width, width)
        found, counts = number_summaries(numbers, self._pairs)
        value = np.concatenate([found, share_summaries(totals[1 : 1 + n_shares], n_rows)])
        known = np.concatenate([counts, np.full(n_shares, n_rows)])
        centre, variance = self.law(counts, n_rows)
        defined = self._usable & np.isfinite(value - centre) & np.isfinite(variance)
        return Observation(
            np.where(defined, value - centre, 0.0), np.where(defined, variance, np.inf), known
        )

    def law(self, counts: Floats, n_rows: float) -> tuple[Floats, Floats]:
        """Return mean and variance of each summary over batches of real rows.

        Args:
            counts: Known values that each number summary rests on.
            n_rows: Rows, which the shares rest on.

        Returns:
            Mean and variance; NaN and infinite where a summary is not defined at that size.
        """
        # Batches are drawn by rows: a column that is known in half of them needs twice as many.
        share = np.where(self._known_share > 0, self._known_share, np.inf)
        rows = np.round(counts / share)
        mean, variance = np.full(len(rows), np.nan), np.full(len(rows), np.inf)
        for size in np.unique(rows[rows >= 1]):
            law_mean, law_variance = self._drawn.at(int(size))
            mean = np.where(rows == size, law_mean, mean)
            variance = np.where(rows == size, law_variance, variance)
        variance = np.maximum(variance, _LEAST_VARIANCE / np.maximum(rows, 1.0))
        shares = self._share_law(int(n_rows))
        return np.concatenate([mean, shares[0]]), np.concatenate([variance, shares[1]])

    def _share_law(self, n_rows: int) -> tuple[Floats, Floats]:
        if n_rows and n_rows not in self._share_laws:
            # Batches come in few sizes; whole outputs in ever new ones.
            if len(self._share_laws) >= _MAX_LAWS:
                self._share_laws.clear()
            self._share_laws[n_rows] = share_null(self._shares, n_rows)
        if n_rows:
            return self._share_laws[n_rows]
        return np.full(len(self._shares), np.nan), np.full(len(self._shares), np.inf)

    def _standardised(self, numbers: Floats) -> Floats:
        """Return numbers in real standard deviations, held within one range beyond the real ones.

        A slip of the decimal point in one cell must not drown what the others say.
        """
        with np.errstate(over="ignore"):
            scaled = (numbers - self.centre) / self.scale
        width = self._high - self._low
        held: Floats = np.clip(scaled, self._low - width, self._high + width)
        return held

    def _counts(self, slots: Ints) -> Floats:
        """Return how many rows have one of the categories of each share."""
        known = slots[slots >= 0]
        counts: Floats = self._of_share @ np.bincount(known, minlength=self._of_share.shape[1])
        return counts

    def _which_are_usable(self, n_numbers: int) -> NDArray[np.bool_]:
        usable: NDArray[np.bool_] = np.isfinite(self.target)
        spreads = self.target[n_numbers : 2 * n_numbers]
        # A log standard deviation has no target where the real rows do not vary.
        usable[n_numbers : 2 * n_numbers] &= spreads > LEAST_LOG_SD
        return usable

    def _range(self, n_numbers: int) -> tuple[Floats, Floats]:
        n_pairs, n_shares = len(self._pairs[0]), len(self._shares)
        most = np.arctanh(MOST_CORRELATION)
        # Values between two bounds have at most half their distance for a standard deviation.
        widest = np.log(np.maximum((self._high - self._low) / 2, 1.0))
        low = [self._low, np.full(n_numbers, LEAST_LOG_SD), np.full(n_pairs, -most),
               np.zeros(n_shares)]  # fmt: skip
        high = [self._high, widest, np.full(n_pairs, most), np.full(n_shares, np.pi / 2)]
        reach = np.repeat(_REACHES, [n_numbers, n_numbers, n_pairs, n_shares])
        return (
            np.maximum(np.concatenate(low), self.target - reach),
            np.minimum(np.concatenate(high), self.target + reach),
        )

    def _unit(self) -> Floats:
        _, variance = self.law(_USUAL * self._known_share, _USUAL)
        unit: Floats = np.sqrt(np.where(np.isfinite(variance), _USUAL * variance, 1.0))
        return unit


def _standards(mine: Floats, everyone: Floats) -> tuple[Floats, Floats]:
    """Return mean and scale of each number: a class that does not vary has the table's."""
    centre, scale = _mean_and_sd(mine)
    other_centre, other_scale = _mean_and_sd(everyone)
    scale = np.where(scale > 0, scale, other_scale)
    return (
        np.where(np.isfinite(centre), centre, np.nan_to_num(other_centre)),
        np.where(scale > 0, scale, 1.0),
    )


def _mean_and_sd(numbers: Floats) -> tuple[Floats, Floats]:
    known = ~np.isnan(numbers)
    counts = known.sum(axis=0)
    filled = np.where(known, numbers, 0.0)
    mean = np.where(counts > 0, filled.sum(axis=0) / np.maximum(counts, 1), np.nan)
    squares = (np.where(known, filled - mean, 0.0) ** 2).sum(axis=0)
    sd = np.sqrt(squares / np.maximum(counts - 1, 1))
    # Of equal values the mean can differ by rounding, which is no spread.
    return mean, np.where(sd > 1e-9 * np.abs(np.nan_to_num(mean)), sd, 0.0)


def _edges(scaled: Floats) -> tuple[Floats, Floats]:
    known = ~np.isnan(scaled)
    low = np.where(known, scaled, np.inf).min(axis=0, initial=np.inf)
    high = np.where(known, scaled, -np.inf).max(axis=0, initial=-np.inf)
    is_empty = ~known.any(axis=0) if len(scaled) else np.ones(scaled.shape[1], dtype=np.bool_)
    varies = (high > low) & ~is_empty
    # A constant column may still be off: leave it a standard deviation on each side.
    return np.where(varies, low, -1.0), np.where(varies, high, 1.0)


def _pairs(n_numbers: int) -> tuple[Ints, Ints]:
    first, second = np.triu_indices(n_numbers, k=1)
    return first.astype(np.int64), second.astype(np.int64)
