"""Runs side by side as a person reads them on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from rddg_ray.evaluation.comparing import Comparison
from rddg_ray.evaluation.comparing_text import wide
from rddg_ray.printing import open_console


def show_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print a table a data set, the settings that differ, and notes."""
    console = console or open_console()
    for dataset in dict.fromkeys(comparison.figures["dataset"]):
        grid = Grid(
            title=f"{escape(str(dataset))}: utility in percent; difference to the first run "
            r"\[95% interval over test rows]",
            title_justify="left",
        )
        for heading in ("family", "method", "metric"):
            grid.add_column(heading)
        for name in comparison.names:
            grid.add_column(escape(name), justify="right")
        for line in wide(comparison, dataset):
            grid.add_row(*map(escape, line))
        console.print(grid)
    if len(comparison.settings):
        grid = Grid(title="Settings that differ", title_justify="left")
        for heading in comparison.settings.columns:
            grid.add_column(escape(str(heading)), overflow="fold")
        for row in comparison.settings.to_dict("records"):
            grid.add_row(*(escape(str(value)) for value in row.values()))
        console.print(grid)
    for note in comparison.notes:
        console.print(note, markup=False, soft_wrap=True, style="yellow")
