"""What the report's pictures show: differences, distributions, correlations."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.evaluation.fidelity import associations, column_figures, likeness
from rddg_ray.evaluation.report.drawing import Palette, shorten
from rddg_ray.evaluation.summary import LABELS
from rddg_ray.schema import Column
from rddg_ray.table import Table

N_HEAT = 16
_N_COLUMNS = 6
_N_CATEGORIES = 8
_N_BARS = 20


def differences(summary: pd.DataFrame, metrics: Sequence[str], palette: Palette) -> Any:
    """Return a figure of each method's difference to `original` with its interval, in points."""
    from matplotlib.figure import Figure

    mine = summary[summary["difference"].notna()]
    methods = list(dict.fromkeys(mine["method"]))
    figure = Figure(figsize=(8.4, 0.9 + 0.36 * len(methods)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(metrics), sharey=True))
    for axes, metric in zip(panels, metrics, strict=True):
        rows = mine[mine["metric"] == metric].set_index("method").reindex(methods)
        axes.axvline(0, color=palette.muted, linewidth=1, zorder=0)
        for place, (low, middle, high) in enumerate(
            100 * rows[["low", "difference", "high"]].to_numpy()
        ):
            axes.plot([low, high], [place, place], color=palette.methods[0], linewidth=2)
            axes.plot([middle], [place], "o", color=palette.methods[0], markersize=6)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, -1.0), max(high, 1.0))
        axes.locator_params(axis="x", nbins=6)
        axes.set_title(LABELS[metric])
        axes.set_yticks(range(len(methods)), [shorten(method) for method in methods])
        axes.tick_params(axis="y", length=0, labelcolor=palette.ink)
        axes.grid(axis="x", color=palette.line, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        axes.set_ylim(len(methods) - 0.5, -0.5)
    figure.supxlabel("points gained over the original rows", color=palette.muted, fontsize=9)
    return figure


def most_different(train: Table, synthetic: Table, n_columns: int = _N_COLUMNS) -> list[Column]:
    """Return the features whose distribution differs most, worst first."""
    found = [
        (column_figures(column, train.frame[column.name], synthetic.frame[column.name]), column)
        for column in train.features
    ]
    # A column of which nothing is known on one side differs most of all.
    found.sort(key=lambda pair: np.nan_to_num(likeness(pair[0]), nan=-1.0))
    return [column for _, column in found[:n_columns]]


def likenesses(columns: pd.DataFrame, method: str, palette: Palette) -> Any:
    """Return a figure of each column's likeness beside what new real rows reach.

    Args:
        columns: Index: names of columns, top first; columns `matched`, `ceiling`, `floor`.
        method: Whose `matched` is.
        palette: Colours.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 1.1 + 0.27 * len(columns)), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(columns))
    axes.hlines(at, columns["matched"], columns["ceiling"], color=palette.line, linewidth=2)
    axes.plot(columns["floor"], at, "|", color=palette.muted, markersize=9, label="plain copies")
    axes.plot(columns["ceiling"], at, "o", color=palette.real, markersize=7, label="new real rows")
    axes.plot(columns["matched"], at, "D", color=palette.methods[0], markersize=6,
              label=shorten(method))  # fmt: skip
    axes.set_yticks(at, [shorten(str(name)) for name in columns.index])
    axes.tick_params(axis="y", length=0, labelcolor=palette.ink)
    axes.set_ylim(len(columns) - 0.5, -0.5)
    low = float(np.nanmin(columns.to_numpy(dtype=np.float64)))
    axes.set_xlim(min(low - 0.03, 0.9), 1.01)
    axes.set_xlabel("likeness of the column: 1 is the same distribution")
    axes.grid(axis="x", color=palette.line, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    figure.legend(loc="outside upper left", ncols=3, fontsize=9)
    return figure


def distributions(
    columns: Sequence[Column], real: Table, made: dict[str, Table], palette: Palette
) -> Any:
    """Return small panels of how columns are spread, real rows against up to three methods."""
    from matplotlib.figure import Figure

    n_rows = -(-len(columns) // 3)
    figure = Figure(figsize=(8.4, 0.5 + 2.1 * n_rows), layout="constrained")
    panels = np.atleast_1d(figure.subplots(n_rows, min(3, len(columns)))).ravel()
    for axes, column in zip(panels, columns, strict=False):
        paint = _bars if column.kind in ("categorical", "boolean") else _histogram
        paint(axes, column, real, made, palette)
        axes.set_title(shorten(column.name))
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    for axes in panels[len(columns) :]:
        axes.set_visible(False)
    _legend(figure, ["real", *made], [palette.real, *palette.methods])
    return figure


def _legend(figure: Any, names: Sequence[str], colours: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    marks = [Patch(color=c, label=shorten(n)) for n, c in zip(names, colours, strict=False)]
    figure.legend(handles=marks, loc="outside upper left", ncols=len(marks), fontsize=9)


def _histogram(
    axes: Any, column: Column, real: Table, made: dict[str, Table], palette: Palette
) -> None:
    cells = [t.frame[column.name].dropna().to_numpy(float) for t in (real, *made.values())]
    known = np.concatenate(cells)
    if len(known) == 0:
        return
    # Long tails would press everything into one bin; what lies outside is counted at the ends.
    low, high = np.percentile(known, [0.5, 99.5])
    edges = np.linspace(low, high if high > low else low + 1.0, _N_BARS + 1)
    for place, values in enumerate(cells):
        counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / max(len(values), 1)
        if place == 0:
            axes.stairs(counts, edges, fill=True, color=palette.real, alpha=0.75)
        else:
            axes.stairs(counts, edges, color=palette.methods[place - 1], linewidth=1.8)
    if column.kind == "datetime":
        axes.set_xticks(edges[[0, -1]], [column.encode(edge) for edge in edges[[0, -1]]])
    else:
        axes.locator_params(axis="x", nbins=4)


def _bars(axes: Any, column: Column, real: Table, made: dict[str, Table], palette: Palette) -> None:
    tables = (real, *made.values())
    shares = [t.frame[column.name].fillna("(empty)").value_counts(normalize=True) for t in tables]
    weight = pd.concat(shares, axis=1).max(axis=1).sort_values(ascending=False, kind="stable")
    names = [str(name) for name in weight.index[:_N_CATEGORIES]]
    width = 0.8 / len(tables)
    colours = (palette.real, *palette.methods)
    for place, share in enumerate(shares):
        at = np.arange(len(names)) + (place - (len(tables) - 1) / 2) * width
        axes.bar(at, share.reindex(names, fill_value=0.0), width, color=colours[place])
    labels = [textwrap.shorten(name, 10, placeholder="…") or name[:9] for name in names]
    is_long = sum(map(len, labels)) > 24
    axes.set_xticks(range(len(names)), labels, rotation=35 if is_long else 0,
                    ha="right" if is_long else "center", fontsize=8)  # fmt: skip
    axes.tick_params(axis="x", length=0)


def heat_maps(real: Table, made: Table, method: str, palette: Palette) -> Any:
    """Return associations of real rows, of a method's, and their difference, side by side."""
    from matplotlib.figure import Figure

    first, second = associations(real, made)
    gap = second - first
    chosen = np.sort(np.argsort(-np.abs(gap).sum(axis=0), kind="stable")[:N_HEAT])
    names = [shorten(real.prompt_columns[i].name, 17) for i in chosen]
    figure = Figure(figsize=(8.4, 3.5), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    titles = ("real", shorten(method), f"{shorten(method)} - real")
    image: Any = None
    for axes, matrix, title in zip(panels, (first, second, gap), titles, strict=True):
        image = axes.imshow(matrix[np.ix_(chosen, chosen)], cmap=_diverging(), vmin=-1, vmax=1,
                            interpolation="nearest")  # fmt: skip
        axes.set_title(title)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(True)
            spine.set_color(palette.line)
    bar = figure.colorbar(image, ax=panels, shrink=0.4, aspect=12, ticks=[-1, 0, 1])
    bar.outline.set_edgecolor(palette.line)
    return figure


def _diverging() -> Any:
    from matplotlib.colors import ListedColormap

    # Clear in the middle, so that "no association" is the page's own ground, light or dark. The
    # power lets a coefficient of 0.1 be seen at all.
    low, high = (0.851, 0.467, 0.169), (0.231, 0.51, 0.769)
    values = np.linspace(-1, 1, 255)
    colours = [(*(high if value > 0 else low), float(abs(value) ** 0.7)) for value in values]
    return ListedColormap(colours, name="rddg")
