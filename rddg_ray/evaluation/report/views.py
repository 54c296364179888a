"""Frames to what the page shows: texts in tables, and sentences."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.evaluation.copies import copy_table
from rddg_ray.evaluation.fidelity import ALL, FLOOR, compare, floor
from rddg_ray.evaluation.fits import DatasetRows
from rddg_ray.evaluation.report.context import ReportContext, headline
from rddg_ray.evaluation.report.drawing import Picture
from rddg_ray.evaluation.report.figures import of_scope
from rddg_ray.evaluation.report.pictures import pictures_of, scope_of
from rddg_ray.evaluation.report.verdicts import JUDGED_METRICS, said_of_copies, verdicts
from rddg_ray.evaluation.summary import LABELS, difference_text, mean_text
from rddg_ray.table import Table

SHOWN_METRICS = ("f1", "balanced_accuracy", "sensitivity", "specificity", "pr_auc", "macro_f1")


@dataclass(frozen=True)
class TableView:
    """A table of the page: every cell is text, or a pair of texts shown as two lines."""

    caption: str
    head: tuple[str, ...]
    rows: list[list[Any]] = field(default_factory=list)


@dataclass(frozen=True)
class DatasetView:
    """One table's part of the page."""

    name: str
    facts: list[tuple[str, str]]
    verdicts: list[str]
    tables: dict[str, TableView]
    pictures: list[Picture]


def figures_of_fidelity(context: ReportContext) -> pd.DataFrame:
    """Return the fidelity figures of every method and of the floor, for all rows and the rare.

    Columns as `fidelity.compare` gives them; no rows where nothing was generated.
    """
    rows: list[dict[str, Any]] = []
    for name, data in context.datasets.items():
        for scope in (ALL, data.train.rare_class):
            sizes = [len(of_scope(made, scope)) for made in data.synthetic.values()]
            found = [
                row
                for (method, state), made in data.synthetic.items()
                for row in compare(
                    data.train, made, method=method, generator_state=state, scope=scope
                )
            ]
            if found:
                found += floor(data.train, max(sizes), scope=scope)
            rows += [row | {"dataset": name} for row in found]
    names = ["dataset", "method", "generator_state", "scope", "column", "metric", "value"]
    return pd.DataFrame(rows, columns=names)


def shares_of_copies(context: ReportContext) -> pd.DataFrame:
    """Return which shares of the rows are copies; see `copies.copy_table`."""
    rows = [
        row | {"dataset": name}
        for name, data in context.datasets.items()
        for row in copy_table(data.train, data.test, data.synthetic)
    ]
    return pd.DataFrame(rows)


def dataset_view(
    name: str,
    context: ReportContext,
    summary: pd.DataFrame,
    fidelity: pd.DataFrame,
    copies: pd.DataFrame,
) -> DatasetView:
    """Return one table's part of the page."""
    data = context.datasets.get(name)
    mine = _of(summary, name)
    fits = _of(context.fits, name)
    tables = {"metrics": metrics_table(mine), "classifiers": classifiers_table(fits)}
    if data is not None and data.synthetic:
        scope = scope_of(data)
        tables["fidelity"] = fidelity_table(_of(fidelity, name), _of(copies, name), scope)
    for key, caption, frame in (
        ("rejects", "Rows refused, by reason", _rejects(_of(context.rejects, name))),
        ("shortfalls", "Rows asked for and not made", _of(context.shortfalls, name)),
        ("usage", "Calls and tokens", _of(context.usage, name)),
    ):
        if len(frame):
            tables[key] = plain_table(caption, frame)
    return DatasetView(
        name=name,
        facts=_facts(data) if data else [],
        verdicts=[*verdicts(fits, mine), *said_of_copies(_of(copies, name))],
        tables={key: table for key, table in tables.items() if table.rows},
        pictures=pictures_of(name, data, mine),
    )


