"""Do synthetic rows look like real ones: column by column, and pair by pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.errors import DataError
from rddg_ray.evaluation.fidelity_arrays import Coded, Coding
from rddg_ray.evaluation.fidelity_columns import category_figures, number_figures
from rddg_ray.evaluation.fidelity_pairs import Pairs, correlation_matrix, means, pair_figures
from rddg_ray.evaluation.readings import ALL, SCOPES
from rddg_ray.schema import Column
from rddg_ray.table import Table

FLOOR = "bootstrap of real rows"
MIN_ROWS = 2
"""Rows a side needs before it is compared."""

Figures = dict[tuple[str, str], float]


def of_scope(table: Table, train: Table, scope: str) -> Table:
    """Return all rows, or those of the training rows' rare class.

    Raises:
        DataError: If the scope is neither `all` nor `rare`.
    """
    if scope not in SCOPES:
        raise DataError(f"scope: {scope!r} is not one of {list(SCOPES)}")
    return table if scope == ALL else table.take(np.flatnonzero(table.labels == train.rare_class))


def column_figures(column: Column, real: pd.Series, synthetic: pd.Series) -> dict[str, float]:
    """Return how one column differs between real and synthetic rows.

    Args:
        column: What the column is.
        real: Canonical cells of real rows, shape `(n_rows,)`.
        synthetic: Canonical cells of synthetic rows, shape `(m_rows,)`.

    Returns:
        `missing_difference` (share missing, synthetic minus real) and, where both sides have
        known cells, those of `fidelity_columns.number_figures` or `category_figures`.

    Raises:
        DataError: If either side has no row.
    """
    if len(real) == 0 or len(synthetic) == 0:
        raise DataError(f"column {column.name!r}: there are no rows to compare")
    figures = {"missing_difference": float(synthetic.isna().mean() - real.isna().mean())}
    known, made = real.dropna(), synthetic.dropna()
    if len(known) == 0 or len(made) == 0:
        return figures
    if column.kind in ("numerical", "datetime"):
        return figures | number_figures(known.to_numpy(float), made.to_numpy(float))
    values = sorted(set(known) | set(made))
    counts = [part.value_counts().reindex(values, fill_value=0).to_numpy(np.float64)
              for part in (known, made)]  # fmt: skip
    return figures | category_figures(*counts)


def likeness(figures: Mapping[str, float]) -> float:
    """Return a column's KS or TV complement; NaN where nothing is known of it."""
    return figures.get("ks_complement", figures.get("tv_complement", float("nan")))


