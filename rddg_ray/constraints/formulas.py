"""Formulas as a rule writes them: what they compute, from what, and how closely."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rddg_ray.constraints.bodies import Formula
from rddg_ray.constraints.expressions import Expression
from rddg_ray.constraints.formula_text import ExpressionError, parse
from rddg_ray.constraints.spoken import near
from rddg_ray.constraints.statements import StatementReader
from rddg_ray.constraints.values import RuleError, needed, number, shown
from rddg_ray.schema import Column

# What a formula's rule allows where it does not say: rounding of the cells it is computed from.
_WITHIN_RELATIVE = 0.01


class FormulaReader(StatementReader):
    r"""Reads formulas such as `"\"width\" * \"height\""`, or `area = width * height`."""

    def formula(self, said: Mapping[str, Any]) -> Formula:
        """Return the formula of a rule's keys; raises `RuleError`."""
        text, name = str(needed(said, "formula")), said.get("column")
        left, sign, right = _sides(text)
        if sign:
            name, text = name if name is not None else left, right
        if name is None:
            raise RuleError("a formula needs 'column', which it computes", "column")
        column = self.number_column(name, "column")
        expression = self._expression(text)
        for part in expression.columns:
            self.number_column(part, "formula")
        if column.name in expression.columns:
            raise RuleError(f"formula = {text!r} computes {column.name!r} from itself", "formula")
        return Formula(column.name, expression, *self._within(said, column))

    def _expression(self, text: str) -> Expression:
        names = list(self._columns)
        try:
            return parse(text, names)
        except ExpressionError as error:
            raise RuleError(f"formula = {shown(text)}: {error}{_near_word(str(error), names)}",
                            "formula") from error  # fmt: skip

    def _within(self, said: Mapping[str, Any], column: Column) -> tuple[float, float]:
        given = dict(said)
        if not self._is_strict and "within" not in given and "tolerance" in given:
            given["within"] = given["tolerance"]
        if "within" not in given and "within_relative" not in given:
            # Dates count in days, so the column's unit is no step of theirs.
            step = 1.0 if column.kind == "datetime" else 10.0 ** -min(column.decimals, 15)
            return step, _WITHIN_RELATIVE
        absolute = _share(given, "within") or 0.0
        return absolute, _share(given, "within_relative") or 0.0


def _share(said: Mapping[str, Any], key: str) -> float | None:
    if said.get(key) is None:
        return None
    text = said[key]
    is_percent = isinstance(text, str) and text.strip().endswith("%")
    found = number(text.strip(" %\u00b1+-") if isinstance(text, str) else text)
    if found is None or found < 0:
        raise RuleError(f"{key} = {shown(said[key])} must be a number from 0", key)
    return found / 100 if is_percent else found


def _sides(text: str) -> tuple[str, str, str]:
    """Return the column before an equals sign, the sign and what follows; quotes hide signs."""
    quote = ""
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'`":
            quote = character
        elif character in "=\u2248":
            left = text[:at].strip().strip("\"'`")
            return left, "=", text[at + 1 :].lstrip("= ")
    return "", "", text


def _near_word(message: str, names: list[str]) -> str:
    if "there is no column" not in message:
        return ""
    return near(message.partition("'")[2].rstrip("'"), names)
