"""Difficulty scores of a run's tables, computed once and kept with the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd

from rddg_ray.config import CoresetSettings, RunSettings
from rddg_ray.coreset import difficulty_by_state, select, select_random
from rddg_ray.errors import StoreError
from rddg_ray.method_parts import METHOD_PARTS
from rddg_ray.runtime.executor import Executor
from rddg_ray.runtime.store import write_parquet
from rddg_ray.table import Table

_SCORED = tuple([name for name, parts in METHOD_PARTS.items() if parts.coreset == "difficult"])
_RANDOM = tuple([name for name, parts in METHOD_PARTS.items() if parts.coreset == "random"])


@dataclass(frozen=True)
class _Job:
    table: Table
    settings: CoresetSettings
    random_states: tuple[int, ...]


def coresets(
    tables: Mapping[str, Table], settings: RunSettings, folder: Path, executor: Executor
) -> dict[tuple[str, str], list[int]]:
    """Return the positions of the rows that each table and method shows for relations.

    Scores are read from the run directory where they are on record: a network trained on
    another machine may differ in the last digits, and a resumed run must ask what it asked.

    Args:
        tables: Training rows by data set.
        settings: The run's settings.
        folder: `coreset` of the run.
        executor: Trains the networks, one task a table.
    """
    chosen: dict[tuple[str, str], list[int]] = {}
    per_class, random_state = settings.coreset.per_class, settings.random_state
    if any(method in _SCORED for method in settings.methods):
        for name, scores in _scores(tables, settings, folder, executor).items():
            rows = select(scores, tables[name].encode_classes(), per_class, random_state)
            for method in _SCORED:
                chosen[name, method] = rows.tolist()
    if any(method in _RANDOM for method in settings.methods):
        for name, table in tables.items():
            rows = select_random(table.encode_classes(), per_class, random_state)
            for method in _RANDOM:
                chosen[name, method] = rows.tolist()
    return chosen


def _scores(
    tables: Mapping[str, Table], settings: RunSettings, folder: Path, executor: Executor
) -> dict[str, np.ndarray]:
    files = {name: folder / f"dataset={quote(name, safe='')}.parquet" for name in tables}
    missing = [name for name in tables if not files[name].exists()]
    states = tuple(range(settings.random_state, settings.random_state + settings.coreset.ensemble))
    jobs = [_Job(tables[name], settings.coreset, states) for name in missing]
    for name, scores in zip(missing, executor.map(_train, jobs, use_gpu=True), strict=True):
        _write(files[name], tables[name], scores)
    return {name: _read(files[name], table) for name, table in tables.items()}


def _train(job: _Job) -> np.ndarray:
    scores: np.ndarray = difficulty_by_state(
        job.table.encode_features(),
        job.table.encode_classes(),
        random_states=job.random_states,
        epochs=job.settings.epochs,
        batch_size=job.settings.batch_size,
        learning_rate=job.settings.learning_rate,
        device=_device(),
    )
    return scores


def _device() -> str:
    from rddg_ray.runtime.cluster import device_for_networks

    return device_for_networks()


def _write(path: Path, table: Table, scores: np.ndarray) -> None:
    frame = pd.DataFrame(
        {"row_id": table.frame.index.to_numpy(), "difficulty": scores.mean(axis=0)}
    )
    write_parquet(frame, path)


def _read(path: Path, table: Table) -> np.ndarray:
    frame = pd.read_parquet(path)
    if not np.array_equal(frame["row_id"].to_numpy(), table.frame.index.to_numpy()):
        raise StoreError(f"{path}: holds scores of other rows; delete it or start a new run")
    scores: np.ndarray = frame["difficulty"].to_numpy(copy=True)
    return scores


def write_coreset(
    folder: Path, tables: Mapping[str, Table], chosen: Mapping[tuple[str, str], Sequence[int]]
) -> None:
    """Write which rows were chosen, by row id, for whoever wants to look."""
    records = [
        {"dataset": dataset, "method": method, "row_id": int(tables[dataset].frame.index[position])}
        for (dataset, method), positions in chosen.items()
        for position in positions
    ]
    if records:
        write_parquet(pd.DataFrame(records), folder / "chosen.parquet")
