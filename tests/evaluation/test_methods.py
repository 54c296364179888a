from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTENC

from rddg_ray.errors import ConfigError, DataError
from rddg_ray.evaluation.encoding import Encoded, encode, standardise
from rddg_ray.evaluation.methods import resample
from rddg_ray.table import Table


def arrays(y: list[int], is_categorical: list[bool], random_state: int = 0) -> Encoded:
    rng = np.random.default_rng(random_state)
    X = np.where(is_categorical, rng.integers(0, 3, (len(y), len(is_categorical))), 0.0)
    X = np.where(is_categorical, X, rng.normal(size=X.shape))
    classes = tuple("abc"[: max(y) + 1])
    return Encoded(X, np.array(y), X[:2], np.array(y[:2]), len(y), classes, 1,
                   np.array(is_categorical))  # fmt: skip


@pytest.mark.parametrize("method", ["random_oversampling", "smotenc"])
@pytest.mark.parametrize("is_categorical", [[False, True], [False, False], [True, True]])
def test_classes_are_balanced_and_real_rows_stay_first(
    method: str, is_categorical: list[bool]
) -> None:
    data = arrays([0] * 30 + [1] * 8 + [2] * 7, is_categorical)
    found = resample(method, data, random_state=0)
    assert np.bincount(found.y_train).tolist() == [30, 30, 30]
    assert np.array_equal(found.X_train[:45], data.X_train)
    assert found.n_real == 45


def test_the_original_method_adds_nothing() -> None:
    data = arrays([0] * 5 + [1] * 3, [False, True])
    assert resample("original", data, 0) is data


def test_random_oversampling_repeats_real_rows_with_their_missing_cells() -> None:
    data = arrays([0] * 20 + [1] * 3, [False, True])
    data.X_train[20, 0] = np.nan
    added = resample("random_oversampling", data, 0).X_train[23:]
    real = {row.tobytes() for row in data.X_train[20:]}
    assert {row.tobytes() for row in added} == real


def test_smotenc_equals_imbalanced_learns_own_for_two_classes(
    train: Table, test_rows: Table
) -> None:
    data = standardise(encode(train, test_rows, None, "clean"), "clean")
    theirs, _ = SMOTENC(categorical_features=[2, 3], random_state=7).fit_resample(
        data.X_train, data.y_train
    )
    assert np.array_equal(resample("smotenc", data, 7).X_train, theirs)


def test_smotenc_fills_missing_numbers_before_it_interpolates() -> None:
    data = arrays([0] * 20 + [1] * 8, [False, True])
    data.X_train[3, 0] = np.nan
    found = resample("smotenc", data, 0)
    assert np.isnan(found.X_train[3, 0])
    assert not np.isnan(found.X_train[28:]).any()


def test_a_class_of_two_rows_is_interpolated_between_them() -> None:
    data = arrays([0] * 10 + [1] * 2, [False, False])
    added = resample("smotenc", data, 0).X_train[12:]
    ends = data.X_train[10:]
    steps = (added - ends[0]) / (ends[1] - ends[0])
    assert np.allclose(steps[:, 0], steps[:, 1])
    assert ((steps >= -1e-9) & (steps <= 1 + 1e-9)).all()


def test_a_class_of_one_row_cannot_be_interpolated() -> None:
    with pytest.raises(DataError, match="class 'b' has one training row"):
        resample("smotenc", arrays([0] * 10 + [1], [False, True]), 0)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ConfigError, match="'smoteno' is not one of"):
        resample("smoteno", arrays([0, 0, 1, 1], [False]), 0)


def test_no_test_row_reaches_the_resampler(
    train: Table, make_rows: Callable[..., pd.DataFrame]
) -> None:
    from rddg_ray.table import conform

    found = []
    for state in (1, 2):
        held_out = conform(make_rows(40, state), train, name="test")
        data = standardise(encode(train, held_out, None, "clean"), "clean")
        found.append(resample("smotenc", data, 0).X_train)
    assert np.array_equal(found[0], found[1])
