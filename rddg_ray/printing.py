"""What all printing on a terminal shares."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console


def open_console() -> Console:
    """Return a console on standard output: plain and wide where a program reads it."""
    # Piped output is read by programs and tests: no colour, and no wrapping at 80 columns.
    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=140)


def print_left_out(console: Console, table: str, left_out: Mapping[str, str]) -> None:
    """Print which columns of a table are not shown or learned, and why."""
    for column, reason in left_out.items():
        text = f"{table}: column {column!r} is not shown or learned ({reason})"
        console.print(text, markup=False, soft_wrap=True, style="yellow")
