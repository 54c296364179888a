from __future__ import annotations

import numpy as np
import pandas as pd

from rddg_ray.evaluation.encoding import encode, standardise
from rddg_ray.table import Table, conform, from_frame


def small() -> tuple[Table, Table, Table]:
    train = pd.DataFrame(
        {"n": [1.0, 2.0, np.nan, 5.0], "c": ["b", "a", "b", "b"], "y": ["rare", "z", "z", "z"]}
    )
    train = pd.concat([train, train], ignore_index=True)
    table = from_frame(train, "y", name="small")
    test = conform(
        pd.DataFrame({"n": [10.0, np.nan], "c": ["zebra", None], "y": ["z", "rare"]}),
        table, name="test",
    )  # fmt: skip
    added = conform(
        pd.DataFrame({"n": [100.0], "c": ["koala"], "y": ["rare"]}), table, name="added"
    )
    return table, test, added


def test_clean_encoders_know_only_the_real_training_rows() -> None:
    train, test, added = small()
    data = encode(train, test, added, "clean")
    # a = 0, b = 1, unknown = 2, missing = 3, whoever brings the unknown one.
    assert data.X_train[:, 1].tolist() == [1, 0, 1, 1, 1, 0, 1, 1, 2]
    assert data.X_test[:, 1].tolist() == [2, 3]
    assert data.classes == ("z", "rare")
    assert data.positive == 1
    assert np.isnan(data.X_test[1, 0])


def test_clean_scaling_ignores_test_and_synthetic_rows() -> None:
    train, test, added = small()
    data = standardise(encode(train, test, added, "clean"), "clean")
    real = data.X_train[: data.n_real, 0]
    assert np.isclose(np.nanmean(real), 0.0)
    assert np.isclose(np.nanstd(real), 1.0)
    assert data.X_train[-1, 0] > 10
    assert data.X_train[:, 1].tolist() == [1, 0, 1, 1, 1, 0, 1, 1, 2]


def test_missing_numbers_are_filled_with_the_mean_of_the_training_rows() -> None:
    train, test, added = small()
    data = encode(train, test, added, "clean")
    assert np.isclose(data.filled(data.X_test)[1, 0], (1 + 2 + 5) / 3)


def test_the_papers_encoders_see_every_row_and_its_positive_class_is_last_by_alphabet() -> None:
    train, test, added = small()
    data = encode(train, test, added, "paper")
    # "" (missing) = 0, a = 1, b = 2, koala = 3, zebra = 4.
    assert data.X_train[:, 1].tolist() == [2, 1, 2, 2, 2, 1, 2, 2, 3]
    assert data.X_test[:, 1].tolist() == [4, 0]
    assert data.classes == ("rare", "z")
    fill = (2 * (1 + 2 + 5) + 10) / 7
    assert np.isclose(data.X_test[1, 0], fill)
    scaled = standardise(data, "paper")
    assert np.allclose(scaled.X_train.mean(axis=0), 0.0)
    assert np.allclose(scaled.X_train.std(axis=0), 1.0)


def test_classes_that_are_numbers_are_coded_in_order_of_size() -> None:
    frame = pd.DataFrame({"x": range(1, 31), "w": [3, 1, 2] * 10, "y": ["10", "9", "2"] * 10})
    table = from_frame(frame, "y")
    assert encode(table, table, None, "clean").classes == ("2", "9", "10")


def test_dates_are_numbers() -> None:
    days = [f"2024-01-{day:02d}" for day in range(1, 21)]
    table = from_frame(pd.DataFrame({"day": days, "y": ["a", "b"] * 10}), "y")
    data = encode(table, table, None, "clean")
    assert np.diff(data.X_train[:, 0]).tolist() == [86400.0] * 19
