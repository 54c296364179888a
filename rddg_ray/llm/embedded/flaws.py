"""Rows written wrongly on purpose, as language models do now and then."""

from __future__ import annotations

import string
from collections.abc import Callable

import numpy as np

from rddg_ray.llm.embedded.columns import PromptColumn, csv_line

_PROSE = (
    "(the next row keeps the same pattern)",
    "Here is one more row of this class",
    "...",
)
_NO_NUMBERS = ("high", "about average", "low", "unknown value")

Columns = tuple[PromptColumn, ...]
_Flaw = Callable[[list[str], Columns, np.random.Generator], list[str] | str]


def malformed_line(cells: list[str], columns: Columns, rng: np.random.Generator) -> str:
    """Return a line that no parser should accept as a row.

    One of, by chance: a cell too few or too many, a category that does not exist, a line of
    prose, a word where a number belongs. What a table has no column for is not drawn.
    """
    flaws: list[_Flaw] = [_miscounted, _prose]
    flaws += [_unknown_category] if any(not c.is_numeric for c in columns[1:]) else []
    flaws += [_no_number] if any(c.kind == "number" for c in columns) else []
    line = flaws[int(rng.integers(len(flaws)))](list(cells), columns, rng)
    return line if isinstance(line, str) else csv_line(line)


def _miscounted(cells: list[str], columns: Columns, rng: np.random.Generator) -> list[str]:
    position = int(rng.integers(1, len(cells)))
    return cells[:position] + (
        cells[position + 1 :] if rng.random() < 0.5 else cells[position - 1 :]
    )


def _prose(cells: list[str], columns: Columns, rng: np.random.Generator) -> str:
    return _PROSE[int(rng.integers(len(_PROSE)))]


def _unknown_category(cells: list[str], columns: Columns, rng: np.random.Generator) -> list[str]:
    wanted = [i for i, column in enumerate(columns) if i > 0 and not column.is_numeric]
    position = wanted[int(rng.integers(len(wanted)))]
    known = columns[position].categories
    cells[position] = _new_word(rng)
    while cells[position] in known:
        cells[position] = _new_word(rng)
    return cells


def _new_word(rng: np.random.Generator) -> str:
    letters = string.ascii_uppercase + string.digits
    return "".join(letters[i] for i in rng.integers(len(letters), size=4))


def _no_number(cells: list[str], columns: Columns, rng: np.random.Generator) -> list[str]:
    wanted = [i for i, column in enumerate(columns) if column.kind == "number"]
    position = wanted[int(rng.integers(len(wanted)))]
    cells[position] = _NO_NUMBERS[int(rng.integers(len(_NO_NUMBERS)))]
    return cells
