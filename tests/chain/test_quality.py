from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rddg_ray.measuring import Gauge, Measured
from rddg_ray.novelty import Row
from rddg_ray.quality import compare, ks_statistics, moments
from rddg_ray.schema import Column

FEATURES = (
    Column("x", "numerical"),
    Column("y", "numerical", has_missing=True),
    Column("c", "categorical", categories=("p", "q")),
)
GAUGE = Gauge(FEATURES, ("a", "b"))


def measured(rows: list[Row]) -> Measured:
    return GAUGE.of_rows(rows)


def test_ks_is_scipys_statistic_ties_and_missing_included() -> None:
    rng = np.random.default_rng(0)
    for n_real, n_synthetic in ((15, 15), (30, 7), (2, 3), (200, 15)):
        real, synthetic = (
            rng.integers(0, 9, (n_real, 4)),
            rng.normal(4, 3, (n_synthetic, 4)).round(),
        )
        padded = np.vstack([real.astype(float), np.full((3, 4), np.nan)])
        expected = [
            scipy.stats.ks_2samp(real[:, at], synthetic[:, at], method="asymp").statistic
            for at in range(4)
        ]
        assert ks_statistics(padded, synthetic) == pytest.approx(expected)


def test_ks_of_disjoint_equal_and_absent_values_is_one_zero_and_unknown() -> None:
    real = np.array([[1.0, 1.0, np.nan], [2.0, 2.0, np.nan]])
    synthetic = np.array([[5.0, 2.0, 1.0], [6.0, 1.0, 1.0]])
    assert ks_statistics(real, synthetic)[:2].tolist() == [1.0, 0.0]
    assert np.isnan(ks_statistics(real, synthetic)[2])


@given(st.lists(st.integers(1, 3), min_size=2, max_size=8), st.integers(0, 50))
def test_weights_count_rows_as_often(times: list[int], state: int) -> None:
    rng = np.random.default_rng(state)
    values, other = rng.normal(size=(len(times), 2)).round(1), rng.normal(size=(5, 2)).round(1)
    repeated = np.repeat(values, times, axis=0)
    weights = np.array(times, dtype=float)
    assert ks_statistics(values, other, weights) == pytest.approx(ks_statistics(repeated, other))
    assert moments(values, weights)[0] == pytest.approx(repeated.mean(axis=0))


def test_moments_leave_missing_values_out() -> None:
    values = np.array([[1.0, np.nan, 5.0], [3.0, np.nan, np.nan], [5.0, np.nan, np.nan]])
    mean, std = moments(values, np.ones(3))
    assert mean[[0, 2]].tolist() == [3.0, 5.0]
    assert std[0] == pytest.approx(2.0)  # with n - 1
    assert np.isnan([mean[1], std[1], std[2]]).all()


def test_a_constant_column_has_no_spread_whatever_the_rounding() -> None:
    assert moments(np.full((30, 1), 0.1), np.ones(30))[1].tolist() == [0.0]


REAL: list[Row] = [("a", float(x), 2.0 * x, "p") for x in range(1, 7)]
SYNTHETIC: list[Row] = [
    ("a", float(x), y, c)
    for x, y, c in zip(range(3, 9), (6.0, 4.0, 5.0, 3.0, None, None), "pppqqq", strict=True)
]


def test_a_class_is_compared_by_hand_counts() -> None:
    found = compare(measured(REAL), measured([*SYNTHETIC, ("a", 9.0, 1.0, "q")]), GAUGE)
    (part,) = found.classes
    std = np.std(range(1, 7), ddof=1)
    assert part.label == "a"
    assert (part.n_real, part.n_synthetic) == (6, 7)
    assert part.mean_real.tolist() == [3.5, 7.0]
    assert part.mean_synthetic == pytest.approx([6.0, 3.8])
    assert part.mean_difference[0] == pytest.approx(2.5 / std)
    assert part.std_difference[0] == pytest.approx(np.std(range(3, 10), ddof=1) / std - 1)
    assert part.correlation_real[0, 1] == pytest.approx(1.0)
    assert part.ks[0] == pytest.approx(3 / 7)  # at 6: all of 6 against 4 of 7
    groups = [column.name for column in GAUGE.groups]
    variation = dict(zip(groups, part.total_variation, strict=True))
    assert variation == {"y": pytest.approx(2 / 7), "c": pytest.approx(4 / 7)}


