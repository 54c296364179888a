"""The rows of a reply that is JSON, whole or not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_MAX_BROKEN = 2_000  # characters of a broken row that are kept
# A row is an object without objects in it. Looked for as such, it is found in whatever is
# around it: prose, a fence, lists by class, an outer object that was cut off. Possessive
# repetition keeps the time in proportion to the text.
_FLAT = re.compile(r'\{(?:[^{}"]++|"(?:[^"\\]|\\.)*+")*+\}', re.DOTALL)
# A key and the beginning of a value that is no list or object: what holds the rows is no row.
_ROW_START = re.compile(r'\{\s*"(?:[^"\\]|\\.)*+"\s*:\s*[^\s\[{]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class JsonRow:
    """An object of the reply.

    Attributes:
        text: As it came; the beginning of what is no valid JSON.
        cells: Cell text by key; numbers as they were written, the empty text for null. None
            where it is no valid JSON.
        is_cut: Whether the reply ends within it.
    """

    text: str
    cells: Mapping[str, str] | None = None
    is_cut: bool = False


def json_rows(text: str) -> Iterator[JsonRow]:
    """Yield the flat objects of a reply in order, and what begins like one and is none."""
    at, last_close = text.find("{"), text.rfind("}")
    while at >= 0:
        end = at + 1
        if _ROW_START.match(text, at):
            row = _row_at(text, at, last_close)
            end = at + len(row.text) if row.cells is not None else end
            yield row
        at = text.find("{", end)


def _row_at(text: str, at: int, last_close: int) -> JsonRow:
    found = _FLAT.match(text, at)
    cells = _cells(found[0]) if found else None
    if found and cells is not None:
        return JsonRow(found[0], cells)
    # A stray quote must not swallow the rows after it, nor hostile text be copied many times.
    close = text.find("}", at, at + _MAX_BROKEN)
    shown = text[at : at + _MAX_BROKEN if close < 0 else close + 1]
    return JsonRow(shown, is_cut=at > last_close)


def _cells(text: str) -> dict[str, str] | None:
    try:
        content = json.loads(text, parse_float=str, parse_int=str, parse_constant=str, strict=False)
    except (ValueError, RecursionError):
        return None
    return {_storable(key): _storable(_cell(value)) for key, value in content.items()}


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _storable(text: str) -> str:
    # JSON can spell half a surrogate pair, which no file can hold.
    return text.encode("utf-8", "replace").decode("utf-8")
