"""Frames to what the page shows: texts in tables, and sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.evaluation.fidelity_ceiling import fidelity_figures
from rddg_ray.evaluation.fits import DatasetRows
from rddg_ray.evaluation.privacy import privacy_figures
from rddg_ray.evaluation.privacy_words import said_of_privacy
from rddg_ray.evaluation.readings import ALL, FIGURE_COLUMNS, RARE
from rddg_ray.evaluation.report.context import ReportContext, headline
from rddg_ray.evaluation.report.drawing import Picture
from rddg_ray.evaluation.report.pictures import pictures_of
from rddg_ray.evaluation.report.reading_tables import (
    LIKENESS_METRICS,
    PRIVACY_METRICS,
    SHORT_LIKENESS,
    SHORT_PRIVACY,
    methods_table,
    of_whole,
    reading_table,
)
from rddg_ray.evaluation.report.tables import TableView, plain_table
from rddg_ray.evaluation.report.verdicts import (
    JUDGED_METRICS,
    said_of_copies,
    said_of_likeness,
    verdicts,
)
from rddg_ray.evaluation.summary import LABELS, difference_text, mean_text
from rddg_ray.table import Table

SHOWN_METRICS = ("f1", "balanced_accuracy", "sensitivity", "specificity", "pr_auc", "macro_f1")


@dataclass(frozen=True)
class DatasetView:
    """One table's part of the page."""

    name: str
    facts: list[tuple[str, str]]
    verdicts: list[str]
    tables: dict[str, TableView]
    pictures: list[Picture]
    privacy: list[str]


def figures_of(context: ReportContext) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return fidelity and privacy figures of every table and method.

    Columns `readings.FIGURE_COLUMNS`; no rows where nothing was generated.
    """
    fidelity, privacy = [], []
    for name, data in context.datasets.items():
        if not data.synthetic:
            continue
        rows = data.train, data.test, data.synthetic
        fidelity.append(fidelity_figures(*rows).assign(dataset=name))
        found = privacy_figures(*rows, shown=context.shown.get(name))
        privacy.append(found.assign(dataset=name))
    return _joined(fidelity), _joined(privacy)


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame(columns=list(FIGURE_COLUMNS))
    return pd.concat(frames, ignore_index=True)


def dataset_view(
    name: str,
    context: ReportContext,
    summary: pd.DataFrame,
    fidelity: pd.DataFrame,
    privacy: pd.DataFrame,
) -> DatasetView:
    """Return one table's part of the page."""
    data = context.datasets.get(name)
    mine = _of(summary, name)
    fits = _of(context.fits, name)
    tables = {"metrics": metrics_table(mine), "classifiers": classifiers_table(fits)}
    likeness, leaks = _of(fidelity, name), _of(privacy, name)
    method = headline(list(dict.fromkeys(leaks["method"]))) if len(leaks) else None
    if data is not None and method is not None:
        tables |= _reading_tables(method, likeness, leaks, data.train.rare_class)
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
        verdicts=[
            *verdicts(fits, mine),
            *said_of_likeness(likeness, method),
            *said_of_copies(leaks, method),
        ],
        tables={key: table for key, table in tables.items() if table.rows},
        pictures=pictures_of(name, data, mine, likeness),
        privacy=_privacy_words(leaks, method),
    )


def _reading_tables(
    method: str, likeness: pd.DataFrame, leaks: pd.DataFrame, rare_class: str
) -> dict[str, TableView]:
    tables = {}
    for scope, of_whom in ((RARE, f"rows of class {rare_class}"), (ALL, "all rows")):
        tables[f"fidelity-{scope}"] = reading_table(
            likeness, method, scope, LIKENESS_METRICS, of_whom
        )
        tables[f"privacy-{scope}"] = reading_table(leaks, method, scope, PRIVACY_METRICS, of_whom)
        if leaks["method"].nunique() > 1:
            tables[f"fidelity-methods-{scope}"] = methods_table(
                likeness, scope, SHORT_LIKENESS, of_whom
            )
            tables[f"privacy-methods-{scope}"] = methods_table(leaks, scope, SHORT_PRIVACY, of_whom)
    return tables


def _privacy_words(leaks: pd.DataFrame, method: str | None) -> list[str]:
    """Return the sentences on all rows, and on the rare class alone where it has distances."""
    if method is None:
        return []
    said = said_of_privacy(leaks, method)
    if "dcr_share" not in set(of_whole(leaks, RARE)["metric"]):
        return said
    rare = said_of_privacy(leaks, method, scope=RARE)[:-1]
    said[-1:-1] = [f"The rare class alone: {text[0].lower()}{text[1:]}" for text in rare]
    return said


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


def _rejects(rejects: pd.DataFrame) -> pd.DataFrame:
    if not len(rejects):
        return rejects
    counts = rejects.groupby(["method", "reason"], sort=False, as_index=False)["n"].sum()
    return counts.sort_values(["method", "n"], ascending=[True, False], kind="stable")


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
