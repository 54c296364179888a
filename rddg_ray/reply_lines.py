"""The lines of a reply: where a record ends, and the ways in which one can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from rddg_ray.cell_text import csv_cells

_MAX_RECORD_LINES = 50  # lines a quoted cell may span before its quote counts as stray
_THINKING = re.compile(r"\A\s*<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL)
_FENCED = re.compile(r"\A```[\w-]*\n(.*?)\n?```\Z", re.DOTALL)
_CLOSED_CELL = re.compile(r'(?:^|,)\s*"(?:[^"]|"")*"')
_OPEN_CELL = re.compile(r'(?:^|,)\s*"')
# A bullet or a number needs space after it, or "-1" and "1.0" would lose their beginnings.
_NUMBERING = re.compile(
    r"(?:>\s*|[-*•+]\s+|\(?\d{1,5}(?:[.:]\s+|\)\s*)|row\s*#?\d{1,5}\s*[:.)-]\s*)+", re.IGNORECASE
)
_LABEL_PREFIX = re.compile(r"[\W_]*(?:class\s+)?(?P<name>[A-Z]{1,3})[.:)][*_]*\s+(?P<rest>.+)",
                           re.IGNORECASE | re.DOTALL)  # fmt: skip
_PIPE = re.compile(r"(?<!\\)\|")


def prose(text: str) -> str:
    """Return an answer in words without a thinking block or a fence around all of it."""
    text = without_thinking(text).strip()
    fenced = _FENCED.match(text)
    return fenced[1].strip() if fenced else text


def without_thinking(text: str) -> str:
    """Return a reply without the thinking block that some models begin with.

    Half characters (lone surrogates), which no file can hold, become question marks.
    """
    return _THINKING.sub("", text.encode("utf-8", "replace").decode("utf-8"))


def readings(
    line: str, label: str | None, labels: Mapping[str, str]
) -> Iterator[tuple[str | None, list[str]]]:
    """Yield the section's label and the cells under each way to read a line, plain first.

    Args:
        line: A record, without its outer space.
        label: The label of the section it stands in, or None.
        labels: What each class letter stands for; a letter before a row begins its section.
    """
    for mine, text in _undecorated(line, label, labels):
        yield mine, csv_cells(text)
        if "|" in text:
            inner = text.strip().removeprefix("|").removesuffix("|")
            yield mine, [cell.strip().replace("\\|", "|") for cell in _PIPE.split(inner)]
        for mark in "\t;":
            if mark in text:
                yield mine, [cell.strip() for cell in text.split(mark)]


def _undecorated(
    line: str, label: str | None, labels: Mapping[str, str]
) -> Iterator[tuple[str | None, str]]:
    yield label, line
    prefix = _LABEL_PREFIX.fullmatch(line)
    if prefix and (mine := labels.get(prefix["name"].upper())):
        line, label = prefix["rest"], mine
        yield label, line
    if bullet := _NUMBERING.match(line):
        line = line[bullet.end() :]
        yield label, line
    if line[:1] in ("[", "("):
        yield label, line.rstrip(", ").strip("[]()")


def closing_line(lines: list[str], at: int) -> int:
    """Return the line where the quote that opens in line `at` closes, or `at` if none does."""
    for end in range(at + 1, min(at + _MAX_RECORD_LINES, len(lines))):
        if '"' in lines[end] and not is_open("\n".join(lines[at : end + 1]).strip()):
            return end
    return at


def is_open(text: str) -> bool:
    """Return whether a quoted cell begins in the text and does not end in it."""
    return _OPEN_CELL.search(_CLOSED_CELL.sub("", text)) is not None
