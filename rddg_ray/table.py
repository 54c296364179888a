"""Tables from data frames: built by inference, conformed to another table, or split in two."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.config import MISSING_TOKENS
from rddg_ray.errors import ConfigError, DataError
from rddg_ray.inference import infer
from rddg_ray.rows import Table
from rddg_ray.schema import Column, Schema
from rddg_ray.texts import canonical, read_cells

_MAX_CLASSES = 100
_MAX_NAMES_SHOWN = 20


def from_frame(
    frame: pd.DataFrame,
    target: str,
    *,
    name: str = "table",
    descriptions: Mapping[str, str] | None = None,
    metadata: Mapping[str, Mapping[str, Any]] | None = None,
    missing_values: Collection[str] = MISSING_TOKENS,
    rare_class: str | None = None,
) -> Table:
    """Build a table from a data frame, inferring what metadata does not say.

    Args:
        frame: Cells as text or typed; its index becomes no column. Shape `(n_rows, n_columns)`.
        target: Name of the class column.
        name: Name in prompts and results.
        descriptions: What columns mean, by name.
        metadata: What is known of columns, by name, as `columns_of_metadata` gives it.
        missing_values: Cell texts that mean a missing cell.
        rare_class: The class to call rare; the smallest by default.

    Raises:
        DataError: If the table cannot be used; the message says what to do.
    """
    frame = _named(frame, name)
    _check_frame(frame, target, name)
    said = {column: dict(words) for column, words in (metadata or {}).items()}
    for column, text in (descriptions or {}).items():
        said.setdefault(column, {}).setdefault("description", text)
    for column in said:
        _check_known(column, frame, f"{name}: metadata")
    columns: list[Column] = []
    cells: dict[str, pd.Series] = {}
    for label in frame.columns:
        is_target = label == target
        try:
            column_, values = infer(
                label, frame[label], missing_values, said.get(label), is_target=is_target
            )
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        columns.append(column_)
        cells[label] = values.reset_index(drop=True)
    table = Table(name, pd.DataFrame(cells), Schema(tuple(columns)), target, rare_class)
    _check_labels(cells[target], frame[target], target, name)
    _check_table(table)
    return table


def conform(
    frame: pd.DataFrame,
    like: Table,
    *,
    name: str,
    missing_values: Collection[str] = MISSING_TOKENS,
) -> Table:
    """Read further rows (held-out or synthetic) by the schema of another table.

    Args:
        frame: Cells as text or typed. Columns the other table lacks are dropped; id and constant
            columns may be absent. Unseen categories are kept as they are.
        like: The table whose schema the rows promise to keep.
        name: What the rows are, for errors.
        missing_values: Cell texts that mean a missing cell.

    Raises:
        DataError: If a column is absent, a cell is no value of it, or a class is unknown.
    """
    frame = _named(frame, name)
    cells: dict[str, pd.Series] = {}
    for column in like.schema:
        if column.name not in frame.columns and column.kind in ("id", "constant"):
            cells[column.name] = pd.Series([column.constant] * len(frame), dtype="str")
            continue
        _check_known(column.name, frame, name)
        try:
            cells[column.name] = _conform_cells(frame[column.name], column, missing_values)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
    labels = cells[like.target]
    _check_labels(labels, frame[like.target], like.target, name)
    if unknown := sorted(set(labels) - set(like.classes)):
        raise DataError(
            f"{name}: target {like.target!r} has the class {unknown[0]!r}, which {like.name} "
            f"lacks; its classes: {list(like.classes)}"
        )
    return like.with_frame(pd.DataFrame(cells))


def _conform_cells(series: pd.Series, column: Column, missing_values: Collection[str]) -> pd.Series:
    values = read_cells(series, column, missing_values)
    if column.kind in ("categorical", "boolean"):
        known = {text: column.match(text) or text for text in values.dropna().unique()}
        values = values.map(known, na_action="ignore").astype("str")
    return values.reset_index(drop=True)


def _named(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the frame with its columns named by text, each once."""
    names = [str(label) for label in frame.columns]
    if repeated := sorted({label for label in names if names.count(label) > 1}):
        raise DataError(f"{name}: two columns are named {repeated[0]!r}; rename one")
    return frame.set_axis(names, axis=1)


def _check_frame(frame: pd.DataFrame, target: str, name: str) -> None:
    if len(frame) == 0:
        raise DataError(f"{name}: the table has no rows")
    _check_known(target, frame, f"{name}: target")
    if frame.shape[1] < 2:
        raise DataError(f"{name}: there is no column but the target {target!r}")


