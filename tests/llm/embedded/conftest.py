"""Prompts in the layout that chains write, made from plain lists."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence

import pytest

from rddg_ray.exchange import Prompt

Rows = Mapping[str, Sequence[Sequence[str]]]
LETTERS = "ABCDEFGH"


def csv_text(rows: Sequence[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def table_section(header: Sequence[str], entries: Mapping[str, str], rows: Rows) -> str:
    classes = ", ".join(
        f"{letter} = {json.dumps(value, ensure_ascii=False)}"
        for letter, value in zip(LETTERS, rows, strict=False)
    )
    columns = "".join(
        f"- {json.dumps(name, ensure_ascii=False)}: {entry}\n" for name, entry in entries.items()
    )
    return (
        f'## Table\nName: "a table"\nTarget column: {json.dumps(header[0])}\n'
        f"Columns:\n{columns}Classes: {classes}\n"
        "Category values are anonymised codes; each code stands for one value.\n\n"
    )


def rows_section(header: Sequence[str], rows: Rows) -> str:
    blocks = [
        f"{letter}.\n{csv_text(cells)}"
        for letter, cells in zip(LETTERS, rows.values(), strict=False)
    ]
    return f"## Rows\n{csv_text([header])}{''.join(blocks)}\n"


def generation(
    header: Sequence[str],
    entries: Mapping[str, str],
    rows: Rows,
    counts: Mapping[str, int],
    *,
    rules: str = "",
    feedback: str = "",
) -> str:
    values = dict(zip(LETTERS, rows, strict=False))
    asked = [f"{n} new rows of class {letter} ({json.dumps(values[letter])})"
             for letter, n in counts.items()]  # fmt: skip
    rules_part = f"## Rules\n{rules}\n\n" if rules else ""
    report = f"## Quality report on the rows you wrote last\n{feedback}\n\n" if feedback else ""
    return (
        table_section(header, entries, rows)
        + rules_part
        + "## Format\nWrite CSV.\n\n"
        + report
        + rows_section(header, rows)
        + f"## Task\nWrite {' and '.join(asked)}.\n"
        + csv_text([header])
    )


def relations(header: Sequence[str], entries: Mapping[str, str], rows: Rows) -> str:
    task = f"## Task\nAnalyse the relations between the columns and {json.dumps(header[0])}.\n"
    return table_section(header, entries, rows) + rows_section(header, rows) + task


def constraints(
    header: Sequence[str], entries: Mapping[str, str], rows: Rows, analysis: str
) -> str:
    task = "## Task\nFrom this, write explicit rules and constraints, one a line, numbered.\n"
    return table_section(header, entries, rows) + f"## Relations\n{analysis}\n\n" + task


def parsed(text: str) -> dict[str, list[list[str]]]:
    """Return the rows of a reply by class letter; the header must come first."""
    records = list(csv.reader(io.StringIO(text, newline="")))
    found: dict[str, list[list[str]]] = {}
    letter = ""
    for record in records[1:]:
        if len(record) == 1 and record[0] in {f"{each}." for each in LETTERS}:
            letter = record[0].rstrip(".")
            found[letter] = []
        else:
            found[letter].append(record)
    return found


@pytest.fixture
def write_generation() -> Callable[..., str]:
    """Return the writer of generation prompts."""
    return generation


@pytest.fixture
def write_relations() -> Callable[..., str]:
    """Return the writer of relations prompts."""
    return relations


@pytest.fixture
def write_constraints() -> Callable[..., str]:
    """Return the writer of constraints prompts."""
    return constraints


@pytest.fixture
def rows_of() -> Callable[[str], dict[str, list[list[str]]]]:
    """Return the reader of replies."""
    return parsed


@pytest.fixture
def prompt_of() -> Callable[[str], Prompt]:
    """Return the maker of requests."""
    return lambda user: Prompt("You write realistic rows for a table.", user, "generation")
