from __future__ import annotations

import numpy as np
import pytest

from rddg_ray.calibration.summaries import Summaries
from rddg_ray.measuring import Gauge, Measured
from rddg_ray.novelty import Row
from rddg_ray.schema import Column

DAY_S = 86_400.0
FEATURES = (
    Column("age", "numerical"),
    Column("dose", "numerical", decimals=2, has_missing=True),
    Column("seen on", "datetime", datetime_format="%Y-%m-%d"),
    Column("fixed", "numerical"),
    Column("gone", "numerical", has_missing=True),
    Column("ward", "categorical", categories=("N", "S", "E", "W")),
)


def rows(n_rows: int, label: str, rng: np.random.Generator) -> list[Row]:
    """Return rows whose ages are normal, whose doses are linked and sometimes missing."""
    made: list[Row] = []
    for _ in range(n_rows):
        z = rng.standard_normal(3)
        dose = None if rng.random() < 0.25 else round(5 + 0.8 * z[0] + 0.6 * z[1], 2)
        ward = str(rng.choice(list("NSEW"), p=[0.6, 0.34, 0.03, 0.03]))
        day = DAY_S * round(20_000 + 30 * z[2])
        made.append((label, float(round(50 + 10 * z[0])), dose, day, 7.0, None, ward))
    return made


@pytest.fixture(scope="session")
def gauge() -> Gauge:
    return Gauge(FEATURES, ("a", "b"))


@pytest.fixture(scope="session")
def real(gauge: Gauge) -> Measured:
    rng = np.random.default_rng(3)
    return gauge.of_rows([*rows(300, "a", rng), *rows(200, "b", rng)])


@pytest.fixture(scope="session")
def summaries(gauge: Gauge, real: Measured) -> Summaries:
    return Summaries(gauge, real)
