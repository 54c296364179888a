from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from rddg_ray.config import CLASSIFIERS
from rddg_ray.errors import ConfigError, DataError
from rddg_ray.evaluation.cells import Cell
from rddg_ray.evaluation.encoding import Protocol
from rddg_ray.evaluation.fits import DatasetRows, GridData, cells, fit_cell, fit_group, to_frame
from rddg_ray.evaluation.utility import METRICS
from rddg_ray.table import Table, conform, from_frame

QUICK = ("xgboost", "lightgbm", "gradient_boosting")


@pytest.fixture
def data(train: Table, test_rows: Table, make_rows: Callable[..., pd.DataFrame]) -> GridData:
    added = conform(make_rows(60, 9, rare_share=0.5), train, name="rddg")
    rows = DatasetRows(train, test_rows, {("rddg", 3): added})
    return GridData({"toy": rows}, max_synthetic_rows=50)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_every_classifier_learns_a_separable_table(data: GridData, classifier: str) -> None:
    row = fit_cell(Cell("toy", "rddg", 3, classifier, 0), data)
    assert row["error"] is None
    assert row["balanced_accuracy"] > 0.9
    assert (row["n_train"], row["n_synthetic"], row["n_test"]) == (200, 50, 80)
    assert all(0.0 <= row[metric] <= 1.0 for metric in METRICS)


@pytest.mark.parametrize(
    ("protocol", "limit", "n_rows"), [("clean", None, 1200), ("paper", None, 1000), ("paper", 7, 7)]
)
def test_the_papers_protocol_alone_stops_at_a_thousand_rows(
    train: Table, test_rows: Table, protocol: Protocol, limit: int | None, n_rows: int
) -> None:
    added = train.take(np.arange(1200) % len(train))
    rows = DatasetRows(train, test_rows, {("rddg", 0): added})
    taken = GridData({"toy": rows}, protocol, limit).synthetic("toy", "rddg", 0)
    assert taken is not None
    assert taken.row_keys() == added.row_keys()[:n_rows]


def test_the_same_cell_gives_the_same_figures(data: GridData) -> None:
    cell = Cell("toy", "smotenc", 1, "gradient_boosting", 2)
    first, again = fit_cell(cell, data), fit_cell(cell, pickle.loads(pickle.dumps(data)))
    del first["fit_s"], again["fit_s"]
    assert first == again


def test_predictions_travel_with_the_figures(data: GridData) -> None:
    row = fit_cell(Cell("toy", "original", 0, "lightgbm", 0), data)
    truth = np.frombuffer(row["truth"], dtype=np.uint8)
    predicted = np.frombuffer(row["predicted"], dtype=np.uint8)
    assert truth.sum() == 16
    assert row["accuracy"] == pytest.approx(float((truth == predicted).mean()))


def test_the_grid_lists_original_once_and_every_other_method_by_state(data: GridData) -> None:
    listed = cells(data, methods=["original", "smotenc"], generator_states=[0, 1],
                   classifiers=CLASSIFIERS, classifier_states=range(5))  # fmt: skip
    counts = pd.Series([cell.source for cell in listed]).value_counts().to_dict()
    assert counts == {
        ("toy", "original", 0): 20,
        ("toy", "smotenc", 0): 20,
        ("toy", "smotenc", 1): 20,
    }
    assert listed[0].classifier == "catboost"


def test_absent_synthetic_rows_are_named(data: GridData) -> None:
    with pytest.raises(DataError, match=r"toy: there are no synthetic rows of method 'epic'"):
        cells(data, methods=["epic"], generator_states=[0], classifiers=QUICK,
              classifier_states=[0])  # fmt: skip


def test_an_unknown_classifier_is_refused(data: GridData) -> None:
    with pytest.raises(ConfigError, match="'forest' is not one of"):
        cells(data, methods=["original"], generator_states=[0], classifiers=["forest"],
              classifier_states=[0])  # fmt: skip


def test_a_library_that_refuses_the_rows_is_recorded_and_the_group_goes_on() -> None:
    # Every feature is constant among these rows, which CatBoost refuses.
    frame = pd.DataFrame({"x": [1.0, 2.0] * 10, "y": ["a", "b"] * 10})
    table = from_frame(frame, "y", name="flat")
    flat = table.with_frame(table.frame.assign(x=1.0))
    data = GridData({"flat": DatasetRows(flat, flat)})
    rows = fit_group([Cell("flat", "original", 0, c, 0) for c in ("catboost", "xgboost")], data)
    assert "CatBoostError" in rows[0]["error"]
    assert np.isnan(rows[0]["f1"])
    assert rows[1]["error"] is None
    assert to_frame(rows)["error"].isna().tolist() == [False, True]


def test_hard_tables_are_fitted_without_warnings() -> None:
    # 60% missing cells, braces and quotes in names, six classes, and an unseen category.
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            'price, "net" {EUR}': np.where(rng.random(120) < 0.6, np.nan, rng.normal(size=120)),
            "größe[<1]": pd.Series(rng.choice(["p", "q", "r"], 120)).where(rng.random(120) < 0.4),
            "level": np.repeat(list("abcdef"), 20),
        }
    )
    train = from_frame(frame, "level", name="hard")
    test = conform(frame.assign(**{"größe[<1]": "new"}), train, name="test")
    data = GridData({"hard": DatasetRows(train, test)})
    for method in ("original", "random_oversampling", "smotenc"):
        for row in fit_group([Cell("hard", method, 0, c, 0) for c in QUICK], data):
            assert row["error"] is None, row
            assert row["positive"] == -1


def test_no_synthetic_rows_leave_the_figures_of_the_original(
    train: Table, test_rows: Table
) -> None:
    data = GridData({"toy": DatasetRows(train, test_rows, {("rddg", 0): train.take([])})})
    found = [fit_cell(Cell("toy", m, 0, "xgboost", 0), data) for m in ("original", "rddg")]
    assert found[0]["predicted"] == found[1]["predicted"]
    assert found[1]["n_synthetic"] == 0
