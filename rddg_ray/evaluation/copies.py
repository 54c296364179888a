"""Synthetic rows that are real training rows again."""

from __future__ import annotations

from collections.abc import Mapping

from rddg_ray.novelty import copy_rate
from rddg_ray.schema import Column
from rddg_ray.table import Table

TEST_ROWS = "test rows"

_DIGITS = 6


def copy_shares(train: Table, rows: Table) -> dict[str, float]:
    """Return which share of rows equals a real training row, target included.

    Args:
        train: Real training rows.
        rows: Synthetic rows under the same schema; or held-out real rows, whose share is the
            natural one to compare with.

    Returns:
        `copy_share`: equal cell by cell, as written; `near_copy_share`: equal once numbers are
        cut to six significant digits, so that a mean written as 2.0135 still counts as the
        2.013504330446369 it was copied from. Both in [0, 1]; 0 for no rows.
    """
    return {
        "copy_share": copy_rate(rows.row_keys(), train.row_keys()),
        "near_copy_share": copy_rate(_near_keys(rows), _near_keys(train)),
    }


def _near_keys(table: Table) -> list[tuple[str, ...]]:
    columns = [
        [_near_text(column, value) for value in table.frame[column.name].to_list()]
        for column in table.prompt_columns
    ]
    return list(zip(*columns, strict=True))


def _near_text(column: Column, value: object) -> str:
    if column.kind == "numerical" and isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    return column.encode(value)


def copy_table(
    train: Table, test: Table, synthetic: Mapping[tuple[str, int], Table]
) -> list[dict[str, object]]:
    """Return one row of shares a method, after one of the test rows (method `test rows`).

    Returns:
        Rows with `dataset`, `method`, `generator_state`, `n_rows` and the shares of
        `copy_shares`.
    """
    named = [(TEST_ROWS, 0, test), *((m, state, t) for (m, state), t in synthetic.items())]
    return [
        {
            "dataset": train.name,
            "method": method,
            "generator_state": state,
            "n_rows": len(rows),
            **copy_shares(train, rows),
        }
        for method, state, rows in named
    ]
