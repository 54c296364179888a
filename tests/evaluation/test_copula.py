from __future__ import annotations

import numpy as np
import pytest

from rddg_ray.evaluation.encoding import Encoded
from rddg_ray.evaluation.methods.copula import copula_rows


def one_class(X: np.ndarray, is_categorical: list[bool]) -> Encoded:
    y = np.zeros(len(X), dtype=np.int64)
    return Encoded(X, y, X[:1], y[:1], len(X), ("a",), None, np.array(is_categorical))


def drawn(X: np.ndarray, is_categorical: list[bool], n_rows: int = 4000) -> np.ndarray:
    return copula_rows(one_class(X, is_categorical), {0: n_rows}, 0)[0]


def test_the_correlation_of_normal_columns_is_kept() -> None:
    rng = np.random.default_rng(0)
    X = rng.multivariate_normal([0, 5], [[1, 0.8], [0.8, 1]], 4000)
    # Standard error of r = 0.8 over 4,000 rows, twice: sqrt(2) (1 - r^2) / sqrt(n) = 0.008.
    assert np.corrcoef(drawn(X, [False, False]).T)[0, 1] == pytest.approx(0.8, abs=4 * 0.008)


def test_every_column_keeps_its_distribution() -> None:
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.exponential(1.0, 2000), rng.choice([0.0, 1.0, 3.0], 2000,
                                                                p=[0.7, 0.2, 0.1])])  # fmt: skip
    found = drawn(X, [False, True])
    deciles = np.linspace(0.1, 0.9, 9)
    # A share's standard error over 4,000 rows is at most 0.5 / sqrt(4000) = 0.008.
    for decile, value in zip(deciles, np.quantile(X[:, 0], deciles), strict=True):
        assert (found[:, 0] <= value).mean() == pytest.approx(decile, abs=4 * 0.008)
    for value in (0.0, 1.0, 3.0):
        assert (found[:, 1] == value).mean() == pytest.approx((X[:, 1] == value).mean(), abs=0.032)


def test_cells_are_values_that_some_training_row_has() -> None:
    rng = np.random.default_rng(2)
    X = np.column_stack([rng.integers(0, 50, 100) * 3.0, rng.integers(0, 4, 100) * 1.0])
    found = drawn(X, [False, True], 500)
    assert all(set(found[:, column]) <= set(X[:, column]) for column in (0, 1))


def test_missing_cells_keep_their_share_and_what_they_go_with() -> None:
    rng = np.random.default_rng(3)
    flag = (rng.random(2000) < 0.3).astype(float)
    # The number is missing just where the flag is set.
    X = np.column_stack([np.where(flag == 1, np.nan, rng.normal(size=2000)), flag])
    found = drawn(X, [False, True])
    is_missing, is_set = np.isnan(found[:, 0]), found[:, 1] == 1
    assert is_missing.mean() == pytest.approx(flag.mean(), abs=4 * 0.5 / np.sqrt(4000))
    # By chance alone the two would agree on 0.3^2 + 0.7^2 = 58% of the rows.
    assert (is_missing == is_set).mean() > 0.75


def test_a_column_without_any_cell_stays_so_and_a_constant_stays_constant() -> None:
    X = np.column_stack([np.full(10, np.nan), np.full(10, 2.5), np.arange(10.0)])
    found = drawn(X, [False, False, False], 50)
    assert np.isnan(found[:, 0]).all()
    assert set(found[:, 1]) == {2.5}


def test_more_columns_than_rows_are_no_obstacle() -> None:
    X = np.random.default_rng(4).normal(size=(3, 8))
    found = drawn(X, [False] * 8, 100)
    assert found.shape == (100, 8)
    assert ((found >= X.min(axis=0)) & (found <= X.max(axis=0))).all()


def test_each_class_has_its_own_distribution() -> None:
    rng = np.random.default_rng(5)
    y = np.repeat([0, 1], 200)
    X = rng.normal(10.0 * y, 1.0)[:, np.newaxis]
    data = Encoded(X, y, X[:1], y[:1], 400, ("a", "b"), 1, np.array([False]))
    found, codes = copula_rows(data, {0: 300, 1: 100}, 0)
    assert np.bincount(codes).tolist() == [300, 100]
    assert found[codes == 0].max() < 5.0 < found[codes == 1].min()
