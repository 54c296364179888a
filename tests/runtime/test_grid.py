"""The grid of a run: cells that are fitted stay fitted."""

from __future__ import annotations

from collections import defaultdict

import pandas as pd
import pytest

from rddg_ray.config import EvaluationSettings
from rddg_ray.errors import DataError
from rddg_ray.evaluation.fits import DatasetRows, GridData
from rddg_ray.runtime.grid import run_grid
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.tables import prepare

SETTINGS = EvaluationSettings(classifiers=("xgboost",), classifier_states=(0, 1))


@pytest.fixture(scope="module")
def rows(configure, tmp_path_factory):
    prepared = prepare(configure(tmp_path_factory.mktemp("grid")).tables[0])
    return DatasetRows(prepared.train, prepared.test)


class Counted(LocalExecutor):
    """Counts the groups it fits, and stops after some of them."""

    def __init__(self, at_most=1000):
        self.n_groups = 0
        self._at_most = at_most

    def fit(self, function, groups, data):
        for group in groups:
            if self.n_groups == self._at_most:
                raise KeyboardInterrupt
            self.n_groups += 1
            yield function(group, data)


def grid(rows, folder, executor=None, **changes):
    settings = changes.pop("settings", SETTINGS)
    names = changes.pop("names", ["people"])
    rows_id = changes.pop("rows_id", "rows")
    return run_grid(
        {
            name: GridData({name: rows}, settings.protocol, settings.max_synthetic_rows)
            for name in names
        },
        **{
            "methods": ["original", "random_oversampling"],
            "generator_states": [0],
            "settings": settings,
            "rows_ids": defaultdict(lambda: rows_id),
            "folder": folder,
            "executor": executor or LocalExecutor(),
            "on_progress": lambda done, total: None,
            **changes,
        },
    )


def keys(fits):
    names = ["dataset", "method", "generator_state", "classifier", "classifier_state"]
    return list(fits[names].itertuples(index=False, name=None))


def test_cells_come_in_the_order_of_the_settings_as_one_file(rows, tmp_path):
    fits = grid(rows, tmp_path, methods=["random_oversampling", "original"], names=["z", "a"])
    assert keys(fits) == [
        (name, method, 0, "xgboost", state)
        for name in ("z", "a")
        for method in ("random_oversampling", "original")
        for state in (0, 1)
    ]
    [file] = tmp_path.iterdir()
    assert sorted(keys(pd.read_parquet(file))) == sorted(keys(fits))


def test_a_grid_that_was_stopped_fits_only_what_is_left(rows, tmp_path):
    stopped = Counted(at_most=1)
    with pytest.raises(KeyboardInterrupt):
        grid(rows, tmp_path, stopped)
    (tmp_path / ".part-x.parquet.1.tmp").write_bytes(b"half")
    going_on = Counted()
    fits = grid(rows, tmp_path, going_on)
    assert (stopped.n_groups, going_on.n_groups) == (1, 1)
    whole = grid(rows, tmp_path / "other")
    pd.testing.assert_frame_equal(
        fits.drop(columns="fit_s"), whole.drop(columns="fit_s"), check_like=True
    )
    assert [path.name for path in tmp_path.glob("*.*")] == ["fits.parquet"]


def test_finished_cells_are_not_fitted_again(rows, tmp_path):
    first = grid(rows, tmp_path)
    executor = Counted()
    pd.testing.assert_frame_equal(grid(rows, tmp_path, executor), first)
    assert executor.n_groups == 0


def test_a_narrower_grid_keeps_the_records_of_the_wider_one(rows, tmp_path):
    grid(rows, tmp_path, names=["a", "b"])
    assert keys(grid(rows, tmp_path, methods=["original"], names=["a"])) == [
        ("a", "original", 0, "xgboost", state) for state in (0, 1)
    ]
    executor = Counted()
    grid(rows, tmp_path, executor, names=["a", "b"])
    assert executor.n_groups == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": SETTINGS.model_copy(update={"protocol": "paper"})},
        {"settings": SETTINGS.model_copy(update={"max_synthetic_rows": 3})},
        {"rows_id": "other rows"},
    ],
    ids=["protocol", "rows used", "rows"],
)
def test_records_of_another_grid_are_not_mixed_in(rows, tmp_path, changes):
    grid(rows, tmp_path)
    executor = Counted()
    fits = grid(rows, tmp_path, executor, **changes)
    assert executor.n_groups == 2
    assert len(fits) == 4
    assert len(pd.read_parquet(tmp_path / "fits.parquet")) == 4


def test_a_method_that_cannot_be_fitted_is_a_record_and_not_an_end(rows, tmp_path):
    # SMOTENC needs two rows of a class to draw between.
    few = rows.train.take(
        [at for at, label in enumerate(rows.train.labels) if label == "well"]
        + [list(rows.train.labels).index("ill")]
    ).narrowed()
    data = DatasetRows(few, few)
    fits = grid(data, tmp_path, methods=["original", "smotenc"])
    assert fits.set_index("method")["error"].notna().to_dict() == {
        "original": False,
        "smotenc": True,
    }
    assert fits.loc[fits["method"] == "smotenc", "balanced_accuracy"].isna().all()


def test_a_method_without_rows_is_an_error_of_its_own_class(rows, tmp_path):
    with pytest.raises(DataError, match="'rddg'"):
        grid(rows, tmp_path, methods=["rddg"])


@pytest.mark.ray
def test_an_error_in_a_block_of_ray_data_keeps_its_class(on_ray):
    def refuse(group, data):
        raise DataError(f"group {group} is refused")

    with pytest.raises(DataError, match="group 7 is refused"):
        list(on_ray().fit(refuse, [7], {}))


@pytest.mark.ray
def test_results_of_tasks_come_in_order_and_errors_keep_their_class(on_ray):
    def double(item):
        if item > 6:
            raise DataError(f"item {item} is refused")
        return 2 * item

    assert list(on_ray().map(double, [3, 2, 1])) == [6, 4, 2]
    with pytest.raises(DataError, match="item 7"):
        list(on_ray().map(double, [7]))
