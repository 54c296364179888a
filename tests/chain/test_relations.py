from __future__ import annotations

import numpy as np
import pytest

from rddg_ray.relations import pearson


def test_pearson_is_numpy_s_where_nothing_is_missing() -> None:
    values = np.random.default_rng(0).normal(size=(40, 5)) * [1, 1e-9, 1e9, 1, 1] + 1e3
    assert pearson(values) == pytest.approx(np.corrcoef(values, rowvar=False), abs=1e-7)


def test_pearson_takes_each_pair_over_the_rows_that_have_both() -> None:
    nan = np.nan
    values = np.array([[1, 2, nan], [2, 4, 1], [3, nan, 2], [4, 1, 5], [nan, 9, 9]])
    for i, j in ((0, 1), (0, 2), (1, 2)):
        both = ~np.isnan(values[:, [i, j]]).any(axis=1)
        expected = np.corrcoef(values[both, i], values[both, j])[0, 1]
        assert pearson(values)[i, j] == pytest.approx(expected)


def test_a_weight_counts_a_row_as_often() -> None:
    values = np.random.default_rng(1).normal(size=(6, 3))
    times = np.array([1, 3, 1, 2, 1, 1])
    assert pearson(values, times.astype(float)) == pytest.approx(
        pearson(np.repeat(values, times, axis=0))
    )


@pytest.mark.parametrize("constant", [0.1, 0.0, 1e300, np.nan])
def test_a_constant_column_correlates_with_nothing(constant: float) -> None:
    values = np.column_stack([np.arange(30.0), np.full(30, constant)])
    assert pearson(values).tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_no_rows_have_no_correlation() -> None:
    assert pearson(np.zeros((0, 2))).tolist() == [[0.0, 0.0], [0.0, 0.0]]
