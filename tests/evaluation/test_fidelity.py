from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rddg_ray.errors import DataError
from rddg_ray.evaluation.fidelity import (
    ALL,
    FLOOR,
    column_figures,
    compare,
    correlations,
    divergence,
    floor,
)
from rddg_ray.schema import Column
from rddg_ray.table import Table, from_frame

NUMBER, WORD = Column("x", "numerical", decimals=3), Column("w", "categorical")


def test_divergence_is_the_sum_counted_by_hand() -> None:
    found = divergence(np.array([3.0, 1.0]), np.array([1.0, 1.0]))
    assert found == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5), abs=1e-5)


def test_divergence_of_equal_shares_is_zero_and_of_disjoint_ones_log_of_a_million() -> None:
    assert divergence(np.array([2.0, 2.0]), np.array([7.0, 7.0])) == pytest.approx(0, abs=1e-5)
    assert divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(np.log(1e6))


def test_numbers_shifted_by_one_real_deviation_show_that() -> None:
    real = pd.Series([0.0, 2.0] * 50)
    found = column_figures(NUMBER, real, real + 1.0)
    assert found["mean_difference"] == pytest.approx(1.0)
    assert found["std_ratio"] == pytest.approx(1.0)
    assert found["distance"] == pytest.approx(0.5)
    assert found["missing_difference"] == 0.0


def test_categories_differ_by_their_total_variation() -> None:
    real, made = pd.Series(["a"] * 3 + ["b"]), pd.Series(["a", "b", "c", None], dtype="str")
    found = column_figures(WORD, real, made)
    assert found["distance"] == pytest.approx((5 / 12 + 1 / 12 + 1 / 3) / 2)
    assert found["missing_difference"] == 0.25


def test_a_column_that_is_all_missing_has_no_distance() -> None:
    found = column_figures(NUMBER, pd.Series([1.0, 2.0]), pd.Series([np.nan, np.nan]))
    assert found == {"missing_difference": 1.0}
    with pytest.raises(DataError, match="no rows to compare"):
        column_figures(NUMBER, pd.Series([1.0]), pd.Series([], dtype="float64"))


def test_correlations_agree_with_numpy_and_a_flat_column_has_none(train: Table) -> None:
    flat = train.with_frame(train.frame.assign(weight=0.1))
    real, made = correlations(train, flat)
    codes = train.frame[["bought", "size", "weight"]].assign(
        bought=(train.frame["bought"] == "yes").astype(float)
    )
    assert np.allclose(real[:3, :3], np.corrcoef(codes.to_numpy().T))
    assert made[2].tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]


def test_real_rows_compared_with_themselves_have_no_difference(train: Table) -> None:
    found = pd.DataFrame(compare(train, train, method="same", generator_state=0))
    whole = found[found["column"] == ALL].set_index("metric")["value"]
    assert whole.abs().max() < 1e-4
    assert set(found["column"]) == {ALL, "size", "weight", "colour", "owned"}


def test_a_scope_compares_the_rows_of_one_class(train: Table) -> None:
    rare = train.take(np.flatnonzero(train.labels == "yes"))
    found = compare(train, rare, method="m", generator_state=0, scope="yes")
    assert max(abs(row["value"]) for row in found if row["metric"] == "distance") == 0.0
    assert compare(train, rare, method="m", generator_state=0, scope="no") == []


def test_the_floor_is_near_zero_and_repeats_with_its_random_state(train: Table) -> None:
    found = pd.DataFrame(floor(train, 2000, random_state=1))
    assert set(found["method"]) == {FLOOR}
    # 2,000 draws of a discrete law: the Kolmogorov statistic exceeds 0.05 with probability
    # 2 exp(-2 * 2000 * 0.05^2) < 1e-4 (Dvoretzky-Kiefer-Wolfowitz).
    assert found.loc[found["metric"] == "distance", "value"].max() < 0.05
    pd.testing.assert_frame_equal(found, pd.DataFrame(floor(train, 2000, random_state=1)))


def test_shared_schema_makes_missing_categories_comparable() -> None:
    frame = pd.DataFrame({"c": ["u", None, "v", "u"] * 5, "y": ["a", "b"] * 10})
    table = from_frame(frame, "y")
    assert len(compare(table, table.take(range(6)), method="m", generator_state=0)) > 0
