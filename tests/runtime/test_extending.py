"""A run under other settings: what goes on, what is fitted again, what is refused."""

from __future__ import annotations

import pandas as pd
import pytest

from rddg_ray.errors import StoreError
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.pipeline import run
from rddg_ray.runtime.reporting import rewrite_report

ONE = {"methods": ["original", "rddg"], "evaluation": {"classifiers": ["xgboost"]}}


def rows_by_state(published, path):
    rows = published(path)["rows/people/rddg"]
    return rows.groupby("rddg_generator_state").size().to_dict()


def test_generator_states_that_are_not_asked_for_today_keep_their_rows(
    tmp_path, configure, published
):
    for states in ([0, 1], [0, 2], [0, 1, 2]):
        result = run(configure(tmp_path / "run", **ONE, generator_states=states), LocalExecutor())
    assert rows_by_state(published, result.path) == {0: 30, 1: 30, 2: 30}
    rddg = result.fits[result.fits["method"] == "rddg"]
    assert (rddg["n_synthetic"] == 30).all()
    assert sorted(rddg["generator_state"].unique()) == [0, 1, 2]


def test_a_chain_that_fell_short_goes_on_under_new_limits_and_asks_nothing_twice(
    tmp_path, configure, published, unbroken, server
):
    generation = {"rows_per_class": {"ill": 20, "odd": 10}, "chain_per": "class"}
    path, before = tmp_path / "run", server.n_requests

    def run_with(**limits):
        return run(configure(path, generation={**generation, **limits}), LocalExecutor())

    short = run_with(max_rounds=1)
    assert short.shortfall != {}
    # A limit below what is there already takes nothing away and asks nothing.
    n_requests = server.n_requests
    lower = run_with(max_calls=1)
    assert server.n_requests == n_requests
    assert lower.outcomes == short.outcomes

    whole = run_with()

    assert whole.shortfall == {}
    assert server.n_requests - before == unbroken.usage.n_calls
    pd.testing.assert_frame_equal(
        published(path)["rows/people/rddg"], published(unbroken.path)["rows/people/rddg"]
    )
    figures = ["method", "generator_state", "n_synthetic", "f1", "roc_auc"]
    pd.testing.assert_frame_equal(whole.fits[figures], unbroken.fits[figures])


def test_another_rare_class_is_measured_anew(tmp_path, configure, table_file):
    two = pd.read_csv(table_file).query("state != 'odd'")
    two.to_csv(tmp_path / "two.csv", index=False)
    figures = {}
    for rare, folder in (("ill", "a"), ("well", "b"), ("well", "c")):
        table = {"path": str(tmp_path / "two.csv"), "target": "state", "rare_class": rare}
        changes = {**ONE, "methods": ["original"], "tables": [table]}
        figures[folder] = run(configure(tmp_path / folder, **changes), LocalExecutor()).fits
    assert figures["b"]["sensitivity"].tolist() == figures["a"]["specificity"].tolist()
    # The same directory under another rare class is refused rather than mixed.
    table = {"path": str(tmp_path / "two.csv"), "target": "state", "rare_class": "ill"}
    with pytest.raises(StoreError, match="rare_class"):
        run(configure(tmp_path / "c", **{**changes, "tables": [table]}), LocalExecutor())


def test_rows_for_another_target_are_refused(tmp_path, configure, table_file):
    path = tmp_path / "run"
    run(configure(path, **ONE), LocalExecutor())
    table = {"path": str(table_file), "target": "site", "name": "people", "test_share": 0.3}
    changes = {**ONE, "tables": [table], "generation": {"rows_per_class": {"Oslo": 3}}}
    with pytest.raises(StoreError, match="target"):
        run(configure(path, **changes), LocalExecutor())


def test_a_report_is_not_written_again_over_another_table(tmp_path, configure, table_file):
    mine = tmp_path / "mine.csv"
    mine.write_bytes(table_file.read_bytes())
    table = {"path": str(mine), "target": "state", "test_share": 0.3}
    result = run(configure(tmp_path / "run", **ONE, tables=[table]), LocalExecutor())
    page = result.report.read_bytes()
    assert rewrite_report(result.path).is_file()

    changed = pd.read_csv(mine)
    changed["age"] += 100
    changed.to_csv(mine, index=False)
    with pytest.raises(StoreError, match="'mine' is not what it was"):
        rewrite_report(result.path)
    assert len(page) > 0


def test_a_report_is_written_again_from_any_folder(tmp_path, configure, table_file, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "mine.csv").write_bytes(table_file.read_bytes())
    table = {"path": "mine.csv", "target": "state", "test_share": 0.3}
    result = run(configure(tmp_path / "run", **ONE, tables=[table]), LocalExecutor())
    monkeypatch.chdir(tmp_path)
    assert rewrite_report(result.path) == result.report
