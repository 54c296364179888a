"""The default method through a whole run: what it refuses, and that a replay gives it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rddg_ray.config import SynthesisSettings, checked
from rddg_ray.errors import ConfigError
from rddg_ray.runtime.api import generate
from rddg_ray.table import Table, from_frame


def people(n_rows: int = 200) -> Table:
    rng = np.random.default_rng(0)
    state = np.where(rng.random(n_rows) < 0.2, "ill", "well")
    frame = pd.DataFrame({
        "age": rng.integers(20, 80, n_rows),
        "pulse": (rng.normal(70, 8, n_rows) + 30 * (state == "ill")).round(1),
        "sex": rng.choice(["f", "m"], n_rows),
        "state": state,
    })  # fmt: skip
    return from_frame(frame, "state", name="people")


def settings(**generation: Any) -> SynthesisSettings:
    content = {
        "coreset": {"epochs": 6, "ensemble": 1},
        "generation": {"rows_per_class": {"ill": 40}, **generation},
        "endpoint": {"embedded": {"copy_share": 0.5, "bias": 0.5}},
    }
    return checked(SynthesisSettings, content, "test")


def test_copies_are_refused_the_target_is_met_and_the_same_run_asks_nothing_twice(
    tmp_path: Path,
) -> None:
    table = people()
    first = generate(table, settings(), run_dir=tmp_path / "run")
    assert len(first.rows) == 40
    names = ["age", "pulse", "sex", "state"]
    real = set(map(tuple, table.to_output(table.frame)[names].to_numpy()))
    assert real.isdisjoint(map(tuple, first.rows[names].to_numpy()))
    assert (first.rejects["reason"] == "copy").sum() > 10
    assert set(first.rejects["rddg_method"]) == {"rddg_calibrated"}
    again = generate(table, settings(), run_dir=tmp_path / "run")
    pd.testing.assert_frame_equal(again.rows, first.rows)
    assert again.usage == first.usage


def test_a_user_s_rules_hold_in_a_run_and_a_wrong_one_stops_it_before_any_call(
    tmp_path: Path,
) -> None:
    table = people()
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n- {type: range, column: pulse, high: 130}\n", encoding="utf-8")
    made = generate(table, settings(rules=str(path)), run_dir=tmp_path / "run")
    assert made.rows["pulse"].max() <= 130
    path.write_text("rules:\n- {type: range, column: pulse, high: 70}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"rules\.yaml.*'people'.*rule 1.*'pulse'"):
        generate(table, settings(rules=str(path)), run_dir=tmp_path / "other")
    assert not list((tmp_path / "other").glob("journal/*.db*"))
