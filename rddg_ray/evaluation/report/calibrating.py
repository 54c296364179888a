"""The picture and the table of what calibration learned and said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.evaluation.report.drawing import Palette, Picture, draw, shorten
from rddg_ray.evaluation.report.tables import TableView
from rddg_ray.table import Table

_MAX_CLASSES, _N_PANELS, _MAX_ROWS = 3, 3, 8
# Two-sided 90% of a normal law.
_Z90 = 1.645
_DAY_S = 86_400.0
_KEY = ["class", "kind", "columns", "values"]
_WORDS = {"mean": "mean of", "std": "spread of", "correlation": "correlation of",
          "share": "share of"}  # fmt: skip
_UNIT = (
    "Deviations from the real training rows of the class, in units of what a single row moves: "
    "for a mean one standard deviation"
)


def summary_name(kind: str, columns: str, values: str) -> str:
    """Return what a summary measures, in words."""
    return f"{_WORDS[kind]} {columns}" + (f" = {values}" if values else "")


def calibration_table(calibration: pd.DataFrame, train: Table | None, n_recorded: int) -> TableView:
    """Return what was said how often, and what came of it; the most often said first.

    Args:
        calibration: Of one table.
        train: Its training rows, for units; None where they are not at hand.
        n_recorded: Chains on record at most.
    """
    view = TableView("", ("Class", "Summary", "Real rows", "Said in rounds", "Bias", "Gain",
                          "All rows, first", "All rows, last", "Noise"))  # fmt: skip
    known = rounds_with_rows(calibration)
    if not len(known):
        return view
    n_chains = known[["method", "chain"]].drop_duplicates().shape[0]
    for _, mine in known.groupby("class", sort=False):
        ranked = by_summary(mine).sort_values(["n_said", "off"], ascending=False, kind="stable")
        view.rows.extend(_row(entry, train) for entry in ranked.head(_MAX_ROWS).to_dict("records"))
    chains = "the chain" if n_chains == 1 else f"{n_chains} chains"
    limit = f" (the first {n_recorded} of a method at most)" if n_recorded else ""
    caption = (
        f"What was said most often of each class, over {chains} on record{limit}. {_UNIT}. Bias "
        "is that of the endpoint when nothing is said, gain how much of what is asked for it "
        "does, each with its credible interval; then how far all rows were off after the "
        "first round and after the last, beside what as many rows of an unbiased generator stay "
        "within in 90% of cases. Means over chains."
    )
    return TableView(caption, view.head, view.rows)


def rounds_with_rows(calibration: pd.DataFrame) -> pd.DataFrame:
    """Return the rounds of each class that brought rows of it."""
    return calibration[calibration["n_rows"] > 0] if len(calibration) else calibration


def by_summary(mine: pd.DataFrame) -> pd.DataFrame:
    """Return one row a summary: counts over all chains, means of their first and last rounds.

    Args:
        mine: Rounds of one class, with rows (`rounds_with_rows`).

    Returns:
        Columns `class`, `kind`, `columns`, `values`, `n_said` and `n_rounds`; the means of
        `target`, `bias`, `gain` and their intervals, and of `whole` in the last round;
        `whole_first`; `noise`, which an unbiased generator stays within in 90% of cases; `off`,
        the size of the bias.
    """
    chains = mine.groupby([*_KEY, "method", "chain"], sort=False)
    ends = chains.last()
    ends["whole_first"] = chains["whole"].first()
    ends["n_said"] = chains["is_said"].sum()
    ends["n_rounds"] = chains["rddg_round"].nunique()
    ends["noise"] = _Z90 / np.sqrt(ends["n_rows_so_far"])
    over = ends.groupby(_KEY, sort=False)
    counts = over[["n_said", "n_rounds"]].sum()
    names = ["target", "bias", "bias_low", "bias_high", "gain", "gain_low", "gain_high",
             "whole_first", "whole", "noise"]  # fmt: skip
    found = counts.join(over[names].mean()).reset_index()
    return found.assign(off=found["bias"].abs())


def _row(entry: dict[Any, Any], train: Table | None) -> list[Any]:
    return [
        str(entry["class"]),
        shorten(summary_name(entry["kind"], entry["columns"], entry["values"]), 60),
        _target(entry, train),
        f"{entry['n_said']} of {entry['n_rounds']}",
        (f"{entry['bias']:+.2f}", f"[{entry['bias_low']:+.2f}, {entry['bias_high']:+.2f}]"),
        (f"{entry['gain']:.2f}", f"[{entry['gain_low']:.2f}, {entry['gain_high']:.2f}]"),
        _signed(entry["whole_first"]),
        _signed(entry["whole"]),
        f"±{entry['noise']:.2f}",
    ]


def _signed(value: float) -> str:
    return "" if pd.isna(value) else f"{value:+.2f}"


def _target(entry: dict[Any, Any], train: Table | None) -> str:
    """Return the value in the real rows, in the column's own unit."""
    value, columns = entry["target"], {c.name: c for c in train.features} if train else {}
    column = columns.get(entry["columns"])
    if pd.isna(value):
        return ""
    if entry["kind"] == "share":
        return f"{100 * value:.1f}%"
    if column is not None and column.kind == "datetime":
        return column.encode(value) if entry["kind"] == "mean" else f"{value / _DAY_S:.3g} days"
    return f"{value:.2f}" if entry["kind"] == "correlation" else f"{value:.4g}"


