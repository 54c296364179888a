"""What a rule names: columns, and values of theirs, by what stands for them in prompts too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rddg_ray.constraints.cells import NUMBERS, Value
from rddg_ray.constraints.rule import Source
from rddg_ray.constraints.spoken import near
from rddg_ray.errors import DataError
from rddg_ray.schema import Column, parse_datetime

ReadValue = Callable[[Column, str], Value]
"""Reads a category's or a date's text; raises `DataError` where it is no value of the column."""

MAX_VALUES = 200
_MAX_SHOWN = 80
_DATE_FORMS = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")


class RuleError(Exception):
    """A rule cannot be used.

    Attributes:
        key: The key at fault, or the empty text.
    """

    def __init__(self, message: str = "", key: str = "") -> None:
        super().__init__(message)
        self.key = key


class ColumnReader:
    """Reads names and values of one table's columns.

    Of a user, names must be exact; of a model, case and signs do not count.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        source: Source = "model",
        read_value: ReadValue | None = None,
        letters: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare a table; see `GrammarReader`."""
        self._columns = {column.name: column for column in columns}
        self._target = columns[0].name
        self._source = source
        self._is_strict = source == "user"
        self._read_value = read_value or _plain_value
        self._letters = dict(letters or {})
        self._folded = _by_folded_name(list(self._columns))

    def column(self, name: object, key: str = "column") -> Column:
        """Return the column of this name.

        Raises:
            RuleError: If there is none.
        """
        text = str(name)
        found = self._columns.get(text)
        if found is None and not self._is_strict:
            if text.strip().casefold() in ("class", "target", "label"):
                return self._columns[self._folded.get(_folded(text), self._target)]
            found = self._columns.get(self._folded.get(_folded(text), ""))
        if found is None:
            hint = near(text, list(self._columns))
            raise RuleError(f"{key} = {shown(name)}: there is no such column{hint}", key)
        return found

    def number_column(self, name: object, key: str = "column") -> Column:
        """Return the numerical or datetime column of this name; see `column`."""
        column = self.column(name, key)
        if column.kind not in NUMBERS:
            raise RuleError(
                f"{key} = {column.name!r} is a {column.kind} column; numbers or dates are needed",
                key,
            )
        return column

    def value(self, column: Column, said: object, key: str) -> Value:
        """Return the canonical value that is meant for a column; None for a missing cell.

        Raises:
            RuleError: If it is no value of the column.
        """
        if said is None:
            return None
        if column.kind == "numerical":
            found = number(said)
            if found is None:
                raise RuleError(f"{key} = {shown(said)} is no number, as column "
                                f"{column.name!r} needs", key)  # fmt: skip
            return found
        if isinstance(said, Mapping | list | tuple):
            raise RuleError(f"{key} = {shown(said)} is no single value", key)
        try:
            return self._text_value(column, _text(said))
        except DataError as error:
            values = list(column.categories[:10])
            known = f"; values: {values}" if values and self._is_strict else ""
            raise RuleError(
                f"{key} = {shown(said)} is no value of column {column.name!r}{known}", key
            ) from error

    def _text_value(self, column: Column, text: str) -> Value:
        try:
            return self._read_value(column, text)
        except DataError:
            if column.name == self._target and text.strip(" .:") in self._letters:
                return self._letters[text.strip(" .:")]
            if column.kind == "datetime":
                return _date(text)
            if (found := column.match(text)) is not None and column.name != self._target:
                return found
            raise

    def bound(self, column: Column, said: object, key: str) -> float | None:
        """Return a bound of a range; None for none."""
        value = self.value(column, said, key)
        return None if value is None else float(value)

    def values(self, column: Column, said: object, key: str) -> tuple[Value, ...]:
        """Return the values of a list, each once."""
        items = list(said) if isinstance(said, list | tuple) else [said]
        if not items or len(items) > MAX_VALUES:
            raise RuleError(f"{key} holds {len(items)} values; 1 to {MAX_VALUES} are needed", key)
        return tuple(dict.fromkeys(self.value(column, item, key) for item in items))


def number(said: object) -> float | None:
    """Return the finite number that JSON or YAML gives, or None."""
    if isinstance(said, bool) or not isinstance(said, int | float | str):
        return None
    try:
        found = float(said)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _text(said: object) -> str:
    # JSON and YAML make these of categories that look like them.
    if isinstance(said, bool):
        return str(said).lower()
    return str(said)


def _plain_value(column: Column, text: str) -> Value:
    if column.kind == "datetime":
        return column.decode(text)
    found = column.match(text)
    if found is None:
        raise DataError(f"column {column.name!r}: {text!r} is not one of its categories")
    return found


def _date(text: str) -> float:
    for form in _DATE_FORMS:
        if (seconds := parse_datetime(text, form)) is not None:
            return seconds
    raise DataError(f"{text!r} is no date")


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()


def _by_folded_name(names: list[str]) -> dict[str, str]:
    folded = [_folded(name) for name in names]
    return {key: name for key, name in zip(folded, names, strict=True)
            if key and folded.count(key) == 1}  # fmt: skip


def needed(said: Mapping[str, Any], key: str) -> Any:
    """Return the value of a key that a rule must have."""
    if said.get(key) is None:
        raise RuleError(f"there is no {key!r}", key)
    return said[key]


def shown(said: object) -> str:
    """Return a value as errors show it."""
    text = repr(said)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
