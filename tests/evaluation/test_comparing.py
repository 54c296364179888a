from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rddg_ray.errors import DataError
from rddg_ray.evaluation.comparing import RunFigures, compare_runs
from rddg_ray.evaluation.comparing_text import to_markdown, wide
from rddg_ray.evaluation.readings import to_figures
from rddg_ray.evaluation.utility import score


def fits(hits: int, *, method: str = "rddg", dataset: str = "t", n_rare: int = 10) -> pd.DataFrame:
    truth = np.repeat([1, 0], [n_rare, 30])
    predicted = np.concatenate([np.repeat([1, 0], [hits, n_rare - hits]), np.zeros(30, dtype=int)])
    row: dict[str, Any] = {
        "dataset": dataset, "method": method, "generator_state": 0, "classifier": "xgboost",
        "classifier_state": 0, "n_synthetic": 0, "n_classes": 2, "positive": 1, "rare": 1,
        "error": None, **score(truth, predicted, np.eye(2)[predicted], 1),
        "truth": truth.astype(np.uint8).tobytes(),
        "predicted": predicted.astype(np.uint8).tobytes(),
    }  # fmt: skip
    return pd.DataFrame([row])


def copies(value: float) -> pd.DataFrame:
    return to_figures(
        [
            {
                "dataset": "t", "method": "rddg", "generator_state": 0, "scope": "all",
                "metric": "copy_share", "value": value, "ceiling": 0.1, "n_matched": 10,
            }
        ]
    )  # fmt: skip


def pick(figures: pd.DataFrame, metric: str, run: str) -> pd.Series:
    return figures[(figures["metric"] == metric) & (figures["run"] == run)].iloc[0]


def test_a_difference_is_the_one_counted_by_hand_with_its_interval() -> None:
    found = compare_runs([RunFigures("a", fits(5)), RunFigures("b", fits(8))])
    first, second = (pick(found.figures, "sensitivity", run) for run in "ab")
    assert (first["value"], second["value"]) == pytest.approx((0.5, 0.8))
    assert np.isnan(first["difference"])
    assert second["difference"] == pytest.approx(0.3)
    assert 0 <= second["low"] < 0.3 < second["high"]


def test_a_run_beside_its_equal_differs_by_nothing() -> None:
    found = compare_runs([RunFigures("a", fits(5)), RunFigures("b", fits(5))])
    differences = found.figures.query("run == 'b'")["difference"]
    assert (differences == 0).all()


def test_other_test_rows_give_a_difference_without_an_interval() -> None:
    runs = [RunFigures("a", fits(5)), RunFigures("b", fits(16, n_rare=20))]
    found = compare_runs(runs)
    second = pick(found.figures, "sensitivity", "b")
    assert second["difference"] == pytest.approx(0.3)
    assert np.isnan(second["low"])
    assert any("different test rows" in note for note in found.notes)


def test_privacy_cost_and_settings_stand_beside_one_another() -> None:
    usage = pd.DataFrame([{"dataset": "t", "method": "rddg", "tokens_per_row": 40.0}])
    one = RunFigures("a", fits(5), copies(0.1), copies(0.5), usage, {"k": "1", "same": "x"})
    two = RunFigures("b", fits(5), copies(0.1), copies(0.2), usage, {"k": "2", "same": "x"})
    found = compare_runs([one, two])
    share = pick(found.figures[found.figures["family"] == "privacy"], "copy_share", "b")
    assert (share["value"], share["ceiling"]) == (0.2, 0.1)
    assert share["difference"] == pytest.approx(-0.3)
    assert pick(found.figures, "tokens_per_row", "b")["difference"] == 0.0
    assert found.settings.to_dict("records") == [{"key": "k", "a": "1", "b": "2"}]
    text = to_markdown(found)
    assert "| k | 1 | 2 |" in text
    assert "0.200 (-0.300)" in text


def test_what_one_run_alone_has_is_left_out_and_gaps_are_shown() -> None:
    alone = fits(3, method="epic")
    runs = [
        RunFigures("a", pd.concat([fits(5), alone])),
        RunFigures("b", fits(6)),
        RunFigures("c", fits(6, dataset="other")),
    ]
    found = compare_runs(runs)
    assert set(found.figures["method"]) == {"rddg"}
    assert set(found.figures["dataset"]) == {"t"}
    # family, method, metric, then a cell for each of the three runs
    assert all(len(line) == 6 and line[-1] == "-" for line in wide(found, "t"))


def test_runs_that_share_nothing_are_refused_by_what_each_has() -> None:
    runs = [RunFigures("a", fits(5)), RunFigures("b", fits(5, method="epic", dataset="u"))]
    with pytest.raises(DataError, match=r"share no table and method: a has t \(rddg\); b has u"):
        compare_runs(runs)


def test_the_json_form_holds_no_nan() -> None:
    found = compare_runs([RunFigures("a", fits(5)), RunFigures("b", fits(8))])
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["runs"] == ["a", "b"]
