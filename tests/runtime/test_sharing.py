from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rddg_ray.config import RunSettings, checked, settings_from
from rddg_ray.errors import ConfigError
from rddg_ray.runtime.chains import ChainSpec, build_study, list_chains
from rddg_ray.runtime.sharing import models_of, rules_of
from rddg_ray.table import Table, from_frame

GOOD = [{"type": "range", "name": "low", "column": "x", "low": 0}]


def table() -> Table:
    frame = pd.DataFrame({"y": ["a", "a", "b"] * 10, "x": [i % 15 + 0.5 for i in range(30)]})
    return from_frame(frame, "y", name="numbers")


def run_settings(rules: Any = None, **generation: Any) -> RunSettings:
    content = {
        "tables": [{"path": "x.csv", "target": "y"}],
        "generation": {"rules": rules, **generation},
        "methods": ["epic", "rddg_calibrated"],
    }
    return settings_from(content)


def write(folder: Path, rules: list[dict[str, Any]]) -> Path:
    path = folder / "rules.json"
    path.write_text(json.dumps({"rules": rules}), encoding="utf-8")
    return path


def test_a_table_s_models_are_made_once_for_the_same_settings() -> None:
    rows, settings = table(), run_settings().generation
    assert models_of(rows, settings) is models_of(rows, run_settings(codes=False).generation)
    assert models_of(rows, settings) is not models_of(table(), settings)
    other = run_settings(near_copy_tolerance=0).generation
    assert models_of(rows, settings) is not models_of(rows, other)


def test_what_a_table_s_chains_shared_goes_with_the_table() -> None:
    from rddg_ray.runtime import sharing

    rows = table()
    models_of(rows, run_settings().generation)
    place = id(rows)
    assert place in sharing._SHARED
    del rows
    gc.collect()
    assert place not in sharing._SHARED


def test_a_file_of_rules_is_part_of_the_settings_by_its_content(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    settings = run_settings(str(path))
    assert settings.generation.rules is not None
    assert list(settings.generation.rules.items) == GOOD
    assert settings.generation.rules.file == str(path)
    # Written down and read again, as a run directory does, the file is not needed any more.
    dumped = settings.model_dump(mode="json")
    path.unlink()
    assert checked(RunSettings, dumped, "again") == settings
    assert settings.fingerprint() == run_settings(GOOD).fingerprint()
    assert settings.fingerprint() != run_settings().fingerprint()
    assert "rules" not in run_settings().row_settings()["generation"]
    stricter = [{**GOOD[0], "low": -1}]
    assert run_settings(str(write(tmp_path, stricter))).fingerprint() != settings.fingerprint()


def test_a_missing_file_of_rules_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: there is no such file of rules"):
        run_settings(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            {"type": "range", "name": "r", "column": "z", "low": 0},
            ["rule 1 ('r')", "column", "'z'"],
        ),
        (
            {"type": "range", "name": "r", "column": "x", "low": 99},
            ["'x'", "0 of the 30 real rows"],
        ),
        ("x > 0", ["rule 1", "x > 0"]),
    ],
)
def test_a_rule_that_does_not_fit_a_table_is_refused_before_any_chain_is_listed(
    tmp_path: Path, rule: Any, words: list[str]
) -> None:
    path = write(tmp_path, [rule])
    with pytest.raises(ConfigError) as refusal:
        list_chains(run_settings(str(path)), {"numbers": table()})
    for word in [str(path), "'numbers'", *words]:
        assert word in str(refusal.value)


def test_every_method_s_chains_hold_rows_to_the_user_s_rules() -> None:
    rows, settings = table(), run_settings(GOOD, rows_per_class=3)
    for spec in list_chains(settings, {"numbers": rows}):
        study = build_study(spec, rows, (), settings)
        kept = study.start().rules.kept
        assert [(v.rule.name, v.rule.source) for v in kept] == [("low", "user")]
    assert rules_of(rows, settings.generation) is rules_of(rows, settings.generation)


def test_a_method_s_stream_does_not_hang_on_which_other_methods_there_are() -> None:
    rows, settings = table(), run_settings()
    spec = ChainSpec("numbers", "epic", 0, 0, {"b": 5})
    first = build_study(spec, rows, (), settings)
    prompts = [prompt.sha256 for prompt in first.ask(first.start())]
    # As when epic was the second of four methods.
    assert prompts == ["47dd73823ac3c8fc5c0aeff720e99f5e58b5264709f51f99bd99f15bf800671f"]
