"""What is compared: summaries of every class's rows, with what real rows give at n rows.

A summary is a mean, a log standard deviation, the Fisher z of a pair of numbers or the arcsine
square root of a category's share, within one class. Numbers are standardised by the mean and
standard deviation of the class's real rows, so a mean is in real standard deviations and a log
standard deviation is 0 where the spread is right. A faithful endpoint's law at n rows is drawn
from the real rows (`laws`); shares have theirs in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rddg_ray.calibration.class_summaries import ClassSummaries
from rddg_ray.calibration.summary import Observation
from rddg_ray.measuring import Floats, Gauge, Measured


class Summaries:
    """The summaries of all classes, one after the other.

    Attributes:
        items: What they are.
        target: Values in the real rows, shape `(n_summaries,)`; NaN where not defined.
        unit: Standard deviation per row.
        low: Lowest control.
        high: Highest control.
        speakable: Whether a summary can be said in words.
        classes: The summaries of each class, in the gauge's order.
    """

    def __init__(self, gauge: Gauge, real: Measured, *, rare_share: float = 0.05) -> None:
        """Prepare a table's summaries.

        Args:
            gauge: The gauge that measured the rows.
            real: The training rows.
            rare_share: Categories with a smaller share in a class are pooled there.
        """
        self.classes = tuple(
            [ClassSummaries(gauge, at, real, rare_share) for at in range(len(gauge.classes))]
        )
        self.items = tuple([item for part in self.classes for item in part.summaries])
        self.target = _joined([part.target for part in self.classes])
        self.unit = _joined([part.unit for part in self.classes])
        self.low = _joined([part.low for part in self.classes])
        self.high = _joined([part.high for part in self.classes])
        self.speakable = np.concatenate(
            [np.zeros(0, dtype=np.bool_), *(part.speakable for part in self.classes)]
        )
        self.starts = np.cumsum([0, *(len(part.summaries) for part in self.classes)])

    def __len__(self) -> int:
        return len(self.items)

    def totals(self, rows: Measured) -> Floats:
        """Return what the summaries of some rows are made of; totals of batches add up."""
        return _joined(
            [part.totals(rows.take(rows.labels == at)) for at, part in enumerate(self.classes)]
        )

    def observe(self, totals: Floats) -> Observation:
        """Return the summaries of the rows of these totals, against as many real rows."""
        ends = np.cumsum([part.n_totals for part in self.classes])
        shares = np.split(totals, ends[:-1]) if len(ends) else []
        parts = [part.observe(share) for part, share in zip(self.classes, shares, strict=True)]
        return Observation(
            _joined([part.deviation for part in parts]),
            _joined([part.variance for part in parts]),
            _joined([part.n_rows for part in parts]),
        )


def _joined(parts: Sequence[Floats]) -> Floats:
    return np.concatenate([np.zeros(0), *parts])
