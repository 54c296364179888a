"""What a prompt says about a column, and how its cells are read and written."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
JSON_STRING = r'"(?:[^"\\]|\\.)*"'

_ENTRY = re.compile(r'^- (?=")', re.MULTILINE)
_NUMBER_ENTRY = re.compile(rf"number(?:, (\d+) decimals?)?(?:, from ({NUMBER}) to ({NUMBER}))?")
_DATE_ENTRY = re.compile(
    r"date, format (?P<format>.+?), from (?P<low>.+?) to (?P<high>.+?)"
    r"(?=, unit |, may be empty|\. |\.?$)"
)
# A cell with this many places more than its column usually has is a computed constant, such
# as a mean filled in for a missing value.
_PLACES_OF_A_CONSTANT = 4


@dataclass(frozen=True, slots=True)
class PromptColumn:
    """A column as the prompt shows it.

    Attributes:
        name: Its name.
        kind: How its cells are read.
        decimals: Places of new numbers; the usual number in the rows shown.
        suffix: Written after a number, such as ".0" where whole numbers are shown that way.
        minimum: Smallest value told, -inf where none was.
        maximum: Largest value told, inf where none was.
        categories: Values told, else those seen in the rows, in order of appearance.
        date_format: `strftime` form of date cells.
    """

    name: str
    kind: Literal["number", "category", "date"]
    decimals: int = 0
    suffix: str = ""
    minimum: float = -math.inf
    maximum: float = math.inf
    categories: tuple[str, ...] = ()
    date_format: str = ""

    @property
    def is_numeric(self) -> bool:
        """Return whether cells are numbers or dates (as POSIX seconds)."""
        return self.kind != "category"

    def number(self, text: str) -> float:
        """Return a cell's number (dates: POSIX seconds), NaN where it holds none."""
        try:
            if self.kind == "date":
                return datetime.strptime(text, self.date_format).replace(tzinfo=UTC).timestamp()
            value = float(text)
        except ValueError:
            return math.nan
        return value if math.isfinite(value) else math.nan

    def cell(self, value: float) -> str:
        """Return the text of a number, the empty text for NaN."""
        if math.isnan(value):
            return ""
        if self.kind == "date":
            return datetime.fromtimestamp(round(value), tz=UTC).strftime(self.date_format)
        text = f"{value:.{self.decimals}f}"
        return (text[1:] if float(text) == 0 and text.startswith("-") else text) + self.suffix

    def is_constant_cell(self, text: str) -> bool:
        """Return whether a cell has far more places than the column's other numbers."""
        return self.kind == "number" and places(text) >= self.decimals + _PLACES_OF_A_CONSTANT


def places(text: str) -> int:
    """Return the digits after the decimal point of a plain number's text."""
    return len(text.partition(".")[2]) if "e" not in text.lower() else 0


def csv_line(cells: Sequence[str]) -> str:
    """Return the cells as one CSV record without its line end."""
    buffer = io.StringIO()
    # The writer quotes line breaks only if they are part of its own line end.
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n")


def read_columns(table: str) -> Iterator[PromptColumn]:
    """Read the entries `- "name": ...` of a table section."""
    decoder = json.JSONDecoder()
    for match in _ENTRY.finditer(table):
        try:
            name, end = decoder.raw_decode(table, match.end())
        except ValueError:
            continue
        if table.startswith(": ", end):
            yield _column(name, table[end + 2 :].split("\n", 1)[0])


def _column(name: str, entry: str) -> PromptColumn:
    if (found := _NUMBER_ENTRY.match(entry)) is not None:
        decimals, low, high = found.groups()
        return PromptColumn(
            name,
            "number",
            decimals=int(decimals or 0),
            minimum=float(low) if low else -math.inf,
            maximum=float(high) if high else math.inf,
        )
    if (found := _DATE_ENTRY.match(entry)) is not None:
        column = PromptColumn(name, "date", date_format=found["format"])
        low_s, high_s = column.number(found["low"]), column.number(found["high"])
        return replace(
            column,
            minimum=-math.inf if math.isnan(low_s) else low_s,
            maximum=math.inf if math.isnan(high_s) else high_s,
        )
    return PromptColumn(name, "category", categories=_categories(entry))


def _categories(entry: str) -> tuple[str, ...]:
    decoder, values = json.JSONDecoder(), []
    position = len("one of ") if entry.startswith("one of ") else len(entry)
    while entry.startswith('"', position):
        try:
            value, position = decoder.raw_decode(entry, position)
        except ValueError:
            break
        values.append(value)
        if not entry.startswith(", ", position):
            break
        position += 2
    return tuple(values)


def seen_column(name: str, told: PromptColumn | None, cells: Sequence[str]) -> PromptColumn:
    """Return a column as told, completed (or found out) from the cells shown."""
    shown = [cell for cell in cells if cell]
    column = told or PromptColumn(name, _kind(shown))
    if column.kind == "date":
        parsed = not any(math.isnan(column.number(cell)) for cell in shown)
        column = column if parsed else PromptColumn(name, "category")
    if column.kind == "category":
        return replace(column, categories=column.categories or tuple(dict.fromkeys(shown)))
    return _with_places(column, shown, told) if column.kind == "number" else column


def _kind(shown: Sequence[str]) -> Literal["number", "category"]:
    probe = PromptColumn("", "number")
    numbers = bool(shown) and not any(math.isnan(probe.number(cell)) for cell in shown)
    return "number" if numbers else "category"


def _with_places(
    column: PromptColumn, shown: Sequence[str], told: PromptColumn | None
) -> PromptColumn:
    if not shown:
        return column
    counts = Counter(places(cell) for cell in shown)
    usual = max(counts, key=lambda n: (counts[n], n))
    if told is None and usual == 1 and all(c.endswith(".0") for c in shown if places(c) == 1):
        return replace(column, decimals=0, suffix=".0")
    return replace(column, decimals=usual if told is None else min(usual, told.decimals))
