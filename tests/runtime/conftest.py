"""A small run, in this process and on one Ray that all tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rddg_ray.config import EmbeddedSettings, RunSettings, settings_from
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.llm.embedded.server import EmbeddedServer
from rddg_ray.runtime.actors import RayExecutor
from rddg_ray.runtime.cluster import ray_session
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.pipeline import RunResult, run
from rddg_ray.runtime.store import RunDirectory

SETTINGS: dict[str, Any] = {
    "methods": ["original", "random_oversampling", "epic", "rddg"],
    "generator_states": [0, 1],
    "coreset": {"epochs": 6, "ensemble": 1},
    "generation": {"rows_per_class": {"ill": 20, "odd": 10}, "chain_per": "class"},
    "evaluation": {"classifiers": ["xgboost"], "classifier_states": [0, 1]},
}


def rows(random_state: int = 0, n_rows: int = 90) -> pd.DataFrame:
    rng = np.random.default_rng(random_state)
    state = np.array(["ill"] * 18 + ["odd"] * 12 + ["well"] * (n_rows - 30))
    return pd.DataFrame(
        {
            "id": np.arange(n_rows) + 1000,
            "age": rng.integers(18, 80, n_rows) + 8 * (state == "ill"),
            "dose, mg": rng.normal(5.0, 1.0, n_rows).round(2) + (state == "odd"),
            "site": rng.choice(["Köln", "Oslo", 'x "y"'], n_rows),
            "seen": pd.date_range("2020-01-01", periods=n_rows).strftime("%Y-%m-%d"),
            "state": state,
        }
    )


@pytest.fixture(scope="session")
def table_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "people.csv"
    rows().to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    with serve_in_thread(EmbeddedSettings()) as running:
        yield running


@pytest.fixture(scope="session")
def configure(table_file: Path, server: EmbeddedServer) -> Callable[..., RunSettings]:
    """Return a function from an output folder and changes to settings."""

    def make(output: Path, **changes: Any) -> RunSettings:
        content = {
            "output": str(output),
            "tables": [{"path": str(table_file), "target": "state", "test_share": 0.3}],
            "endpoint": {"base_url": server.base_url},
            **SETTINGS,
            **changes,
        }
        return settings_from(content)

    return make


@pytest.fixture(scope="session")
def unbroken(
    tmp_path_factory: pytest.TempPathFactory, configure: Callable[..., RunSettings]
) -> RunResult:
    """The small run, done in this process."""
    return run(configure(tmp_path_factory.mktemp("unbroken") / "run"), LocalExecutor())


@pytest.fixture(scope="session")
def on_ray() -> Iterator[Callable[[], RayExecutor]]:
    """Return what makes executors on a Ray that tests share."""
    with ray_session(num_cpus=2):
        yield RayExecutor


@pytest.fixture(scope="session")
def published() -> Callable[[Path], Mapping[str, pd.DataFrame]]:
    """Return a function from a run directory to its rows and rejects, by kind and entry."""

    def read(path: Path) -> dict[str, pd.DataFrame]:
        store = RunDirectory(path)
        manifest = store.manifest()
        return {
            f"{kind}/{key}": store.read_published(kind, *key.split("/"))
            for kind in ("rows", "rejects")
            for key in manifest[kind]
        }

    return read
