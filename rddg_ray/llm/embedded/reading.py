"""From a prompt's text to its structure: columns, classes, rows, requests."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from rddg_ray.llm.embedded.columns import JSON_STRING, PromptColumn, read_columns, seen_column

_HEADING = re.compile(
    r"^## (Table|Relations|Rules|Format|Quality report|Rows|Task)\b[^\n]*$", re.MULTILINE
)
# These hold a model's own text or come before it, so their first heading counts; a later one
# may be part of that text. Of the others the last one counts, for the same reason.
_FIRST_COUNTS = ("Table", "Relations", "Rules")
_LETTER = re.compile(r"^([A-Z]{1,3})\.[ \t]*\r?$", re.MULTILINE)
_CLASSES = re.compile(rf"([A-Z]{{1,3}}) = ({JSON_STRING})")
_REQUEST = re.compile(
    r"(?P<count>\d+) new rows? (?:of|for|under|in) (?:class )?(?P<letter>[A-Z]{1,3})\b"
    rf"(?: \({JSON_STRING}\))?"
)

Rows = dict[str, list[list[str]]]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a prompt asks and shows.

    Attributes:
        phase: What is asked, or None where the prompt is none of the three.
        columns: The columns, target first, in the order of the cells.
        classes: Target value of each class letter.
        rows: Cells of the rows shown, by class letter.
        requests: How many rows are asked for, by class letter, in order.
        relations: Text of the analysis shown.
        rules: Text of the rules shown.
        feedback: Text of the quality report shown.
    """

    phase: Literal["relations", "constraints", "generation"] | None
    columns: tuple[PromptColumn, ...] = ()
    classes: dict[str, str] = field(default_factory=dict)
    rows: Rows = field(default_factory=dict)
    requests: tuple[tuple[str, int], ...] = ()
    relations: str = ""
    rules: str = ""
    feedback: str = ""


def read_prompt(text: str) -> Reading:
    """Read a user message, with this package's sections or in the same style without them."""
    sections = _sections(text)
    header, rows = read_block(text[sections["Rows"][0] :] if "Rows" in sections else text)
    table = _body(text, sections, "Table")
    told = {column.name: column for column in reversed(list(read_columns(table)))}
    target = _target(table) or (header[0] if header else "")
    names = header or (target, *(name for name in reversed(told) if name != target))
    requests = _requests(_body(text, sections, "Task") or text)
    return Reading(
        phase=_phase(text, sections, bool(rows), bool(requests)),
        columns=_columns(names, told, rows) if any(names) else (),
        classes=_classes(table, rows),
        rows=rows,
        requests=requests,
        relations=_body(text, sections, "Relations") or ("" if sections else text),
        rules=_body(text, sections, "Rules") or ("" if sections else text),
        feedback=_body(text, sections, "Quality report"),
    )


def _sections(text: str) -> dict[str, tuple[int, int]]:
    """Return where each section's body starts and ends."""
    chosen: dict[str, re.Match[str]] = {}
    for match in _HEADING.finditer(text):
        if match[1] not in _FIRST_COUNTS or match[1] not in chosen:
            chosen[match[1]] = match
    for title in _not_of_the_prompt(chosen):
        chosen.pop(title, None)
    matches = sorted(chosen.values(), key=lambda match: match.start())
    bounds = [match.start() for match in matches] + [len(text)]
    return {match[1]: (match.end(), end) for match, end in zip(matches, bounds[1:], strict=True)}


def _not_of_the_prompt(chosen: dict[str, re.Match[str]]) -> tuple[str, ...]:
    """Return headings that a model wrote: a prompt shows relations or rules, never both."""
    starts = {title: match.start() for title, match in chosen.items()}
    if "Relations" not in starts:
        return ()
    if starts.get("Rules", len(chosen["Relations"].string)) < starts["Relations"]:
        return ("Relations",)
    return ("Rules", "Format", "Quality report", "Rows")


def _body(text: str, sections: dict[str, tuple[int, int]], title: str) -> str:
    start, end = sections.get(title, (0, 0))
    return text[start:end].strip()


def _phase(
    text: str, sections: dict[str, tuple[int, int]], has_rows: bool, has_requests: bool
) -> Literal["relations", "constraints", "generation"] | None:
    if has_requests and (has_rows or "Rows" in sections or "Table" in sections):
        return "generation"
    task = _body(text, sections, "Task") if sections else text
    if "Relations" in sections or "explicit rules" in task.lower():
        return "constraints"
    return "relations" if has_rows else None


def _target(table: str) -> str:
    match = re.search(rf"^Target column: ({JSON_STRING})", table, re.MULTILINE)
    return str(json.loads(match[1])) if match else ""


def _classes(table: str, rows: Rows) -> dict[str, str]:
    line = re.search(r"^Classes: .*$", table, re.MULTILINE)
    told = {m[1]: str(json.loads(m[2])) for m in _CLASSES.finditer(line[0])} if line else {}
    return {letter: shown[0][0] for letter, shown in rows.items() if shown} | told


def _columns(
    names: tuple[str, ...], told: dict[str, PromptColumn], rows: Rows
) -> tuple[PromptColumn, ...]:
    cells = [row for shown in rows.values() for row in shown]
    target = PromptColumn(names[0], "category", categories=tuple({row[0]: 0 for row in cells}))
    others = (
        seen_column(name, told.get(name), [row[position] for row in cells])
        for position, name in enumerate(names[1:], start=1)
    )
    return (target, *others)


def _requests(text: str) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for match in _REQUEST.finditer(text):
        counts[match["letter"]] = counts.get(match["letter"], 0) + int(match["count"])
    return tuple(counts.items())


def read_block(text: str) -> tuple[tuple[str, ...], Rows]:
    """Return header and rows of the first block of rows, both empty where there is none.

    A block is a CSV header line, then for each class a line with its letter and a full stop,
    followed by CSV rows with as many cells as the header.
    """
    for match in _LETTER.finditer(text):
        header = _record_before(text, match.start())
        if len(header) >= 2:
            rows = _rows_after(text[match.start() :], header)
            if any(rows.values()):
                return header, rows
    return (), {}


def _record_before(text: str, end: int) -> tuple[str, ...]:
    # A record may span lines; its quotes are even in number, and those of any part of it that
    # begins inside a quoted cell are odd.
    start = end
    while start > 0:
        start = text.rfind("\n", 0, start - 1) + 1
        record = text[start:end]
        if record.count('"') % 2 == 0:
            return tuple(next(csv.reader(io.StringIO(record, newline="")), []))
    return ()


def _rows_after(text: str, header: tuple[str, ...]) -> Rows:
    rows: Rows = {}
    shown: list[list[str]] | None = None
    for record in _records(text):
        if not record or tuple(record) == header:
            shown = None if record else shown
        elif len(record) == 1 and (letter := _LETTER.match(record[0])):
            shown = rows.setdefault(letter[1], [])
        elif shown is not None and len(record) == len(header):
            shown.append(record)
        else:
            break
    return rows


def _records(text: str) -> Iterator[list[str]]:
    return iter(csv.reader(io.StringIO(text, newline="")))
