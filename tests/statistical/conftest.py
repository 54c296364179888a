"""Tables as real ones are, and endpoints whose bias and gain are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from rddg_ray.calibration import CalibrationRecord, Calibrator
from rddg_ray.calibration.summary import Observation
from rddg_ray.codes import Codes
from rddg_ray.config import CalibrationSettings
from rddg_ray.llm.embedded.remarks import Remark, read_remarks
from rddg_ray.measuring import Gauge, Measured
from rddg_ray.schema import Column

LETTERS = {"p": "A", "q": "B"}
N_ROWS = 15


def real_shaped(rng: np.random.Generator) -> tuple[Gauge, Measured]:
    """Return normal, correlated, skewed, heavy-tailed, counted and missing numbers, and shares."""
    numbers = ("normal", "linked", "skewed", "heavy", "count", "against")
    columns = [Column(n, "numerical", decimals=2, has_missing=n == "linked") for n in numbers]
    columns += [
        Column("five", "categorical", categories=tuple("xyzwv")),
        Column("flag", "boolean", categories=("no", "yes")),
        Column("even", "categorical", categories=tuple("abcdefgh")),
    ]
    gauge = Gauge(columns, tuple(LETTERS))
    rows = []
    for label, n_rows in zip(LETTERS, (230, 400), strict=True):
        for _ in range(n_rows):
            z = rng.standard_normal(4)
            rows.append(
                (
                    label,
                    round(z[0], 2),
                    None if rng.random() < 0.2 else round(0.8 * z[0] + 0.6 * z[1], 2),
                    round(float(np.exp(1.2 * z[2])), 2),
                    round(float(rng.standard_t(2.5)), 2),
                    float(rng.poisson(1.5)),
                    round(-0.6 * z[0] + 0.8 * z[3], 2),
                    str(rng.choice(list("xyzwv"), p=[0.5, 0.3, 0.1, 0.06, 0.04])),
                    str(rng.choice(["no", "yes"], p=[0.93, 0.07])),
                    str(rng.choice(list("abcdefgh"))),
                )
            )
    return gauge, gauge.of_rows(rows)


@dataclass
class Chain:
    """A calibrated chain against an endpoint that writes real rows, moved by what it is told.

    Attributes:
        gain: Share of what is asked that the endpoint does.
        bias: Shift of every number's mean, in real standard deviations.
        reads_change: Whether "35 (was 40)" means 5 less to it rather than 35.
        follows: Whether it writes variants of the reference rows or of any real rows.
        is_told: Whether anything is said to it.
    """

    random_state: int
    gain: float = 1.0
    bias: float = 0.0
    reads_change: bool = False
    follows: bool = False
    is_told: bool = True
    settings: CalibrationSettings = field(default_factory=CalibrationSettings)
    records: list[CalibrationRecord] = field(default_factory=list)
    batches: list[Measured] = field(default_factory=list)

    def run(self, n_rounds: int = 12, of: int | None = None) -> Chain:
        """Play the first rounds of so many, all by default."""
        self.rng = np.random.default_rng(self.random_state)
        self.gauge, self.real = real_shaped(self.rng)
        self.calibrator = Calibrator(
            self.gauge,
            self.real,
            settings=self.settings,
            codes=Codes(),
            class_name=lambda label: f"{LETTERS[label]} ({label!r})",
        )
        state, text = self.calibrator.start(), ""
        of_class = [np.flatnonzero(self.real.labels == at) for at in range(2)]
        for round_ in range(n_rounds):
            shown = [self.rng.choice(rows, N_ROWS, replace=False) for rows in of_class]
            pools = shown if self.follows else of_class
            remarks = read_remarks(text) if self.is_told else []
            batch = joined([self._batch(at, pool, remarks) for at, pool in enumerate(pools)])
            reference = self.real.take(np.concatenate(shown)) if self.follows else None
            left = (of or n_rounds) - 1 - round_
            state, record = self.calibrator.update(state, batch, left, reference)
            text = self.calibrator.said(state)
            self.records.append(record)
            self.batches.append(batch)
        return self

    def _batch(self, at: int, pool: np.ndarray, remarks: list[Remark]) -> Measured:
        rows = self.real.take(self.rng.choice(pool, N_ROWS))
        part = self.calibrator.summaries.classes[at]
        shift, spread = self.bias * part.scale, np.ones(len(part.scale))
        places = {column.name: place for place, column in enumerate(self.gauge.numbers)}
        for remark in remarks:
            if remark.letter != "AB"[at] or remark.kind not in ("mean", "std"):
                continue
            place, target = places[remark.names[0]], float(remark.target)
            origin = (part.centre if remark.kind == "mean" else part.scale)[place]
            if self.reads_change:
                origin = float(remark.seen or remark.target)
            if remark.kind == "mean":
                shift[place] += self.gain * (target - origin)
            else:
                spread[place] += self.gain * (target - origin) / part.scale[place]
        numbers = part.centre + np.clip(spread, 0.1, 5) * (rows.numbers - part.centre) + shift
        return Measured(rows.labels, numbers, rows.slots)

    def whole(self) -> Observation:
        summaries = self.calibrator.summaries
        return summaries.observe(summaries.totals(joined(self.batches)))

    def error(self, kind: str) -> float:
        """Return the mean absolute deviation of the whole output, in units."""
        found, summaries = self.whole(), self.calibrator.summaries
        mine = np.array([item.kind == kind for item in summaries.items])
        mine &= np.isfinite(found.variance)
        return float(np.abs(found.deviation / summaries.unit)[mine].mean())

    def share_said(self) -> float:
        """Return the share of summaries and rounds of which something was said."""
        n_said = [record.n_said for record in self.records]
        return float(np.mean(n_said) / self.calibrator.summaries.speakable.sum())


def joined(parts: list[Measured]) -> Measured:
    return Measured(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.slots for part in parts]),
    )


@pytest.fixture
def chain() -> Callable[..., Chain]:
    return Chain
