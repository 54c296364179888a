from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from rddg_ray.cli import app
from rddg_ray.errors import ConfigError, DataError
from rddg_ray.runtime.comparing import compare_directories, write_comparison


@pytest.fixture(scope="module")
def pair(unbroken, tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    other = folder / "other"
    shutil.copytree(unbroken.path, other)
    record = json.loads((other / "run.json").read_text("utf-8"))
    record["settings"]["generation"]["temperature"] = 0.5
    (other / "run.json").write_text(json.dumps(record), "utf-8")
    return unbroken.path, other


@pytest.mark.slow
def test_run_directories_are_compared_and_written(pair, tmp_path):
    found = compare_directories(pair)
    assert set(found.figures["family"]) == {"utility", "fidelity", "privacy", "cost"}
    assert list(found.settings["key"]) == ["generation.temperature"]
    again = pd.read_csv(write_comparison(found, tmp_path / "new" / "c.csv"))
    assert len(again) == len(found.figures)
    assert "## people" in write_comparison(found, tmp_path / "c.md").read_text("utf-8")


@pytest.mark.slow
def test_the_command_prints_one_json_object(pair, tmp_path):
    out = tmp_path / "c.md"
    result = CliRunner().invoke(
        app, ["compare", *map(str, pair), "--json", "--out", str(out)], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert json.loads(result.stdout)["runs"] == ["run", "other"]
    assert out.is_file()


def test_one_directory_or_one_given_twice_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="give two or more"):
        compare_directories([tmp_path])
    with pytest.raises(ConfigError, match="given twice"):
        compare_directories([tmp_path, tmp_path / "x" / ".."])


def test_a_folder_without_fits_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match=r"a: there are no fits"):
        compare_directories([tmp_path / "a", tmp_path / "b"])
