"""The grid for rows in files, made by any tool."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from rddg_ray.config import BASELINE_METHODS, CLASSIFIERS, EXTRA_METHODS, MISSING_TOKENS
from rddg_ray.errors import ConfigError, DataError, StoreError
from rddg_ray.evaluation.cells import Cell, group
from rddg_ray.evaluation.copies import copy_table
from rddg_ray.evaluation.encoding import Protocol
from rddg_ray.evaluation.fits import DatasetRows, FitRow, GridData, cells, fit_group, to_frame
from rddg_ray.evaluation.grid_data import BaselineRows
from rddg_ray.evaluation.leaks import said_of_leaks
from rddg_ray.evaluation.methods.extras import skipped
from rddg_ray.reading import read_frame, read_table
from rddg_ray.table import Table, conform

Executor = Callable[[list[list[Cell]], GridData], Iterable[FitRow]]

_BLOCK_SECONDS = 5.0


@dataclass(frozen=True)
class FileEvaluation:
    """What `evaluate_files` found.

    Attributes:
        fits: One row a fit; see `fits.fit_cell`.
        path: The Parquet file they were written to.
        data: The rows that were compared.
        copies: Shares of rows that equal a training row; see `copies.copy_table`.
        notes: What was left out of the files, methods that were skipped, and methods whose rows
            show that they have seen the test rows, in sentences.
    """

    fits: pd.DataFrame
    path: Path
    data: GridData
    copies: list[dict[str, object]]
    notes: tuple[str, ...]


def run_in_order(groups: list[list[Cell]], data: GridData) -> Iterable[FitRow]:
    """Fit every group in this process: the executor for no cluster."""
    for members in groups:
        yield from fit_group(members, data)


def evaluate_files(
    train: Path | str,
    test: Path | str,
    target: str,
    synthetic: Mapping[str, Path | str] | None = None,
    *,
    out: Path | str,
    protocol: Protocol = "clean",
    classifiers: Sequence[str] = CLASSIFIERS,
    classifier_states: Sequence[int] = (0, 1, 2, 3, 4),
    max_synthetic_rows: int | None = None,
    baseline_rows: BaselineRows = "balance",
    threshold_metric: Literal["f1", "balanced_accuracy"] = "f1",
    tuning: Literal["none", "search"] = "none",
    methods: Sequence[str] = ("original",),
    generator_states: Sequence[int] = (0,),
    rare_class: str | None = None,
    metadata: Path | None = None,
    missing_values: Sequence[str] = MISSING_TOKENS,
    name: str | None = None,
    executor: Executor = run_in_order,
) -> FileEvaluation:
    """Fit classifiers on training rows with and without added rows, and write the figures.

    Args:
        train: Real training rows, CSV or Parquet. Id columns are not learned.
        test: Held-out rows. Columns that the training file lacks are dropped, with a note.
        target: Name of the class column in every file.
        synthetic: Files of rows to add, by the method name they get in the results.
        out: Folder under which `evaluation/fits/fits.parquet` is written.
        protocol: How encoders are fitted; see `encoding.encode`.
        classifiers: Names of `config.CLASSIFIERS`.
        classifier_states: Random states of each classifier.
        max_synthetic_rows: Rows taken from the head of each synthetic file; None for all, or
            1,000 by the paper's protocol.
        baseline_rows: Rows that baselines add; see `grid_data.GridData`.
        threshold_metric: What `tuned_threshold` raises on out-of-fold training rows.
        tuning: `search` for settings of each classifier by `tuning.search`.
        methods: Baselines to run beside the files, of `config.BASELINE_METHODS` and
            `config.EXTRA_METHODS`; an extra that is not installed is skipped with a note.
        generator_states: Random states of the baselines that resample.
        rare_class: The class to call rare; the smallest by default.
        metadata: SDV Metadata V2 file that overrides what is inferred.
        missing_values: Cell texts that mean a missing cell.
        name: Name of the table in the results; the training file's by default.
        executor: What runs groups of cells and yields their rows, in any order.

    Raises:
        ConfigError: If a method is unknown, a name is taken twice, or `out` holds other fits.
        DataError: If a file cannot be read or does not fit the training file's schema.
        StoreError: If the figures cannot be written.
    """
    synthetic = dict(synthetic or {})
    _check_methods(methods, synthetic)
    for key, values in (("methods", methods), ("classifiers", classifiers),
                        ("classifier_states", classifier_states),
                        ("generator_states", generator_states)):  # fmt: skip
        _check_distinct(key, values)
    table = read_table(
        train, target, metadata=metadata, missing_values=missing_values, name=name,
        rare_class=rare_class,
    )  # fmt: skip
    notes: list[str] = []
    held_out = _read_like(test, table, missing_values, notes)
    added = {(m, 0): _read_like(p, table, missing_values, notes) for m, p in synthetic.items()}
    data = GridData(
        {table.name: DatasetRows(table, held_out, added)},
        protocol,
        max_synthetic_rows,
        baseline_rows,
        threshold_metric,
        tuning,
    )
    reasons = skipped(methods)
    notes += reasons.values()
    methods = [method for method in methods if method not in reasons]
    _check_left(methods, synthetic, notes)
    # A grid may take hours: whether its figures can be written is found out before.
    fits_path(Path(out))
    listed: list[Cell] = []
    for names, states in ((methods, generator_states), (tuple(synthetic), (0,))):
        if names:
            listed += cells(
                data,
                methods=names,
                generator_states=states,
                classifiers=classifiers,
                classifier_states=classifier_states,
            )
    rows = list(executor(group(listed, _BLOCK_SECONDS), data))
    fits = to_frame(sorted(rows, key=lambda row: _place(row, [*methods, *synthetic])))
    path = write_fits(fits, Path(out))
    notes += said_of_leaks(fits)
    return FileEvaluation(fits, path, data, _copies(data, table, held_out, added), tuple(notes))


def _copies(
    data: GridData, table: Table, test: Table, added: Mapping[tuple[str, int], Table]
) -> list[dict[str, object]]:
    used = {key: data.synthetic(table.name, *key) for key in added}
    return copy_table(table, test, {key: rows for key, rows in used.items() if rows is not None})


def _place(row: FitRow, methods: Sequence[str]) -> tuple[int, ...]:
    return (
        methods.index(row["method"]),
        row["generator_state"],
        CLASSIFIERS.index(row["classifier"]),
        row["classifier_state"],
    )


def _check_methods(methods: Sequence[str], synthetic: Mapping[str, object]) -> None:
    if not methods and not synthetic:
        raise ConfigError("methods: the list is empty and there is no synthetic file")
    for method in methods:
        if method not in (*BASELINE_METHODS, *EXTRA_METHODS):
            raise ConfigError(
                f"methods: {method!r} is not one of {[*BASELINE_METHODS, *EXTRA_METHODS]}; rows "
                "of another method are given as a synthetic file"
            )
    if taken := sorted(set(synthetic) & {*BASELINE_METHODS, *methods}):
        raise ConfigError(f"synthetic: {taken[0]!r} is the name of a baseline; choose another")


def _check_left(
    methods: Sequence[str], synthetic: Mapping[str, object], notes: Sequence[str]
) -> None:
    if not methods and not synthetic:
        raise ConfigError(f"methods: none is left; {'; '.join(notes)}")


def _check_distinct(key: str, values: Sequence[object]) -> None:
    for position, value in enumerate(values):
        if value in values[:position]:
            raise ConfigError(f"{key}: {value!r} is named twice; its fits would count twice")


def _read_like(
    path: Path | str, table: Table, missing_values: Sequence[str], notes: list[str]
) -> Table:
    frame = read_frame(path)
    extra = [str(column) for column in frame.columns if column not in table.schema.names]
    if extra:
        notes.append(f"{path}: columns that the training rows lack are left out: {extra}")
    return conform(frame, table, name=str(path), missing_values=missing_values)


def fits_path(out: Path) -> Path:
    """Return `out/evaluation/fits/fits.parquet`, in a folder that can be written.

    Raises:
        ConfigError: If the folder holds Parquet files of another writer, which a reader of the
            folder would mix with these.
        StoreError: If the folder cannot be made or written.
    """
    folder = out / "evaluation" / "fits"
    path = folder / "fits.parquet"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(p.name for p in folder.glob("*.parquet") if p != path)
        probe = _staged(path)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error}; choose another out") from error
    if others:
        raise ConfigError(f"out: {folder} already holds other fits ({others[0]}); choose another")
    return path


def _staged(path: Path) -> Path:
    return path.with_name(f".{path.stem}-{os.getpid()}.tmp")


def write_fits(fits: pd.DataFrame, out: Path) -> Path:
    """Write `out/evaluation/fits/fits.parquet`, whole or not at all, in place of an older one.

    Raises:
        ConfigError: As `fits_path`.
        StoreError: If the file cannot be written.
    """
    path = fits_path(out)
    staged = _staged(path)
    try:
        fits.to_parquet(staged, index=False)
        staged.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error}") from error
    finally:
        with suppress(OSError):  # an error on the way out would hide the one that matters
            staged.unlink(missing_ok=True)
    return path


def read_fits(folder: Path) -> pd.DataFrame:
    """Return the fits under `folder/evaluation/fits`, one row a fit.

    Raises:
        DataError: If there are none.
    """
    files = sorted((folder / "evaluation" / "fits").rglob("*.parquet"))
    if not files:
        raise DataError(f"{folder}: there are no fits under evaluation/fits; evaluate first")
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
