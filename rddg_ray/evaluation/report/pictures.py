"""Which pictures a table gets, and the words that go with them."""

from __future__ import annotations

import pandas as pd

from rddg_ray.evaluation.fidelity import ALL
from rddg_ray.evaluation.fits import DatasetRows
from rddg_ray.evaluation.report.context import headline
from rddg_ray.evaluation.report.drawing import Picture, draw
from rddg_ray.evaluation.report.figures import (
    N_HEAT,
    differences,
    distributions,
    heat_maps,
    most_different,
    of_scope,
)
from rddg_ray.evaluation.report.verdicts import JUDGED_METRICS
from rddg_ray.evaluation.summary import LABELS, difference_text
from rddg_ray.table import Table

_MAX_DRAWN = 3
MIN_ROWS = 2


def scope_of(data: DatasetRows) -> str:
    """Return the rare class where every method made rows of it, else all rows."""
    rare = data.train.rare_class
    counts = [made.class_counts.get(rare, 0) for made in data.synthetic.values()]
    return rare if counts and min(counts) >= MIN_ROWS else ALL


def pictures_of(name: str, data: DatasetRows | None, summary: pd.DataFrame) -> list[Picture]:
    """Return the pictures of one table; none where there is nothing to draw."""
    pictures = []
    if len(summary) and summary["difference"].notna().any():
        pictures.append(_picture_of_differences(name, summary))
    if data is not None and data.synthetic:
        pictures += _pictures_of_rows(name, data)
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


def _pictures_of_rows(name: str, data: DatasetRows) -> list[Picture]:
    scope = scope_of(data)
    real = of_scope(data.train, scope)
    first = headline(list(dict.fromkeys(method for method, _ in data.synthetic)))
    order = sorted(data.synthetic, key=lambda key: (key[0] != first, key))
    made: dict[str, Table] = {}
    for method, state in order:
        rows = of_scope(data.synthetic[method, state], scope)
        if len(rows) >= MIN_ROWS and len(made) < _MAX_DRAWN:
            made.setdefault(method, rows)
    if not made or len(real) < MIN_ROWS:
        return []
    method, rows = next(iter(made.items()))
    columns = most_different(real, rows)
    of_whom = "all rows" if scope == ALL else f"rows of class {scope}"
    names = ", ".join(column.name for column in columns)
    is_wide = len(real.prompt_columns) > N_HEAT
    which = f"the {N_HEAT} columns that differ most" if is_wide else "columns"
    return [
        draw(
            f"{name}-columns",
            lambda palette: distributions(columns, real, made, palette),
            f"Distributions of {names}: real rows beside {', '.join(made)}.",
            f"The columns in which {method} differs most from the real rows, most different "
            f"first ({of_whom}). Height is the share of rows.",
        ),
        draw(
            f"{name}-correlations",
            lambda palette: heat_maps(real, rows, method, palette),
            f"Correlations between columns: real rows, {method}, and their difference.",
            f"Correlations between {which} ({of_whom}; categories by their order). Blue is "
            "positive, orange negative. An empty right panel means the relations are kept.",
        ),
    ]
