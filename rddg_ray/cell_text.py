"""Cells as a model reads and writes them: CSV lines out, single cells back in."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from rddg_ray.codes import Codes
from rddg_ray.errors import DataError
from rddg_ray.schema import Column

CellReason = Literal[
    "not_a_number", "not_a_date", "unknown_category", "missing_value", "out_of_class"
]

# Chat writes cells in bold, in backticks or in quotes of its own.
_ORNAMENTS = "`*\"'\u201c\u201d\u2018\u2019 \t"
_CURRENCY = "$€£¥₹"
# One number with a sign of currency or one unit word ("mg/dL", "°C", "m2"). Not read: ranges,
# bounds, fractions, products, and units that are factors.
_NUMBER = re.compile(
    rf"[~≈]?\s*(?P<sign>[+-]?)\s*[{_CURRENCY}]?\s*"
    r"(?P<digits>[0-9]{1,3}(?:[,'\u00a0\u202f][0-9]{3})+(?:\.[0-9]+)?|[0-9]+\.?[0-9]*|\.[0-9]+)"
    rf"\s*(?:[%‰°{_CURRENCY}]|(?P<unit>/?[°%]?[^\W\d_]+(?:(?<=m)\^?[23]|[²³%])?"
    r"(?:[/·][^\W\d_]+(?:(?<=m)\^?[23]|[²³])?)*\.?))?"
)
# "3 to" is the beginning of a range, "5 e" of a power, "2 x" of a product.
_NO_UNITS = {
    "to", "or", "of", "and", "by", "x", "e", "plus", "minus", "times", "half", "quarter", "pair",
    "pairs", "couple", "couples", "few", "ten", "tens", "dozen", "dozens", "score", "scores",
    "hundred", "hundreds", "thousand", "thousands", "million", "millions", "billion", "billions",
    "trillion", "trillions", "lakh", "lakhs", "lac", "lacs", "crore", "crores", "myriad",
    "myriads", "k", "bn", "mn", "tn", "trn", "mio", "mrd", "tsd", "thsd", "mil", "mill", "mille",
}  # fmt: skip
_FACTOR = re.compile(r"[KMBGT]|(?:[kKMBT]|[mb]n)[A-Z]{3}")
# Numbers beyond the range of real rows are a model's to write, but a 64-bit integer must hold
# them exactly and a classifier's 32-bit float at all.
_LARGEST_INTEGER = 2.0**53
_LARGEST_FLOAT = 1e38


def csv_line(cells: Sequence[str]) -> str:
    """Return cells as one CSV record without its end; a newline in a cell stays inside quotes.

    Cells with outer space are quoted too, because models put spaces after commas.
    """
    return ",".join([_quoted(cell) for cell in cells])


def _quoted(cell: str) -> str:
    plain = not any(mark in cell for mark in ',"\n\r') and cell == cell.strip()
    return cell if plain else '"' + cell.replace('"', '""') + '"'


def csv_cells(record: str) -> list[str]:
    """Return the cells of one CSV record; none if it cannot be read as CSV at all."""
    try:
        return next(csv.reader([record], skipinitialspace=True), [])
    except csv.Error:
        return []


def plain_number(text: str) -> str | None:
    """Return the digits of one number that has separators, a currency or one unit, or None.

    A unit that is a factor ("5k", "2 hundred") is none, nor is a word between numbers ("3 to").
    """
    text = text.replace("\u2212", "-").strip()
    found = _NUMBER.fullmatch(text)
    if found is None or not _is_unit(found["unit"] or ""):
        return None
    return found["sign"].replace("+", "") + re.sub(r"[,'\u00a0\u202f]", "", found["digits"])


def _is_unit(text: str) -> bool:
    words = [word for word in re.split(r"[/·]", text.rstrip(".")) if word]
    # Regular expressions take "½" for a letter.
    is_spelt = all(word.strip("°%²³^23").isalpha() for word in words)
    return is_spelt and not any(w.casefold() in _NO_UNITS or _FACTOR.fullmatch(w) for w in words)


class CellError(Exception):
    """A cell is no value of its column; the parser turns it into a reject.

    Attributes:
        reason: Why, as a reject names it.
    """

    def __init__(self, reason: CellReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CellReader:
    """Reads the cells of one column."""

    def __init__(self, column: Column, codes: Codes, *, is_target: bool = False) -> None:
        """Prepare a column.

        Args:
            column: The column with its real categories.
            codes: What stands for them in replies.
            is_target: Whether an unknown value is an unknown class.
        """
        self._column = column
        self._is_category = column.kind in ("categorical", "boolean")
        self._unknown: CellReason = "out_of_class" if is_target else _UNKNOWN[column.kind]
        # Missing words are told from unknown ones by a twin that may be empty.
        self._twin = replace(codes.coded(column), has_missing=True)
        self._values = {codes.encode(column.name, c): c for c in column.categories}
        self._limit = _LARGEST_INTEGER if column.decimals == 0 else _LARGEST_FLOAT
        self._loose = _unique({_squeezed(code): value for code, value in self._values.items()},
                              [_squeezed(code) for code in self._values])  # fmt: skip

    def read(self, text: str) -> float | str | None:
        """Return the canonical value of a cell's text.

        Raises:
            CellError: If it is none, or missing where real rows never are.
        """
        if (exact := self._values.get(text)) is not None:
            return exact
        value: float | str | None
        if self._is_category:
            value = self._read_category(text)
        else:
            value = self._read_number(text)
            if value is not None and not -self._limit < value < self._limit:
                raise CellError(
                    self._unknown, f"column {self._column.name!r}: {text!r} is too large to store"
                )
        if value is None and not self._column.has_missing:
            raise CellError("missing_value", f"{self._column.name!r} is never empty in real rows")
        return value

    def _read_category(self, text: str) -> str | None:
        cleaned = text.strip(_ORNAMENTS)
        if (loose := self._loose.get(_squeezed(cleaned))) is not None:
            return loose
        try:
            shown = self._twin.decode(cleaned)
        except DataError as error:
            raise CellError(self._unknown, str(error)) from error
        return None if shown is None else self._values[str(shown)]

    def _read_number(self, text: str) -> float | None:
        try:
            return self._twin.decode(text)  # type: ignore[return-value]  # numbers are floats
        except DataError as error:
            cleaned = text.strip(_ORNAMENTS)
            number = plain_number(cleaned) if self._column.kind == "numerical" else cleaned
            if number is None or number == text:
                raise CellError(self._unknown, str(error)) from error
        return self._read_number(number)

    def accepts(self, text: str) -> bool:
        """Return whether a cell's text is a value of the column."""
        try:
            self.read(text)
        except CellError:
            return False
        return True


_UNKNOWN: dict[str, CellReason] = {
    "numerical": "not_a_number",
    "datetime": "not_a_date",
    "categorical": "unknown_category",
    "boolean": "unknown_category",
}


def _squeezed(text: str) -> str:
    return " ".join(text.split()).casefold()


def _unique(values: dict[str, str], keys: list[str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if keys.count(key) == 1}
