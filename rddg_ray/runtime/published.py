"""Published synthetic rows as tables of the training schema."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from rddg_ray.config import GENERATIVE_METHODS, RunSettings
from rddg_ray.errors import StoreError
from rddg_ray.evaluation.fits import DatasetRows
from rddg_ray.runtime.store import RunDirectory
from rddg_ray.runtime.tables import PreparedTable
from rddg_ray.table import Table, conform


def grid_rows(
    settings: RunSettings, prepared: Mapping[str, PreparedTable], store: RunDirectory
) -> dict[str, DatasetRows]:
    """Return, by data set, the rows that classifiers are fitted and measured on."""
    return {
        name: DatasetRows(rows.train, rows.test, _synthetic(settings, name, rows.train, store))
        for name, rows in prepared.items()
    }


def _synthetic(
    settings: RunSettings, dataset: str, train: Table, store: RunDirectory
) -> dict[tuple[str, int], Table]:
    tables: dict[tuple[str, int], Table] = {}
    for method in settings.methods:
        if method not in GENERATIVE_METHODS:
            continue
        rows = store.read_published("rows", dataset, method)
        for state in settings.generator_states:
            made = store.made_by(dataset, method, state)
            n_rows = sum(sum(counts.values()) for counts in made.values())
            found = _of_state(rows, state, train, f"{dataset}/{method}")
            if len(found) != n_rows:
                raise StoreError(
                    f"{store.path}: {len(found)} rows of {dataset}/{method}, generator state "
                    f"{state}, are published, its chains made {n_rows}; files were changed from "
                    "outside. Delete _manifest.json: the next start gathers all rows again"
                )
            tables[method, state] = found
    return tables


def _of_state(rows: pd.DataFrame | None, state: int, train: Table, name: str) -> Table:
    mine = None if rows is None or not len(rows) else rows[rows["rddg_generator_state"] == state]
    if mine is None or not len(mine):
        return train.take([])
    return conform(mine[list(train.schema.names)], train, name=name, missing_values=())