def calibration_picture(name: str, calibration: pd.DataFrame) -> Picture | None:
    """Return how biases were learned and the rows came closer; None without two rounds."""
    panels = _panels(calibration)
    if not panels:
        return None
    ends = "; ".join(
        f"class {rows['class'].iloc[0]}, {_title(rows)}: bias {rows['bias'].iloc[-1]:+.2f}, all "
        f"rows {_signed(rows['whole'].iloc[-1]) or 'unknown'}"
        for row in panels for rows in row
    )  # fmt: skip
    return draw(
        f"{name}-calibration",
        lambda palette: _figure(panels, palette),
        f"Bias of the endpoint and deviation of all rows, round by round. At the end: {ends}.",
        "The summaries of each class in which the endpoint is furthest off when nothing is said, "
        "in the first chain that made rows of it. The line with a band is what is believed of "
        "that bias, with its credible interval; the dashed line is how far off all rows are. "
        "An unbiased generator's rows stay in the grey funnel in 90% of rounds. "
        f"{_UNIT}.",
    )


def _panels(calibration: pd.DataFrame) -> list[list[pd.DataFrame]]:
    """Return the rounds of the worst summaries, a list a class."""
    found = []
    known = rounds_with_rows(calibration)
    for _, rows in known.groupby("class", sort=False) if len(known) else ():
        first = rows[["method", "chain"]].iloc[0]
        mine = rows[(rows["method"] == first["method"]) & (rows["chain"] == first["chain"])]
        series = [told for _, told in mine.groupby(_KEY, sort=False) if len(told) > 1]
        series.sort(key=lambda told: (-int(told["is_said"].any()), -abs(told["bias"].iloc[-1])))
        if series:
            found.append(series[:_N_PANELS])
    found.sort(key=lambda rows: -len(rows[0]))
    return found[:_MAX_CLASSES]


def _title(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return summary_name(first["kind"], first["columns"], first["values"])


def _figure(panels: list[list[pd.DataFrame]], palette: Palette) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 0.7 + 2.0 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), _N_PANELS, squeeze=False, sharex="row", sharey="row")
    for line, row in zip(grid, panels, strict=True):
        for axes, rows in zip(line, row, strict=False):
            _paint(axes, rows, palette)
        for axes in line[len(row) :]:
            axes.set_visible(False)
        line[0].set_ylabel(shorten(f"class {row[0]['class'].iloc[0]}"))
    figure.supxlabel("round of rows", color=palette.muted, fontsize=9)
    _legend(figure, palette)
    return figure


def _paint(axes: Any, rows: pd.DataFrame, palette: Palette) -> None:
    rounds = np.arange(1, len(rows) + 1)
    noise = _Z90 / np.sqrt(rows["n_rows_so_far"].to_numpy(float))
    axes.fill_between(rounds, -noise, noise, color=palette.real, alpha=0.35, linewidth=0)
    axes.axhline(0, color=palette.muted, linewidth=1)
    blue, orange = palette.methods[:2]
    low, high = rows["bias_low"].to_numpy(float), rows["bias_high"].to_numpy(float)
    axes.fill_between(rounds, low, high, color=blue, alpha=0.2, linewidth=0)
    axes.plot(rounds, rows["bias"].to_numpy(float), color=blue, linewidth=1.8)
    axes.plot(rounds, rows["whole"].to_numpy(float), color=orange, linewidth=1.8, linestyle="--")
    axes.set_title(shorten(_title(rows), 30), fontsize=9)
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.locator_params(axis="y", nbins=5)


def _legend(figure: Any, palette: Palette) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    blue, orange = palette.methods[:2]
    marks = [
        Line2D([], [], color=blue, linewidth=1.8, label="bias of the endpoint, interval"),
        Line2D([], [], color=orange, linewidth=1.8, linestyle="--", label="all rows so far"),
        Patch(color=palette.real, alpha=0.35, label="noise of an unbiased generator"),
    ]
    figure.legend(handles=marks, loc="outside upper left", ncols=3, fontsize=9)
