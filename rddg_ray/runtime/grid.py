"""The classifier grid of a run: finished cells are kept, the others fitted and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rddg_ray.config import EvaluationSettings
from rddg_ray.evaluation.cells import Cell, SourceKey, group, remaining
from rddg_ray.evaluation.fits import GridData, cells, fit_group, to_frame
from rddg_ray.runtime.executor import Executor
from rddg_ray.runtime.store import write_parquet

# Long enough that starting a block costs little, short enough that a kill loses little.
_BLOCK_SECONDS = 5.0
_KEY = ["dataset", "method", "generator_state", "classifier", "classifier_state"]


def run_grid(
    data: Mapping[str, GridData],
    *,
    methods: Sequence[str],
    generator_states: Sequence[int],
    settings: EvaluationSettings,
    rows_ids: Mapping[SourceKey, str],
    folder: Path,
    executor: Executor,
    on_progress: Callable[[int, int], None],
) -> pd.DataFrame:
    """Fit every cell that has no record yet and return all records.

    Args:
        data: Rows of each table, by its name.
        methods: Baselines and generative methods to compare.
        generator_states: Random states of the methods.
        settings: Protocol, classifiers and their states.
        rows_ids: Names the rows that each (table, method, generator state) trains and is
            measured on; records of other rows, or of another protocol, are dropped.
        folder: `evaluation/fits` of the run. Each group of cells is a file of its own as soon
            as it is fitted; at the end one file holds all.
        executor: Where fits run.
        on_progress: Called with the cells done and all cells.

    Returns:
        One row a fit; see `fits.fit_cell`.
    """
    listed = [
        cell
        for part in data.values()
        for cell in cells(
            part,
            methods=methods,
            generator_states=generator_states,
            classifiers=settings.classifiers,
            classifier_states=settings.classifier_states,
        )
    ]
    sources = {cell.source for cell in listed}
    grid_ids = {source: _grid_id(settings, rows_ids[source]) for source in sources}
    done = _read(folder, grid_ids)
    todo = remaining(listed, done.to_dict("records"))
    n_done = len(listed) - len(todo)
    on_progress(n_done, len(listed))
    for records in executor.fit(_fit, group(todo, _BLOCK_SECONDS), data):
        fitted = to_frame(map(dict, records))
        fitted["grid"] = [grid_ids[source] for source in _sources(fitted)]
        write_parquet(fitted, folder / f"part-{_name(records)}.parquet")
        n_done += len(records)
        on_progress(n_done, len(listed))
    fits = _merge(folder, grid_ids, listed)
    ranks = pd.DataFrame(
        {
            "dataset": fits["dataset"].map(list(data).index),
            "method": fits["method"].map(list(methods).index),
        }
    )
    order = ranks.join(fits[_KEY[2:]]).sort_values(["dataset", "method", *_KEY[2:]]).index
    return fits.loc[order].reset_index(drop=True)


def _fit(members: Sequence[Cell], data: Mapping[str, GridData]) -> list[dict[str, Any]]:
    return fit_group(members, data[members[0].dataset])


def _grid_id(settings: EvaluationSettings, rows_id: str) -> str:
    told = [settings.protocol, settings.max_synthetic_rows, rows_id]
    # Records of a version without these settings stay what they are.
    changed = settings.model_dump(
        include={"baseline_rows", "threshold_metric", "tuning"}, exclude_defaults=True
    )
    content = json.dumps([*told, changed] if changed else told, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _name(records: Sequence[Mapping[str, Any]]) -> str:
    keys = [[record[name] for name in _KEY] for record in records]
    return hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:16]


def _sources(records: pd.DataFrame) -> Iterator[SourceKey]:
    return zip(*(records[name] for name in _KEY[:3]), strict=True)


def _read(folder: Path, grid_ids: Mapping[SourceKey, str]) -> pd.DataFrame:
    frames = [pd.read_parquet(file) for file in sorted(folder.glob("*.parquet"))]
    fitting = [frame[_fits_today(frame, grid_ids)] for frame in frames if "grid" in frame]
    kept = [frame for frame in fitting if len(frame)]
    if not kept:
        return pd.DataFrame(columns=[*_KEY, "grid"])
    # A kill while merging leaves a record in two files.
    return pd.concat(kept, ignore_index=True).drop_duplicates(_KEY)


def _fits_today(records: pd.DataFrame, grid_ids: Mapping[SourceKey, str]) -> list[bool]:
    # A table or method that is not asked for today may be tomorrow.
    return [
        grid_ids.get(source, grid_id) == grid_id
        for source, grid_id in zip(_sources(records), records["grid"], strict=True)
    ]


def _merge(folder: Path, grid_ids: Mapping[SourceKey, str], listed: Sequence[Cell]) -> pd.DataFrame:
    done = _read(folder, grid_ids)
    wanted = {cell.key for cell in listed}
    keys = list(zip(*(done[name] for name in _KEY), strict=True))
    fits = done[[key in wanted for key in keys]].sort_values(_KEY, ignore_index=True)
    # Parts that are merged, and what a kill left half-written.
    parts = [*folder.glob("part-*.parquet"), *folder.glob(".*.tmp")]
    # Records of cells that are not asked for today stay on file, for the same reason.
    write_parquet(done, folder / "fits.parquet")
    for part in parts:
        part.unlink()
    return fits
