"""What every baseline promises, checked for each of them on each shape of table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rddg_ray.config import BASELINE_METHODS
from rddg_ray.errors import DataError
from rddg_ray.evaluation.cells import Cell
from rddg_ray.evaluation.encoding import Encoded
from rddg_ray.evaluation.fits import DatasetRows, GridData, fit_cell
from rddg_ray.evaluation.methods import BASELINES, resample
from rddg_ray.table import conform, from_frame

NAMES = [name for name in BASELINES if name in BASELINE_METHODS]
COLUMNS = {
    "mixed": [False, True, False],
    "numerical": [False, False],
    "categorical": [True, True, True],
}


def arrays(counts: list[int], columns: str, *, missing: float = 0.0) -> Encoded:
    """Return classes that overlap, so that rows of another class are near."""
    rng = np.random.default_rng(len(counts))
    is_categorical = np.array(COLUMNS[columns])
    y = np.repeat(np.arange(len(counts)), counts)
    shape = (len(y), len(is_categorical))
    X = np.where(is_categorical, rng.integers(0, 4, shape), rng.normal(y[:, np.newaxis], 1, shape))
    X[(rng.random(shape) < missing) & ~is_categorical] = np.nan
    classes = tuple("abc"[: len(counts)])
    positive = 1 if len(counts) == 2 else None
    return Encoded(X, y, X[:4] + 1.0, y[:4], len(y), classes, positive, is_categorical)


def check(name: str, data: Encoded, found: Encoded) -> None:
    """Assert what holds of every baseline's rows."""
    n_added = len(found.X_train) - data.n_real
    assert found.X_train.shape == (len(found.y_train), data.X_train.shape[1])
    assert found.X_train.dtype == np.float64
    assert found.n_real == data.n_real
    np.testing.assert_array_equal(found.X_train[: data.n_real], data.X_train)
    np.testing.assert_array_equal(found.y_train[: data.n_real], data.y_train)
    counts = np.bincount(found.y_train, minlength=len(data.classes))
    if BASELINES[name].rows is None:
        assert n_added == 0
    else:
        assert set(counts) == {max(np.bincount(data.y_train))}
    added = found.X_train[data.n_real :]
    for column in np.flatnonzero(data.is_categorical):
        assert set(added[:, column]) <= set(data.X_train[:, column])
    assert not np.isinf(added).any()


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("counts", [[30, 8], [30, 8, 12]], ids=["two classes", "three classes"])
@pytest.mark.parametrize("name", NAMES)
def test_the_smaller_classes_are_raised_and_real_rows_stay_as_they_are(
    name: str, counts: list[int], columns: str
) -> None:
    data = arrays(counts, columns)
    check(name, data, resample(name, data, 0))


@pytest.mark.parametrize("name", NAMES)
def test_missing_cells_are_no_obstacle(name: str) -> None:
    data = arrays([30, 12], "mixed", missing=0.3)
    check(name, data, resample(name, data, 0))


@pytest.mark.parametrize("name", NAMES)
def test_a_class_of_two_rows_is_enough_where_another_class_is_near(name: str) -> None:
    data = arrays([30, 2], "mixed")
    check(name, data, resample(name, data, 0))


@pytest.mark.parametrize("name", ["borderline_smote", "adasyn"])
def test_without_another_class_near_there_is_no_border_to_add_rows_at(name: str) -> None:
    data = arrays([30, 14], "numerical")
    apart = replace(data, X_train=data.X_train + 100.0 * data.y_train[:, np.newaxis])
    with pytest.raises(DataError, match=f"{name}: class 'b' of 14 rows: "):
        resample(name, apart, 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_class_of_one_row_is_repeated_or_refused_by_name(name: str) -> None:
    data = arrays([30, 1], "mixed")
    if BASELINES[name].least_rows > 1 and BASELINES[name].rows is not None:
        with pytest.raises(DataError, match=f"{name}: class 'b' has one training row; it needs"):
            resample(name, data, 0)
    else:
        check(name, data, resample(name, data, 0))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_random_state_gives_the_same_rows(name: str) -> None:
    data = arrays([30, 8], "mixed")
    first, again, other = (resample(name, data, state) for state in (3, 3, 4))
    np.testing.assert_array_equal(first.X_train, again.X_train)
    if BASELINES[name].rows is not None:
        assert not np.array_equal(first.X_train, other.X_train)


@pytest.mark.parametrize("name", NAMES)
def test_other_test_rows_lead_to_the_same_added_rows(name: str) -> None:
    data = arrays([30, 8], "mixed")
    other = replace(data, X_test=-7.0 * data.X_test, y_test=1 - data.y_test)
    found = [resample(name, rows, 0) for rows in (data, other)]
    np.testing.assert_array_equal(found[0].X_train, found[1].X_train)
    np.testing.assert_array_equal(found[0].y_train, found[1].y_train)


@pytest.mark.parametrize("name", NAMES)
def test_as_many_rows_are_added_to_each_class_as_are_asked_for(name: str) -> None:
    data = arrays([30, 8], "mixed")
    found = resample(name, data, 0, {0: 3, 1: 35})
    n_added = np.bincount(found.y_train) - np.bincount(data.y_train)
    if BASELINES[name].rows is None:
        assert n_added.tolist() == [0, 0]
    else:
        assert n_added.tolist() == [3, 35]


@pytest.mark.parametrize("name", [name for name in BASELINE_METHODS if name != "copies_only"])
def test_a_cell_of_every_baseline_fits_and_calls_only_known_classes(
    name: str, make_rows: object
) -> None:
    # Twelve rows of another colour scheme, so that a class lies among another.
    rng = np.random.default_rng(1)
    frame = make_rows(90, 3)  # type: ignore[operator]  # a fixture: a function of the conftest
    frame["size"] = np.round(frame["size"] + rng.normal(0, 2, 90), 2)
    frame["colour"] = rng.choice(["red", "green", "blue"], 90)
    table = from_frame(frame.iloc[::2], "bought", name="t")
    held_out = conform(frame.iloc[1::2], table, name="test")
    row = fit_cell(Cell("t", name, 0, "lightgbm", 0), GridData({"t": DatasetRows(table, held_out)}))
    assert row["error"] is None
    assert set(row["predicted"]) <= {0, 1}
    assert row["n_test"] == len(row["predicted"]) == 45
    assert (row["n_synthetic"] > 0) == (BASELINES[name].rows is not None)
    assert row["n_test_copies"] == 0


@pytest.mark.slow
# What another package warns of is not ours.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["ctgan", "tvae"])
def test_an_optional_generator_that_is_installed_keeps_the_contract(name: str) -> None:
    pytest.importorskip("ctgan")
    data = arrays([150, 120], "mixed", missing=0.1)
    found, again = (resample(name, data, 7) for _ in range(2))
    check(name, data, found)
    np.testing.assert_array_equal(found.X_train, again.X_train)


def test_every_name_of_the_settings_has_a_baseline_that_says_what_it_does() -> None:
    assert set(BASELINE_METHODS) <= set(BASELINES)
    assert all(entry.what and entry.name == name for name, entry in BASELINES.items())
