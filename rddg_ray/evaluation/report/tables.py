"""Tables of the page: every cell is text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class TableView:
    """A table of the page: every cell is text, or texts of which all but the first are small."""

    caption: str
    head: tuple[str | tuple[str, ...], ...]
    rows: list[list[Any]] = field(default_factory=list)


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
