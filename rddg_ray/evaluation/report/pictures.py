"""Which pictures a table gets, and the words that go with them."""

from __future__ import annotations

import pandas as pd

from rddg_ray.evaluation.fidelity import MIN_ROWS, of_scope
from rddg_ray.evaluation.fits import DatasetRows
from rddg_ray.evaluation.readings import ALL, RARE
from rddg_ray.evaluation.report.context import headline
from rddg_ray.evaluation.report.drawing import Picture, draw
from rddg_ray.evaluation.report.figures import (
    N_HEAT,
    differences,
    distributions,
    heat_maps,
    likenesses,
    most_different,
)
from rddg_ray.evaluation.report.verdicts import JUDGED_METRICS
from rddg_ray.evaluation.summary import LABELS, difference_text
from rddg_ray.table import Table

_MAX_DRAWN = 3
_MAX_COLUMNS = 24


def pictures_of(
    name: str, data: DatasetRows | None, summary: pd.DataFrame, fidelity: pd.DataFrame
) -> list[Picture]:
    """Return the pictures of one table; none where there is nothing to draw.

    Those of the rare class alone come before those of all rows, whose names end in `-all`.

    Args:
        name: Of the table, with which the pictures' names begin.
        data: Its rows.
        summary: Its utility figures.
        fidelity: Its fidelity figures.
    """
    pictures = []
    if len(summary) and summary["difference"].notna().any():
        pictures.append(_picture_of_differences(name, summary))
    if data is not None and data.synthetic:
        for scope in (RARE, ALL):
            pictures += _pictures_of_rows(name, data, fidelity, scope)
    return pictures


def _picture_of_differences(name: str, summary: pd.DataFrame) -> Picture:
    rows = summary[summary["difference"].notna() & summary["metric"].isin(JUDGED_METRICS)]
    alt = "; ".join(
        f"{row['method']}, {LABELS[row['metric']]}: {difference_text(row)}"
        for row in rows.to_dict("records")
    )
    return draw(
        f"{name}-differences",
        lambda palette: differences(summary, JUDGED_METRICS, palette),
        f"Points gained over the original rows, with 95% intervals. {alt}.",
        "Points gained over the original rows. The bar is the 95% interval over test rows: where "
        "it crosses the line at zero, this test set cannot tell.",
    )


def _pictures_of_rows(
    name: str, data: DatasetRows, fidelity: pd.DataFrame, scope: str
) -> list[Picture]:
    real = of_scope(data.train, data.train, scope)
    made = _drawn(data, scope)
    if not made or len(real) < MIN_ROWS:
        return []
    method, rows = next(iter(made.items()))
    columns = most_different(real, rows)
    of_whom = "all rows" if scope == ALL else f"rows of class {data.train.rare_class}"
    end = "-all" if scope == ALL else ""
    names = ", ".join(column.name for column in columns)
    is_wide = len(real.prompt_columns) > N_HEAT
    which = f"the {N_HEAT} columns that differ most" if is_wide else "columns"
    return [
        *_picture_of_likeness(f"{name}-likeness{end}", fidelity, method, scope, of_whom),
        draw(
            f"{name}-columns{end}",
            lambda palette: distributions(columns, real, made, palette),
            f"Distributions of {names}: real rows beside {', '.join(made)}.",
            f"The columns in which {method} differs most from the real rows, most different "
            f"first ({of_whom}). Height is the share of rows.",
        ),
        draw(
            f"{name}-associations{end}",
            lambda palette: heat_maps(real, rows, method, palette),
            f"Associations between columns: real rows, {method}, and their difference.",
            f"Associations between {which} ({of_whom}): Pearson's coefficient of two numbers, the "
            "correlation ratio of a number and a category, Cramér's V of two categories. Blue is "
            "positive, orange negative. An empty right panel means the relations are kept.",
        ),
    ]


def _drawn(data: DatasetRows, scope: str) -> dict[str, Table]:
    """Return the rows of a few methods, the one a report speaks of first in front."""
    first = headline(list(dict.fromkeys(method for method, _ in data.synthetic)))
    made: dict[str, Table] = {}
    for method, state in sorted(data.synthetic, key=lambda key: (key[0] != first, key)):
        rows = of_scope(data.synthetic[method, state], data.train, scope)
        if len(rows) >= MIN_ROWS and len(made) < _MAX_DRAWN:
            made.setdefault(method, rows)
    return made


def _picture_of_likeness(
    name: str, fidelity: pd.DataFrame, method: str, scope: str, of_whom: str
) -> list[Picture]:
    mine = fidelity[
        (fidelity["method"] == method) & (fidelity["scope"] == scope) & (fidelity["column"] != ALL)
        & fidelity["metric"].isin(["ks_complement", "tv_complement"])
    ]  # fmt: skip
    figures = ["matched", "ceiling", "floor"]
    columns = mine.groupby("column", sort=False)[figures].mean().astype("float64")
    if not columns["ceiling"].notna().any():
        return []
    gap = columns["matched"] - columns["ceiling"]
    columns = columns.loc[gap.sort_values(kind="stable").index[:_MAX_COLUMNS]]
    size = mine["n_matched"].min()
    worst = "; ".join(
        f"{column}: {row['matched']:.2f} against {row['ceiling']:.2f}"
        for column, row in columns.head(6).iterrows()
    )
    return [draw(
        name, lambda palette: likenesses(columns, method, palette),
        f"Likeness of each column of {method} beside that of new real rows. {worst}.",
        f"How alike each column is to the real training rows ({of_whom}, {size:,.0f} rows a side), "
        "furthest below new real rows first. A diamond left of its circle differs more than "
        "another real sample would.",
    )]  # fmt: skip
