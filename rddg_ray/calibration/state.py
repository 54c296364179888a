"""What calibration remembers between rounds, and how it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from rddg_ray.calibration.posterior import Posterior
from rddg_ray.calibration.wording import Shape
from rddg_ray.measuring import Floats

# More than one summary can say in a round. Where little is said the readings hardly differ.
_LEAST_EVIDENCE = 1.0
# Before anything was said the figures are worked out for a reader of changes: that asks for
# "target (was level)". Taken for a change it does the whole; taken for a value it does nothing,
# and that tells the readings apart. The other way round a reader of changes would do it twice.
FIRST_EVIDENCE = 2.0


@dataclass(frozen=True)
class CalibrationState:
    """Where a chain's calibration stands. Never changed in place.

    Arrays have shape `(n_summaries,)`. The state follows from the rounds alone, so that a replay
    of the replies gives it again; `to_record` is for those who want it without.

    Attributes:
        round: Rounds told so far.
        prior_sd: Prior standard deviation of each bias.
        as_value: Beliefs if the endpoint takes what is said as a value to reach.
        as_change: Beliefs if it takes it as a change from what it is told of its last rows.
        change_evidence: Log of how much better the second reading explains the rounds.
        follow_sum: How far the rows followed their reference rows' own deviations: sum of
            products over all summaries and rounds, in units of variance.
        follow_weight: Sum of squares of the reference rows' deviations, likewise.
        totals: What the summaries of all rows so far are made of (`Summaries.totals`), of a
            length of its own.
        n_told: Rounds in which each summary was known.
        said: Control said for the next round; NaN where nothing is.
        seen: Level told beside it; NaN likewise.
        shapes: Columns whose distribution is named.
    """

    round: int
    prior_sd: Floats
    as_value: Posterior
    as_change: Posterior
    change_evidence: float
    follow_sum: float
    follow_weight: float
    totals: Floats
    n_told: Floats
    said: Floats
    seen: Floats
    shapes: tuple[Shape, ...] = ()

    @property
    def is_change(self) -> bool:
        """Return whether the rounds so far speak for a change rather than a value."""
        return self.change_evidence > _LEAST_EVIDENCE

    @property
    def posterior(self) -> Posterior:
        """Return the beliefs under the reading that explains the rounds better."""
        return self.as_change if self.is_change else self.as_value

    def to_record(self) -> dict[str, Any]:
        """Return the state in JSON's types; NaN is None."""
        record: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Posterior):
                record[field.name] = {
                    part.name: _listed(getattr(value, part.name)) for part in fields(Posterior)
                }
            elif isinstance(value, np.ndarray):
                record[field.name] = _listed(value)
            else:
                record[field.name] = value
        shapes = [[s.label, s.name, s.statistic] for s in self.shapes]
        return record | {"shapes": shapes}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> CalibrationState:
        """Return the state that `to_record` wrote."""
        values: dict[str, Any] = {}
        for name, value in record.items():
            if isinstance(value, Mapping):
                values[name] = Posterior(**{k: _array(part) for k, part in value.items()})
            elif name == "shapes":
                values[name] = tuple([Shape(*shape) for shape in value])
            else:
                values[name] = _array(value) if isinstance(value, list) else value
        return cls(**values)


def _listed(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _array(values: list[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
