from __future__ import annotations

import numpy as np
import pytest

from rddg_ray.codes import Codes
from rddg_ray.config import FeedbackSettings
from rddg_ray.feedback import FeedbackWriter
from rddg_ray.measuring import Gauge
from rddg_ray.novelty import Row
from rddg_ray.quality import Quality, compare
from rddg_ray.schema import Column

FEATURES = (
    Column("age", "numerical"),
    Column('T, "S" {H}', "numerical", decimals=2, has_missing=True),
    Column("seen on", "datetime", datetime_format="%Y-%m-%d"),
    Column("sex", "categorical", categories=("F", "M")),
)
GAUGE = Gauge(FEATURES, ("a", "b"))
CODES = Codes({"sex": {"F": "SD6", "M": "GCF"}})
DAY_S = 86_400.0
NOTHING = FeedbackSettings(mean=1e9, std=1e9, correlation=1e9, ks=1e9)


def write(quality: Quality, **limits: float) -> str:
    settings = NOTHING.model_copy(update=limits)
    return FeedbackWriter(
        GAUGE, settings, CODES, lambda label: f"{label.upper()} ({label!r})"
    ).write(quality)


def rows(label: str, ages: list[float], shift: float = 0.0, sex: str = "F") -> list[Row]:
    return [(label, age, round(age / 10 + shift, 2), DAY_S * age, sex) for age in ages]


AGES = [20.0, 30.0, 40.0, 50.0, 60.0]


def quality(synthetic: list[Row], real: list[Row] | None = None) -> Quality:
    return compare(GAUGE.of_rows(real or rows("a", AGES)), GAUGE.of_rows(synthetic), GAUGE)


def test_nothing_is_said_of_rows_like_their_reference() -> None:
    assert write(quality(rows("a", AGES)), mean=0, std=0, correlation=0, ks=0) == ""
    assert write(Quality()) == ""


def test_means_are_named_in_the_column_s_precision_worst_first() -> None:
    # Sample standard deviations: 15.8 of age, 1.58 of the second column; shifts 5 and 3.25.
    found = rows("a", [age + 5 for age in AGES], shift=2.75)
    assert write(quality(found), mean=0.25) == (
        "Class A ('a'):\n"
        '- Adjust mean values closer to: "T, \\"S\\" {H}" 4.000 (was 7.250); '
        '"age" 40.0 (was 45.0); "seen on" 1970-02-10 (was 1970-02-15)'
    )


def test_an_entry_names_as_many_items_as_allowed() -> None:
    found = rows("a", [age + 5 for age in AGES], shift=2.75)
    text = write(quality(found), mean=0.25, max_items=1)
    assert text.endswith('"T, \\"S\\" {H}" 4.000 (was 7.250)')


def test_spreads_are_standard_deviations_and_days_for_dates() -> None:
    found = rows("a", [40 + 2 * (age - 40) for age in AGES])
    assert write(quality(found), std=0.25) == (
        "Class A ('a'):\n"
        '- Maintain variance similar to: "age" 15.8 (was 31.6); "T, \\"S\\" {H}" 1.581 (was 3.162)'
        '; "seen on" 15.8 days (was 31.6 days)'
    )


def test_correlations_are_strengthened_or_weakened() -> None:
    shuffled: list[Row] = [
        ("a", age, x, DAY_S * 10, "F")
        for age, x in zip(AGES, (4.0, 4.0, 2.0, 6.0, 4.0), strict=True)
    ]
    r = np.corrcoef(AGES, (4, 4, 2, 6, 4))[0, 1]
    assert write(quality(shuffled), correlation=0.3) == (
        "Class A ('a'):\n"
        f'- Strengthen correlation between: "age" and "T, \\"S\\" {{H}}" 1.00 (was {r:.2f})'
    )
    swapped = compare(GAUGE.of_rows(shuffled), GAUGE.of_rows(rows("a", AGES)), GAUGE)
    assert (
        f'- Weaken correlation between: "age" and "T, \\"S\\" {{H}}" {r:.2f} (was 1.00)'
        in write(swapped, correlation=0.3)
    )


def test_distributions_are_named_with_their_statistic() -> None:
    assert write(quality(rows("a", [age + 20 for age in AGES], shift=-2)), ks=0.3) == (
        'Class A (\'a\'):\n- Align distribution patterns for: "age" 0.40; "seen on" 0.40'
    )


def test_shares_are_named_by_code_and_missing_cells_by_the_empty_cell() -> None:
    found: list[Row] = [
        ("a", age, None if age > 30 else age / 10, DAY_S * age, sex)
        for age, sex in zip(AGES, "MMFMM", strict=True)
    ]
    assert write(quality(found), ks=0.3) == (
        "Class A ('a'):\n"
        '- Align category shares for: "sex" "SD6" 1.00 (was 0.20); '
        '"T, \\"S\\" {H}" "" 0.00 (was 0.60)'
    )


def test_overall_comes_before_the_classes() -> None:
    real = [*rows("a", AGES), *rows("b", [age + 100 for age in AGES])]
    found = [*rows("a", AGES), *rows("b", [age + 190 for age in AGES])]
    one_day: list[list[Row]] = [
        [(*row[:3], DAY_S, row[4]) for row in side] for side in (found, real)
    ]
    lines = write(quality(*one_day), mean=0.25, max_items=1).splitlines()
    assert lines == [
        "Overall:",
        '- Adjust mean values closer to: "age" 90.0 (was 135.0)',
        "Class B ('b'):",
        '- Adjust mean values closer to: "age" 140.0 (was 230.0)',
    ]


@pytest.mark.parametrize("moved", [0.0, 0.01])
def test_figures_that_read_the_same_are_not_said(moved: float) -> None:
    found = quality(rows("a", [age + moved for age in AGES]))
    assert '"age"' not in write(found, mean=0, std=0)