def test_one_class_says_it_all() -> None:
    assert compare(measured(REAL), measured(SYNTHETIC), GAUGE).overall is None


def test_only_classes_with_synthetic_rows_are_compared() -> None:
    real = measured([*REAL, *[("b", 900.0, 900.0, "q")] * 6])
    found = compare(real, measured(SYNTHETIC), GAUGE)
    assert [part.label for part in found.classes] == ["a"]
    assert found.overall is None


def test_overall_figures_do_not_mistake_the_mix_of_classes_for_a_shift() -> None:
    a: list[Row] = [("a", float(x), 1.0 * x, "p") for x in range(10)]
    b: list[Row] = [("b", 100.0 + x, 1.0 * x, "q") for x in range(10)]
    found = compare(measured([*a, *b]), measured([*a, *b, *b, *b]), GAUGE).overall
    assert found is not None
    assert found.mean_difference.tolist() == pytest.approx([0.0, 0.0])
    assert found.ks.tolist() == pytest.approx([0.0, 0.0])
    assert found.correlation_difference == pytest.approx(np.zeros((2, 2)), abs=1e-9)
    assert found.total_variation.tolist() == pytest.approx([0.0, 0.0])


def test_a_handful_of_rows_tells_nothing() -> None:
    (part,) = compare(measured(REAL), measured(SYNTHETIC[:4]), GAUGE).classes
    for differences in (part.mean_difference, part.std_difference, part.ks, part.total_variation,
                        part.correlation_difference):  # fmt: skip
        assert np.isnan(differences).all()
    (part,) = compare(measured(REAL), measured(SYNTHETIC), GAUGE).classes
    assert not np.isnan(part.mean_difference[0])
    assert np.isnan(part.mean_difference[1])  # four of six are known
    assert np.isnan(part.correlation_difference[0, 1])


def test_a_constant_column_is_compared_without_dividing_by_zero() -> None:
    flat: list[Row] = [("a", 0.1, 1.0, "p")] * 6
    (same,) = compare(measured(flat), measured(flat), GAUGE).classes
    assert same.mean_difference.tolist() == [0.0, 0.0]
    assert same.std_difference.tolist() == [0.0, 0.0]
    moved: list[Row] = [("a", 0.1 + x, 1.0, "p") for x in range(6)]
    (other,) = compare(measured(flat), measured(moved), GAUGE).classes
    assert other.mean_difference[0] == pytest.approx(2.5 / np.std(range(6), ddof=1))
    assert other.std_difference[0] == pytest.approx(1.0)
    assert np.isnan(other.correlation_difference).all()


def test_numbers_at_the_end_of_the_scale_do_not_warn() -> None:
    huge: list[Row] = [("a", x * 1e308, 1.0, "p") for x in (-1.5, -1, 0, 1, 1.5, 1.7)]
    (part,) = compare(measured(REAL), measured(huge), GAUGE).classes
    assert part.ks[0] == pytest.approx(0.5)


def test_a_table_of_one_kind_is_compared() -> None:
    for feature, value in ((FEATURES[0], 1.0), (FEATURES[2], "p")):
        gauge = Gauge((feature,), ("a",))
        rows: list[Row] = [("a", value)] * 6
        (part,) = compare(gauge.of_rows(rows), gauge.of_rows(rows), gauge).classes
        assert len(part.ks) + len(part.total_variation) == 1
        assert np.nansum(part.ks) + np.nansum(part.total_variation) == 0.0


def test_a_frame_and_the_rows_it_holds_measure_alike() -> None:
    rows = [*SYNTHETIC, ("b", 1.0, None, None)]
    frame = pd.DataFrame(rows, columns=["class", "x", "y", "c"]).astype({"y": "float64"})
    ours, theirs = GAUGE.of_rows(rows), GAUGE.of_frame(frame, frame["class"].tolist())
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    np.testing.assert_array_equal(ours.numbers, theirs.numbers)
    np.testing.assert_array_equal(ours.slots, theirs.slots)
