"""Rows that are copies of real rows, and rows that repeat earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rddg_ray.schema import Column

RowKey = tuple[str, ...]
Row = tuple[float | str | None, ...]


def row_key(columns: Sequence[Column], row: Row) -> RowKey:
    """Return what makes a generated row the same as another: its cells' canonical text.

    Args:
        columns: The target and the features, in the row's order (`Table.prompt_columns`); ids
            and constants do not count.
        row: Canonical values, one a column.

    Returns:
        The key that `Table.row_keys` gives a real row of the same cells.
    """
    return tuple([column.encode(value) for column, value in zip(columns, row, strict=True)])


def copy_rate(keys: Sequence[RowKey], reference: Iterable[RowKey]) -> float:
    """Return the share of rows that equal a reference row, in [0, 1]; 0 for no rows.

    Between two sets of real rows, such as a test and a training split, this is the natural
    rate, which a generator's has to be read against.
    """
    known = frozenset(reference)
    return sum(key in known for key in keys) / len(keys) if keys else 0.0
