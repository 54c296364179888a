"""The sentences in which relations and rules are written, so that they can be read back."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from rddg_ray.llm.embedded.columns import JSON_STRING, NUMBER

_RANGE = re.compile(
    rf"(?:All classes|Class \S+ \((?P<value>{JSON_STRING})\)): (?P<name>{JSON_STRING}) "
    r"is between (?P<low>.+?) and (?P<high>.+?)(?=, mean |\.\s|\.?$)"
)
_FORMULA = re.compile(
    rf"(?P<output>{JSON_STRING}) = (?P<left>{JSON_STRING}) (?P<operator>[-+*/]) "
    rf"(?P<right>{JSON_STRING}) \(within (?P<tolerance>{NUMBER})"
)
_IMPLICATION = re.compile(
    rf"If (?P<name>{JSON_STRING}) is (?P<value>{JSON_STRING}) then "
    rf'(?P<other>{JSON_STRING}) is (?P<fixed>{JSON_STRING}|[^\s"(]+?)(?=\.?(?:\s|$))'
)


@dataclass(frozen=True, slots=True)
class Range:
    """A numeric column's range, as cell text, in one class (its target value) or in all."""

    value: str | None
    name: str
    low: str
    high: str

    def sentence(self, letter: str = "?") -> str:
        """Return the rule in words, without a full stop."""
        scope = "All classes" if self.value is None else f"Class {letter} ({quoted(self.value)})"
        return f"{scope}: {quoted(self.name)} is between {self.low} and {self.high}"


@dataclass(frozen=True, slots=True)
class Formula:
    """A column that follows from two others: `output = left operator right`."""

    output: str
    left: str
    operator: str
    right: str
    tolerance: float

    def sentence(self, note: str = "") -> str:
        """Return the rule in words; `note` is put behind the tolerance."""
        sides = f"{quoted(self.output)} = {quoted(self.left)} {self.operator} {quoted(self.right)}"
        return f"{sides} (within {self.tolerance:g}{note})"


@dataclass(frozen=True, slots=True)
class Implication:
    """A category that fixes another column: a category (text), or a number's cell text."""

    name: str
    value: str
    other: str
    fixed: str
    is_number: bool

    def sentence(self) -> str:
        """Return the rule in words, without a full stop."""
        fixed = self.fixed if self.is_number else quoted(self.fixed)
        return (
            f"If {quoted(self.name)} is {quoted(self.value)} then {quoted(self.other)} is {fixed}"
        )


@dataclass(frozen=True, slots=True)
class Statements:
    """All that could be read from a text."""

    ranges: tuple[Range, ...] = ()
    formulas: tuple[Formula, ...] = ()
    implications: tuple[Implication, ...] = ()


def quoted(text: str) -> str:
    """Return the text as a JSON string: one line, and unmistakable where it ends."""
    return json.dumps(text, ensure_ascii=False)


def read_statements(text: str) -> Statements:
    """Return the sentences of the kinds above in a text; all others are passed over."""
    ranges, formulas, implications = [], [], []
    for line in text.split("\n"):
        if (match := _RANGE.search(line)) is not None:
            value = None if match["value"] is None else _text(match["value"])
            ranges.append(Range(value, _text(match["name"]), match["low"], match["high"]))
        elif (match := _FORMULA.search(line)) is not None:
            sides = (_text(match["output"]), _text(match["left"]), match["operator"])
            formulas.append(Formula(*sides, _text(match["right"]), float(match["tolerance"])))
        elif (match := _IMPLICATION.search(line)) is not None:
            implications.append(_implication(match))
    return Statements(tuple(ranges), tuple(formulas), tuple(implications))


def _implication(match: re.Match[str]) -> Implication:
    is_number = not match["fixed"].startswith('"')
    fixed = match["fixed"] if is_number else _text(match["fixed"])
    names = (_text(match["name"]), _text(match["value"]), _text(match["other"]))
    return Implication(*names, fixed, is_number)


def _text(literal: str) -> str:
    try:
        return str(json.loads(literal))
    except ValueError:  # quotes a language model wrote with a stray escape
        return literal[1:-1]
