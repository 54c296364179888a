"""Runs as a user starts them: processes of their own, that tests kill."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from rddg_ray.config import EmbeddedSettings
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.llm.embedded.server import EmbeddedServer

RDDG = [sys.executable, "-c", "from rddg_ray.cli import main; main()"]


@pytest.fixture(scope="session")
def bad_servers() -> ModuleType:
    """Return the module `misbehaving` beside this file, which no import finds."""
    spec = importlib.util.spec_from_file_location(
        "misbehaving", Path(__file__).with_name("misbehaving.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def slow_server() -> Iterator[EmbeddedServer]:
    with serve_in_thread(EmbeddedSettings(latency_s=0.15)) as running:
        yield running


@pytest.fixture(scope="session")
def table_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("tables") / "people.csv"
    pd.DataFrame(
        {
            "age": rng.integers(18, 80, 100),
            "dose": rng.normal(5.0, 1.0, 100).round(2),
            "site": rng.choice(["Köln", "Oslo"], 100),
            "state": ["ill"] * 20 + ["well"] * 80,
        }
    ).to_csv(path, index=False)
    return path


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Return a temporary folder whose path is short enough for Ray's sockets."""
    path = Path(tempfile.mkdtemp(prefix="rf-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start(
    tmp_path: Path, table_file: Path, slow_server: EmbeddedServer
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts `rddg run` with an output folder; what lives is ended.

    It takes the rows asked for of each of the four chains, too.
    """
    content: dict[str, Any] = {
        "tables": [{"path": str(table_file), "target": "state"}],
        "methods": ["original", "epic", "rddg"],
        "generator_states": [0, 1],
        "coreset": {"epochs": 6, "ensemble": 1},
        "endpoint": {"base_url": slow_server.base_url},
        "evaluation": {"classifiers": ["xgboost"], "classifier_states": [0]},
    }
    started: list[subprocess.Popen[str]] = []

    def begin(
        output: Path, *options: str, n_rows: int = 50, **environment: str
    ) -> subprocess.Popen[str]:
        config = tmp_path / f"run-{n_rows}.yaml"
        rows = {"generation": {"rows_per_class": {"ill": n_rows}}}
        config.write_text(yaml.safe_dump(content | rows), encoding="utf-8")
        command = [*RDDG, "run", str(config), "--output", str(output), *options]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            # A group of its own, as a shell gives it: a test may signal all of it.
            process_group=0,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
