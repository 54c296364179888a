"""From the sentences of a quality report to what they ask to change."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["mean", "std", "correlation", "distribution", "share"]

_CLASS_LINE = re.compile(r"^Class ([A-Z]{1,3})\b.*:\s*$")
# The opening words of each sentence, up to the first name.
_OPENINGS: tuple[tuple[str, Kind], ...] = (
    ("- Adjust mean", "mean"),
    ("- Maintain variance", "std"),
    ("- Strengthen correlation", "correlation"),
    ("- Weaken correlation", "correlation"),
    ("- Align distribution", "distribution"),
    ("- Align category", "share"),
)
_VALUES = re.compile(r" ?(?P<target>[^;(]*?)(?: \(was (?P<seen>[^)]*)\))?\s*(?:;|$)")


@dataclass(frozen=True, slots=True)
class Remark:
    """One item of a quality report.

    Attributes:
        kind: What differs.
        letter: The class it is about, or None for all rows.
        names: The column; for correlations both; for shares the column and the category.
        target: The value to reach, as text (for distributions the statistic).
        seen: The value of the rows written last, as text; empty where none is told.
    """

    kind: Kind
    letter: str | None
    names: tuple[str, ...]
    target: str
    seen: str


def read_remarks(feedback: str) -> list[Remark]:
    """Return the items of all sentences that can be read; others are passed over."""
    remarks: list[Remark] = []
    letter: str | None = None
    for line in feedback.split("\n"):
        if (match := _CLASS_LINE.match(line)) is not None:
            letter = match[1]
        elif line.startswith("Overall"):
            letter = None
        for opening, kind in _OPENINGS:
            if line.startswith(opening) and '"' in line:
                remarks += _items(line, kind, letter)
    return remarks


def _items(line: str, kind: Kind, letter: str | None) -> Iterator[Remark]:
    position = line.index('"')
    while position < len(line):
        names, position = _names(line, position)
        values = _VALUES.match(line, position)
        if not names or values is None:
            return
        yield Remark(kind, letter, names, values["target"], values["seen"] or "")
        position = values.end()


def _names(line: str, position: int) -> tuple[tuple[str, ...], int]:
    """Read JSON strings that are joined by blanks or "and"."""
    names: list[str] = []
    decoder = json.JSONDecoder()
    while (match := re.compile(r'(?: and| )?\s*(?=")').match(line, position)) is not None:
        try:
            name, position = decoder.raw_decode(line, match.end())
        except ValueError:
            break
        names.append(str(name))
    return tuple(names), position