def correlations(real: Table, synthetic: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return Pearson coefficients of the target and the features of both tables.

    Categories count as their position in text order over both tables, missing numbers as the
    real mean, as the paper's own figures do; a column without spread correlates with nothing.

    Returns:
        Two matrices, shape `(1 + n_features, 1 + n_features)`, in `prompt_columns` order.
    """
    coding = Coding((real, synthetic))
    first, second = coding.of(real), coding.of(synthetic)
    fill = means(first)
    return correlation_matrix(coding, first, fill), correlation_matrix(coding, second, fill)


def associations(real: Table, synthetic: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return the mixed associations of both tables; see `fidelity_pairs.Pairs.association`.

    Returns:
        Two matrices, shape `(1 + n_features, 1 + n_features)`, in `prompt_columns` order.
    """
    coding = Coding((real, synthetic))
    first, second = coding.of(real), coding.of(synthetic)
    fill = means(first)
    return Pairs(coding, first, fill).association, Pairs(coding, second, fill).association


def measure(coding: Coding, real: Coded, synthetic: Coded) -> Figures:
    """Return every fidelity figure of two sets of rows, by column (or `all`) and metric.

    Args:
        coding: Of both.
        real: At least one row.
        synthetic: At least one row.

    Returns:
        For each feature its figures of `fidelity_columns`; for `all` the means of `kl`, `js`,
        `ks_complement` and `tv_complement` over the features that have them,
        `column_similarity`, and the figures of `fidelity_pairs.pair_figures`, the target among
        the columns.
    """
    found: Figures = {}
    for place, column in enumerate(coding.columns[1:], start=1):
        for metric, value in _column(coding, place, real, synthetic).items():
            found[column.name, metric] = value
    return found | {(ALL, m): value for m, value in _whole(coding, found).items()} | {
        (ALL, metric): value for metric, value in pair_figures(coding, real, synthetic).items()
    }  # fmt: skip


def _column(coding: Coding, place: int, real: Coded, synthetic: Coded) -> dict[str, float]:
    if place in coding.numbers:
        at = coding.numbers.index(place)
        cells = [rows.numbers[:, at] for rows in (real, synthetic)]
        is_missing = [np.isnan(values) for values in cells]
        known = [values[~gone] for values, gone in zip(cells, is_missing, strict=True)]
        shares = [float(gone.mean()) for gone in is_missing]
        figures = number_figures(*known) if min(map(len, known)) else {}
    else:
        at = coding.words.index(place)
        n_levels = len(coding.levels[at])
        counts = [np.bincount(rows.codes[:, at], minlength=n_levels).astype(np.float64)
                  for rows in (real, synthetic)]  # fmt: skip
        skipped = int(coding.may_miss(at))
        shares = [float(part[:skipped].sum() / part.sum()) for part in counts]
        counts = [part[skipped:] for part in counts]
        figures = category_figures(*counts) if min(part.sum() for part in counts) else {}
    return {"missing_difference": shares[1] - shares[0], **figures}


def _whole(coding: Coding, found: Figures) -> dict[str, float]:
    names = {column.name for column in coding.columns[1:]}
    whole = {}
    for metric in ("kl", "js", "ks_complement", "tv_complement"):
        values = [value for (name, m), value in found.items() if m == metric and name in names]
        if values:
            whole[metric] = float(np.mean(values))
    alike = [value for (_, m), value in found.items() if m in ("ks_complement", "tv_complement")]
    return whole | ({"column_similarity": float(np.mean(alike))} if alike else {})


def compare(
    train: Table, synthetic: Table, *, method: str, generator_state: int, scope: str = ALL
) -> list[dict[str, Any]]:
    """Return the fidelity figures of synthetic rows against the real training rows.

    Args:
        train: Real training rows.
        synthetic: Synthetic rows under the same schema.
        method: What made them.
        generator_state: Its random state.
        scope: `all`, or `rare` for the rows of the rare class alone.

    Returns:
        One row a figure of `measure`: `dataset`, `method`, `generator_state`, `scope`,
        `column`, `metric`, `value`. Empty where either side has fewer than two rows.
    """
    real, made = (of_scope(table, train, scope) for table in (train, synthetic))
    if min(len(real), len(made)) < MIN_ROWS:
        return []
    coding = Coding((real, made))
    names = {
        "dataset": train.name,
        "method": method,
        "generator_state": generator_state,
        "scope": scope,
    }
    return [
        {**names, "column": column, "metric": metric, "value": value}
        for (column, metric), value in measure(coding, coding.of(real), coding.of(made)).items()
    ]


def floor(
    train: Table, n_rows: int, *, scope: str = ALL, random_state: int = 0
) -> list[dict[str, Any]]:
    """Return the figures of real training rows drawn again, the best that copying can do.

    A plain bootstrap is close to perfect in every figure here and adds nothing to learn from;
    a method's figures mean something only beside it.

    Args:
        train: Real training rows.
        n_rows: Rows to draw with replacement, as many as the method made.
        scope: As in `compare`.
        random_state: Seeds the draw.
    """
    rows = of_scope(train, train, scope)
    if len(rows) == 0:
        return []
    drawn = np.random.default_rng(random_state).choice(len(rows), size=n_rows)
    return compare(train, rows.take(drawn), method=FLOOR, generator_state=random_state, scope=scope)
