from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rddg_ray.datasets import names
from rddg_ray.errors import BudgetError, ConfigError
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.sweep import SweepResult, run_sweep
from rddg_ray.runtime.sweep_plan import plan, run_settings
from rddg_ray.runtime.sweep_settings import SweepSettings, load_sweep, sweep_from, with_datasets

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "jobs" / "configs" / "paper.yaml"


def small(output: Path, server: Any, **changes: Any) -> SweepSettings:
    content: dict[str, Any] = {
        "output": output,
        "data": output / "no-such-folder",
        "random_states": [0],
        "tables": [1, 6, 8],
        "datasets": {"iris": {}, "segmentation": {"path": str(output / "absent")}},
        "main_datasets": ["iris", "segmentation"],
        "methods": ["original", "smote", "epic", "rddg"],
        "ablation_rows": {"iris": 9},
        "ablations": ["rddg", "rddg_no_feedback"],
        "reference_datasets": ["iris"],
        "reference_sizes": [9],
        "synthetic_rows": 30,
        "coreset": {"epochs": 6, "ensemble": 1},
        "evaluation": {"classifiers": ["xgboost"]},
        "endpoint": {"base_url": server.base_url},
        **changes,
    }
    return sweep_from(content)


@pytest.fixture(scope="module")
def swept(tmp_path_factory, server) -> tuple[SweepSettings, SweepResult]:
    settings = small(tmp_path_factory.mktemp("sweep"), server)
    return settings, run_sweep(settings, LocalExecutor)


@pytest.mark.slow
def test_a_sweep_fills_its_tables_and_says_what_it_skipped(swept):
    settings, result = swept
    assert (result.n_run, result.n_kept) == (2, 0)
    assert len([line for line in result.lines if "segmentation is skipped" in line]) == 1
    own = {
        number: table[table["source"].str.startswith("rddg_ray")]
        for number, table in result.tables.items()
    }
    assert set(own[1]["method"]) == {"original", "smote", "epic", "rddg"}
    assert set(own[6]["method"]) == {"rddg", "rddg_no_feedback"}
    assert list(own[8]["reference_rows"]) == [9.0]
    assert own[1].query("method == 'rddg'")["f1_difference"].notna().all()
    assert (own[8]["tokens"] > 0).all()
    for number in (1, 6, 8):
        path = settings.output / "tables" / f"table{number}"
        assert len(pd.read_csv(path.with_suffix(".csv"))) == len(result.tables[number])
        text = path.with_suffix(".md").read_text("utf-8")
        assert "not a language model" in text
        assert "segmentation is skipped" in text


@pytest.mark.slow
def test_a_second_start_runs_nothing_and_gives_the_same_tables(swept):
    settings, result = swept

    def no_executor() -> LocalExecutor:
        raise AssertionError("a finished run was started again")

    again = run_sweep(settings, no_executor)
    assert (again.n_run, again.n_kept) == (0, 2)
    for number, table in result.tables.items():
        pd.testing.assert_frame_equal(again.tables[number], table, check_dtype=False)


@pytest.mark.slow
def test_a_used_up_budget_stops_a_sweep_before_the_next_run(swept):
    settings, _ = swept
    budget = settings.endpoint.budget.model_copy(update={"max_calls": 1})
    capped = settings.model_copy(
        update={
            "endpoint": settings.endpoint.model_copy(update={"budget": budget}),
            "reference_sizes": (9, 12),
        }
    )
    with pytest.raises(BudgetError, match=r"endpoint.budget.max_calls: \d+ of 1 is used"):
        run_sweep(capped, LocalExecutor)


def test_a_run_that_stands_in_several_tables_is_planned_once():
    units = {unit.name: unit for unit in plan(load_sweep(CONFIG))}
    whole = units["thyroid-reference15"]
    # A reference size of 30 is 15 rows of each of two classes: the default.
    assert [(p.table, p.reference_rows) for p in whole.places] == [(1, None), (8, 30)]
    assert [p.table for p in units["thyroid-reference10"].places] == [6, 8]
    assert {"rddg_no_feedback", "rddg_random_coreset"} <= set(units["thyroid-reference10"].methods)


def test_every_table_has_a_data_set_that_needs_no_file():
    always = {entry.name for entry in names() if entry.kind != "file"}
    found = {
        place.table
        for unit in plan(load_sweep(CONFIG))
        for place in unit.places
        if unit.dataset in always
    }
    assert found >= {2, 5, 6, 7, 8}


def test_the_papers_amounts_reach_the_runs():
    settings = load_sweep(CONFIG, {"random_states": [0, 1]})
    told = {unit.name: run_settings(unit, settings) for unit in plan(settings)}
    assert told["sick-reference15"].generation.rows_per_class == 500
    assert told["segmentation-ratio20-reference15"].generation.rows_per_class == 143
    assert told["segmentation-ratio20-reference15"].tables[0].imbalance_ratio == 20
    # Five rows of two classes: three of each.
    assert told["travel-reference3"].generation.reference_rows_per_class == 3
    assert told["sick-reference15"].evaluation.classifier_states == (0, 1)
    assert told["sick-reference15"].tables[0].split == "authors"


def test_some_data_sets_are_kept_everywhere():
    settings = with_datasets(load_sweep(CONFIG), ("thyroid", "real_estate"))
    assert {unit.dataset for unit in plan(settings)} == {"thyroid", "real_estate"}
    with pytest.raises(ConfigError, match="'moon' is not one of the sweep's"):
        with_datasets(settings, ("moon",))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tables": [1, 3]}, "tables"),
        ({"methods": ["rddg", "magic"]}, "'magic' is not one of"),
        ({"reference_datasets": ["moon"]}, "'moon' is not among datasets"),
        ({"datasets": {"moon": {}}}, "no data set 'moon'"),
        ({"generation": {"rows_per_class": 5}}, "synthetic_rows"),
        ({"evaluation": {"classifier_states": [0]}}, "random_states"),
        ({"random_state": [0]}, "did you mean 'random_states'"),
    ],
)
def test_a_wrong_setting_is_named(changes, words):
    content = {"datasets": {"iris": {}}, "methods": ["original"]}
    with pytest.raises(ConfigError, match=words):
        sweep_from({**content, **changes}, source="x.yaml")


@pytest.mark.slow
def test_the_job_says_how_it_is_used_and_lists_its_runs():
    job = [sys.executable, str(ROOT / "jobs" / "benchmark.py")]
    said = subprocess.run([*job, "--help"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "--random-states" in said.stdout
    listed = subprocess.run(
        [*job, str(CONFIG), "--plan", "--tables", "7"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert len(listed.stdout.splitlines()) == 8