def _of(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    if not len(frame):
        return frame
    return frame[frame["dataset"] == name].drop(columns="dataset", errors="ignore")


def _facts(data: DatasetRows) -> list[tuple[str, str]]:
    train, test = data.train, data.test
    kinds = pd.Series([column.kind for column in train.features]).value_counts()
    features = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return [
        ("Target", train.target),
        ("Rare class", train.rare_class),
        ("Training rows", f"{len(train):,} ({_classes(train)})"),
        ("Test rows", f"{len(test):,} ({_classes(test)})"),
        ("Features", f"{len(train.features)} ({features})"),
    ]


def _classes(table: Table) -> str:
    return ", ".join(f"{label}: {count:,}" for label, count in table.class_counts.items())


def metrics_table(summary: pd.DataFrame) -> TableView:
    """Return means, with the differences to `original` on a second line."""
    head = ("Method", "Rows added", *(LABELS[metric] for metric in SHOWN_METRICS))
    view = TableView(
        "Mean ± standard deviation over the fits, in percent; below, points gained over the "
        "original rows with the 95% interval over test rows. ▲ or ▼: the interval excludes zero.",
        head,
    )
    if not len(summary):
        return view
    for method, group in summary.groupby("method", sort=False):
        rows = group.set_index("metric").to_dict("index")
        first = rows[SHOWN_METRICS[0]]
        added = first["n_synthetic"]
        texts: list[Any] = [str(method), "" if np.isnan(added) else f"{added:,.0f}"]
        for metric in SHOWN_METRICS:
            row = rows[metric]
            if np.isnan(row["mean"]):
                texts.append("failed" if row["n_errors"] else "not defined")
            else:
                texts.append((mean_text(row), f"{difference_text(row)} {_mark(row)}".strip()))
        view.rows.append(texts)
    return view


def _mark(row: dict[str, Any]) -> str:
    if row["low"] > 0:
        return "▲"
    return "▼" if row["high"] < 0 else ""


def classifiers_table(fits: pd.DataFrame) -> TableView:
    """Return mean F1 and balanced accuracy of every method and classifier."""
    view = TableView(
        "Mean over states, in percent", ("Method", "Classifier", "F1", "Balanced accuracy", "Fits",
                                         "Seconds a fit", "Failed because"),
    )  # fmt: skip
    if not len(fits):
        return view
    for (method, classifier), group in fits.groupby(["method", "classifier"], sort=False):
        errors = group["error"].dropna()
        means = [group[metric].mean() for metric in JUDGED_METRICS]
        view.rows.append(
            [
                str(method),
                str(classifier),
                *("" if np.isnan(mean) else f"{100 * mean:.2f}" for mean in means),
                str(len(group)),
                f"{group['fit_s'].mean():.2f}",
                str(errors.iloc[0]) if len(errors) else "",
            ]
        )
    return view


def fidelity_table(fidelity: pd.DataFrame, copies: pd.DataFrame, scope: str) -> TableView:
    """Return the figures over all columns, beside copies, a bootstrap and the test rows."""
    of_whom = "all rows" if scope == ALL else f"rows of class {scope}"
    view = TableView(
        f"Likeness to the real training rows ({of_whom}) and share of copies (all classes). A "
        "bootstrap of real rows shows the best that likeness alone can be: it is nothing but "
        "copies.",
        ("Rows", "Column distance", "KL divergence", "Correlation RMSE", "Exact copies",
         "Copies to 6 digits"),
    )  # fmt: skip
    whole = fidelity[(fidelity["scope"] == scope) & (fidelity["column"] == ALL)]
    table = whole.pivot_table(index="method", columns="metric", values="value", sort=False)
    shares = copies.groupby("method", sort=False)[["copy_share", "near_copy_share"]].mean()
    for method in dict.fromkeys([*shares.index, *table.index]):
        figures = [table.loc[method].get(key, np.nan) if method in table.index else np.nan
                   for key in ("distance", "kl", "correlation_rmse")]  # fmt: skip
        copied = shares.loc[method].tolist() if method in shares.index else [np.nan, np.nan]
        if method == FLOOR:
            copied = [1.0, 1.0]
        view.rows.append([
            method, *("" if np.isnan(value) else f"{value:.3f}" for value in figures),
            *("" if np.isnan(value) else f"{100 * value:.1f}%" for value in copied),
        ])  # fmt: skip
    return view


def _rejects(rejects: pd.DataFrame) -> pd.DataFrame:
    if not len(rejects):
        return rejects
    counts = rejects.groupby(["method", "reason"], sort=False, as_index=False)["n"].sum()
    return counts.sort_values(["method", "n"], ascending=[True, False], kind="stable")


def plain_table(caption: str, frame: pd.DataFrame) -> TableView:
    """Return a frame as texts."""
    heads = tuple(str(name).replace("_", " ").capitalize() for name in frame.columns)
    rows = [[_text(cell) for cell in row] for row in frame.itertuples(index=False)]
    return TableView(caption, heads, rows)


def _text(cell: Any) -> str:
    if isinstance(cell, int | np.integer):
        return f"{cell:,}"
    if isinstance(cell, float | np.floating):
        return "" if np.isnan(cell) else f"{cell:,.6g}"
    return "" if cell is None else str(cell)


def overview(summary: pd.DataFrame) -> TableView:
    """Return one row a table: what its first method gains over the original rows."""
    view = TableView(
        "Points gained over the original rows, with the 95% interval over test rows. ▲ or ▼: the "
        "interval excludes zero.",
        ("Table", "Method", *(LABELS[metric] for metric in JUDGED_METRICS)),
    )
    if not len(summary):
        return view
    for dataset, group in summary.groupby("dataset", sort=False):
        method = headline(list(dict.fromkeys(group["method"])))
        rows = group[group["method"] == method].set_index("metric").to_dict("index")
        if rows:
            gaps = [f"{difference_text(rows[m])} {_mark(rows[m])}".strip() for m in JUDGED_METRICS]
            view.rows.append([str(dataset), str(method), *gaps])
    return view