def _check_known(column: str, frame: pd.DataFrame, where: str) -> None:
    names = list(frame.columns)
    if column in names:
        return
    close = difflib.get_close_matches(column, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    shown = ", ".join(map(repr, names[:_MAX_NAMES_SHOWN]))
    more = ", ..." if len(names) > _MAX_NAMES_SHOWN else ""
    raise DataError(f"{where}: there is no column {column!r}{hint} Columns: {shown}{more}")


def _check_labels(labels: pd.Series, source: pd.Series, target: str, name: str) -> None:
    if not labels.isna().any():
        return
    row = int(np.flatnonzero(labels.isna())[0])
    written = source.iloc[row]
    words = ""
    if not pd.isna(written) and str(written).strip():
        words = (
            f" ({written!r}). Where that is a class, name only other texts in missing_values "
            "(--missing on the command line)"
        )
    raise DataError(
        f"{name}: target {target!r} is missing in {int(labels.isna().sum())} rows, first in "
        f"row {row + 1}{words}; {'else ' if words else ''}drop those rows or fill the target in"
    )


def _check_table(table: Table) -> None:
    counts, where = table.class_counts, f"{table.name}: target {table.target!r}"
    if len(counts) == 1:
        raise DataError(f"{where} has one class only ({table.classes[0]!r}); two are needed")
    if len(counts) > _MAX_CLASSES:
        raise DataError(
            f"{where} has {len(counts)} distinct values, such as {table.classes[0]!r}: it looks "
            "like a number or an id, not a class; choose another target or bin it"
        )
    if single := [label for label, count in counts.items() if count < 2]:
        raise DataError(f"{where}: class {single[0]!r} has one row; at least two are needed")
    if table.rare is not None and table.rare not in counts:
        raise DataError(f"{where} has no class {table.rare!r}; classes: {list(counts)}")
    if not table.features:
        raise DataError(
            f"{table.name}: every column but the target is constant or an id; nothing to learn. "
            "Set its sdtype in a metadata file if that is wrong"
        )


def split(
    table: Table, test_share: float, random_state: int, *, keep_duplicates_together: bool = True
) -> tuple[Table, Table]:
    """Split rows into training and test, each class by the same share.

    Args:
        table: All rows.
        test_share: Share of each class's rows for the test side, in (0, 1).
        random_state: Seeds the shuffle.
        keep_duplicates_together: Rows with equal features fall on one side, so that no test
            row is known from training.

    Returns:
        Training rows, narrowed to what they show, and test rows under the same schema.

    Raises:
        ConfigError: If the share is not inside (0, 1).
        DataError: If a class cannot have a row on both sides.
    """
    if not 0 < test_share < 1:
        raise ConfigError(f"test_share = {test_share!r} must lie between 0 and 1")
    groups = _groups(table) if keep_duplicates_together else [[i] for i in range(len(table))]
    order = np.random.default_rng(random_state).permutation(len(groups))
    room = {c: min(max(1, round(test_share * n)), n - 1) for c, n in table.class_counts.items()}
    test: list[int] = []
    for position in order:
        members = groups[int(position)]
        need = dict.fromkeys(room, 0)
        for row in members:
            need[str(table.labels[row])] += 1
        if all(need[label] <= room[label] for label in need):
            test.extend(members)
            room = {label: room[label] - need[label] for label in room}
    chosen = np.zeros(len(table), dtype=bool)
    chosen[test] = True
    _check_split(table, chosen)
    train = table.take(np.flatnonzero(~chosen)).narrowed()
    return train, train.with_frame(table.frame.iloc[np.flatnonzero(chosen)])


def _groups(table: Table) -> list[list[int]]:
    """Return positions of rows with equal features, in order of first sight."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for position, key in enumerate(table.row_keys()):
        groups.setdefault(key[1:], []).append(position)
    return list(groups.values())


def _check_split(table: Table, is_test: np.ndarray) -> None:
    for label in table.classes:
        mine = table.labels == label
        if not (mine & is_test).any():
            raise DataError(
                f"{table.name}: class {label!r} gets no test row, because its rows repeat one "
                "another; set keep_duplicates_together: false or give a test file"
            )


__all__ = ["Column", "Schema", "Table", "canonical", "conform", "from_frame", "split"]
