"""Synthetic rows that are real training rows again."""

from __future__ import annotations

from collections.abc import Mapping

from rddg_ray.measuring import Gauge
from rddg_ray.near_copies import NearCopies
from rddg_ray.novelty import RowKey
from rddg_ray.relations import is_number
from rddg_ray.table import Table

TEST_ROWS = "test rows"


def copy_shares(real: Table, rows: Table) -> dict[str, float]:
    """Return which share of rows equals a real row, class included.

    Args:
        real: Real training rows.
        rows: Synthetic rows under the same schema; or held-out real rows, whose share is the
            natural one to compare with.

    Returns:
        `copy_share`: equal cell by cell, as written; `near_copy_share`: exact, or near by
        `near_copies.NearCopies`: equal words and every number within half its column's spacing,
        so that a mean written as 2.0135 still counts as the 2.013504330446369 it was copied
        from. Both in [0, 1]; 0 for no rows.
    """
    if not len(rows):
        return {"copy_share": 0.0, "near_copy_share": 0.0}
    known = frozenset(real.row_keys())
    exact = [key in known for key in rows.row_keys()]
    near = [same or key is not None for same, key in zip(exact, _near(real, rows), strict=True)]
    return {"copy_share": sum(exact) / len(rows), "near_copy_share": sum(near) / len(rows)}


def shown_copy_share(train: Table, shown: Table, rows: Table) -> float:
    """Return which share of rows copies a shown row, exactly or nearly, in [0, 1].

    Args:
        train: Real training rows, whose spacings say what is near.
        shown: Those of them that prompts showed.
        rows: Synthetic rows, or held-out real ones to compare with; 0 for none.
    """
    known = frozenset(shown.row_keys())
    pairs = zip(rows.row_keys(), _near(train, rows), strict=True)
    return sum(key in known or near in known for key, near in pairs) / max(len(rows), 1)


def _near(real: Table, rows: Table) -> list[RowKey | None]:
    """Return the key of the nearest real row that is near, for each row."""
    if not len(real) or not len(rows) or not any(is_number(column) for column in real.features):
        # Words alone are equal or not.
        return [None] * len(rows)
    labels = [[str(label) for label in table.labels] for table in (real, rows)]
    gauge = Gauge(real.features, sorted({*labels[0], *labels[1]}))
    finder = NearCopies(gauge, gauge.of_frame(real.frame, labels[0]))
    keys = real.row_keys()
    places = finder.of_measured(gauge.of_frame(rows.frame, labels[1]))
    return [None if place is None else keys[place] for place in places]


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
