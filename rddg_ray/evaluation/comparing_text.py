"""A comparison of runs as text: cells, lines and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rddg_ray.evaluation.comparing import Comparison

_HOW_TO_READ = (
    "Utility in percent. In brackets: the difference to the first run, with its 95% interval over "
    "test rows where the runs share them."
)
_DIGITS = {"accepted_rows": ",.0f", "tokens_per_row": ",.1f", "usd_per_1000_rows": ".4f"}


def cell_text(row: Mapping[str, Any]) -> str:
    """Return a figure as a person reads it: utility in percent, with its difference."""
    if np.isnan(row["value"]):
        return "-"
    if row["family"] == "utility":
        scale, form, signed = 100, ".2f", "+.2f"
    else:
        form = _DIGITS.get(row["metric"], ".3f")
        scale, signed = 1, f"+{form}"
    text = f"{scale * row['value']:{form}}"
    if np.isnan(row["difference"]):
        return text
    text += f" ({scale * row['difference']:{signed}}"
    if not np.isnan(row["low"]):
        text += f" [{scale * row['low']:{signed}}, {scale * row['high']:{signed}}]"
    return text + ")"


def wide(comparison: Comparison, dataset: str) -> list[list[str]]:
    """Return one table's figures as lines of texts: family, method, metric, then a cell a run."""
    mine = comparison.figures[comparison.figures["dataset"] == dataset]
    lines: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in mine.to_dict("records"):
        place = (row["family"], row["method"], row["metric"])
        lines.setdefault(place, {})[row["run"]] = cell_text(row)
    return [
        [*place, *(cells.get(name, "-") for name in comparison.names)]
        for place, cells in lines.items()
    ]


def to_markdown(comparison: Comparison) -> str:
    """Return a comparison as Markdown: a table a data set, then the settings that differ."""
    text = ["# Runs side by side", ""]
    for dataset in dict.fromkeys(comparison.figures["dataset"]):
        heads = ["Family", "Method", "Metric", *comparison.names]
        text += [f"## {dataset}", "", *_grid(heads, wide(comparison, dataset)), ""]
    text += [_HOW_TO_READ, ""]
    if len(comparison.settings):
        lines = [[str(v) for v in row.values()] for row in comparison.settings.to_dict("records")]
        text += ["## Settings that differ", ""]
        text += [*_grid(list(map(str, comparison.settings.columns)), lines), ""]
    return "\n".join([*text, *(f"- {note}" for note in comparison.notes), ""])


def _grid(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    rows = [heads, ["---"] * len(heads), *lines]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
