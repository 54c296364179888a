"""Rules in words: one clear line each, for prompts, reports and errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rddg_ray.constraints.bodies import (
    Body,
    Combinations,
    Formula,
    Implication,
    Membership,
    Order,
    Range,
)
from rddg_ray.constraints.cells import NUMBERS, Value
from rddg_ray.constraints.predicates import Predicate
from rddg_ray.constraints.rule import Rule
from rddg_ray.constraints.verifying import Verdict
from rddg_ray.schema import Column
from rddg_ray.texts import quoted

Encode = Callable[[str, str], str]
"""What stands for a category's value, by column and value."""

_SIGNS = {"<": "below", "<=": "at most", ">": "above", ">=": "at least"}
_MAX_COMBINATIONS = 12
_WHY = {
    "violated": "real rows break it",
    "too_rare": "too few real rows speak for it",
    "never_met": "no real row meets its condition",
    "trivial": "no row could break it",
    "too_costly": "with the other rules it would refuse too many real rows",
    "repeated": "an earlier rule says the same",
    "kept": "kept",
}


class RuleWords:
    """Writes rules about one table."""

    def __init__(self, columns: Sequence[Column], encode: Encode | None = None) -> None:
        """Prepare a table.

        Args:
            columns: Its columns, the target first.
            encode: What stands for category values; themselves by default.
        """
        self._columns: Mapping[str, Column] = {column.name: column for column in columns}
        self._encode = encode
        self._target = columns[0].name

    def rule(self, rule: Rule) -> str:
        """Return the rule as a sentence without its full stop."""
        said = self._body(rule.body)
        if not rule.when:
            return said
        condition = " and ".join(self._predicate(predicate) for predicate in rule.when)
        return f"Where {condition}: {said}"

    def verified(self, verdict: Verdict) -> str:
        """Return the rule with the share of real rows that keep it."""
        return f"{self.rule(verdict.rule)} ({holds_in(verdict)})"

    def dropped(self, verdict: Verdict) -> str:
        """Return the rule with the reason why it is not used, and its figure."""
        return f"{self.rule(verdict.rule)} ({why_dropped(verdict, self._class)})"

    def _class(self, label: str) -> str:
        return self._encode(self._target, label) if self._encode is not None else label

    def broken(self, rule: Rule, row: Mapping[str, Value]) -> str:
        """Return the rule and the cells of a row that break it."""
        cells = ", ".join(f"{quoted(name)} is {self._value(name, row.get(name))}"
                          for name in rule.columns)  # fmt: skip
        return f"rule {rule.name!r}: {self.rule(rule)}; here {cells}"

    def _body(self, body: Body) -> str:
        if isinstance(body, Range):
            return self._range(body)
        if isinstance(body, Membership):
            return f"{quoted(body.column)} is {self._choice(body.column, body.values)}"
        if isinstance(body, Implication):
            return " and ".join(self._predicate(predicate) for predicate in body.then)
        if isinstance(body, Order):
            return (" < " if body.strict else " <= ").join(map(quoted, body.columns))
        if isinstance(body, Formula):
            return f"{quoted(body.column)} = {body.expression} ({self._within(body)})"
        return self._combinations(body)

    def _range(self, body: Range) -> str:
        name = quoted(body.column)
        low, high = self._value(body.column, body.low), self._value(body.column, body.high)
        if body.low is not None and body.high is not None:
            strictly = "strictly " if body.strict else ""
            return f"{name} is {strictly}between {low} and {high}"
        if body.low is not None:
            return f"{name} is {'above' if body.strict else 'at least'} {low}"
        return f"{name} is {'below' if body.strict else 'at most'} {high}"

    def _within(self, body: Formula) -> str:
        column = self._columns[body.column]
        parts = []
        if body.within or not body.within_relative:
            days = " days" if column.kind == "datetime" else ""
            parts.append(f"within {_figure(body.within)}{days}")
        if body.within_relative:
            parts.append(f"within {_figure(100 * body.within_relative)}%")
        return " or ".join(parts)

    def _combinations(self, body: Combinations) -> str:
        names = " and ".join(map(quoted, body.columns))
        shown = [" with ".join(self._value(name, value)
                               for name, value in zip(body.columns, row, strict=True))
                 for row in body.allowed[:_MAX_COMBINATIONS]]  # fmt: skip
        more = len(body.allowed) - len(shown)
        listed = "; ".join(shown) + (f"; and {more} more, as real rows show" if more > 0 else "")
        return f"{names} come together only as {listed}"

    def _predicate(self, predicate: Predicate) -> str:
        name = quoted(predicate.column)
        if predicate.relation == "missing":
            return f"{name} is empty"
        if predicate.relation == "known":
            return f"{name} is not empty"
        if predicate.relation == "in":
            return f"{name} is {self._choice(predicate.column, predicate.values)}"
        if predicate.relation == "not_in":
            return f"{name} is not {self._choice(predicate.column, predicate.values)}"
        limit = self._value(predicate.column, predicate.values[0])
        return f"{name} is {_SIGNS[predicate.relation]} {limit}"

    def _choice(self, name: str, values: Sequence[Value]) -> str:
        shown = [self._value(name, value) for value in values]
        return shown[0] if len(shown) == 1 else "one of " + ", ".join(shown)

    def _value(self, name: str, value: Value) -> str:
        if value is None or value != value:  # noqa: PLR0124 - NaN, a missing number, is unequal to itself
            return "empty"
        column = self._columns[name]
        if column.kind == "numerical":
            return _figure(float(value))
        if column.kind in NUMBERS:
            return column.encode(value)
        encoded = self._encode(name, str(value)) if self._encode is not None else str(value)
        return quoted(encoded)


def holds_in(verdict: Verdict) -> str:
    """Return the share of real rows that keep a rule, in words."""
    kept = verdict.support - verdict.violations
    share = "all" if kept == verdict.support else f"{100 * kept / verdict.support:.1f}%"
    rows = "row" if verdict.support == 1 else "rows"
    return f"holds in {share} of {verdict.support:,} real {rows}"


def why_dropped(verdict: Verdict, encode: Callable[[str], str] | None = None) -> str:
    """Return why a rule is not used, with its figure, in words.

    Args:
        verdict: What the real rows say of it.
        encode: What stands for a class; itself by default.
    """
    why = _WHY[verdict.decision]
    if verdict.decision == "violated":
        label, support, violations = verdict.by_class or ("", verdict.support, verdict.violations)
        of_class = f" of class {quoted(encode(label) if encode else label)}" if label else ""
        return f"{why}: {violations:,} of {support:,}{of_class} ({100 * violations / support:.1f}%)"
    if verdict.decision == "too_costly":
        return f"{why}: {verdict.violations:,} of {verdict.support:,} break it"
    if verdict.decision == "too_rare":
        return (f"{why}: {verdict.violations} of {verdict.support} break it, so that up to "
                f"{100 * verdict.bound:.0f}% may")  # fmt: skip
    return why


def _figure(value: float) -> str:
    """Return a number with all its digits and no zeros at its end."""
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    text = f"{value:.15g}"
    text = text if float(text) == value else repr(value)
    return np.format_float_positional(float(text), trim="-") if "e" in text else text
