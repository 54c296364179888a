"""From a rule as it is written (a JSON object) to a rule that can be checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pandas as pd

from rddg_ray.constraints.bodies import (
    Body,
    Combinations,
    Implication,
    Membership,
    Order,
    Range,
)
from rddg_ray.constraints.cells import NUMBERS, Value
from rddg_ray.constraints.formulas import FormulaReader
from rddg_ray.constraints.repairing import is_repairable
from rddg_ray.constraints.rule import OnViolation, Rule, Source
from rddg_ray.constraints.spoken import (
    KEYS_OF,
    KINDS,
    RELATION_NAMES,
    Kind,
    kind_of,
    near,
    renamed,
    spoken_kind,
)
from rddg_ray.constraints.statements import MAX_PREDICATES
from rddg_ray.constraints.values import MAX_VALUES, ReadValue, RuleError, needed, number, shown
from rddg_ray.schema import Column

_MAX_NAME = 80


class GrammarReader(FormulaReader):
    """Reads rules about the columns of one table.

    Of a category that a rule names, either its value or what stands for it is understood; of the
    class, its letter too.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        frame: pd.DataFrame,
        *,
        source: Source = "model",
        read_value: ReadValue | None = None,
        letters: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare a table.

        Args:
            columns: The target and the features (`Table.prompt_columns`).
            frame: The real training rows, canonical: what `combinations` without a list allows.
            source: Who writes. Of a model, unknown keys are passed over and names in another
                case are understood; of a user, they are errors.
            read_value: How a text of a category or date is read; as the table's file has it by
                default.
            letters: Class by its letter in prompts.
        """
        super().__init__(columns, source=source, read_value=read_value, letters=letters)
        self._frame = frame

    def read(self, item: object, default_name: str) -> Rule:
        """Return the rule that an object writes.

        Args:
            item: The object as JSON or YAML gives it.
            default_name: Its name where it has none.

        Raises:
            RuleError: If it is none; the message names the key, the column and the value.
        """
        if not isinstance(item, Mapping):
            raise RuleError(f"a rule is an object with keys and values, not {shown(item)}")
        said = renamed(item)
        kind = self._kind(said)
        self._check_keys(said, kind)
        when = self.statements(said.get("when"), "when") if said.get("when") else ()
        body = _READERS[kind](self, said)
        on_violation = self._on_violation(said, body)
        name = " ".join(str(said.get("name") or default_name).split())[:_MAX_NAME]
        return Rule(name, body, when, on_violation=on_violation,
                    tolerance=self._tolerance(said, kind), source=self._source)  # fmt: skip

    def _kind(self, said: Mapping[str, Any]) -> Kind:
        if "type" not in said:
            if (kind := _kind_by_keys(said)) is not None and not self._is_strict:
                return kind
            raise RuleError(f"there is no 'type'; one of {', '.join(KINDS)}", "type")
        kind = kind_of(str(said["type"]))
        if kind == "range" and "low_column" in said:
            return "order"  # SDV's Range is about three columns
        # "range" with a formula and the like: the keys say more than the word.
        if kind is None and not self._is_strict:
            kind = _kind_by_keys(said)
        if kind is None:
            hint = near(str(said["type"]), KINDS)
            raise RuleError(f"type = {shown(said['type'])} is no kind of rule{hint}", "type")
        if kind == "implication" and "then" not in said and not self._is_strict:
            return _kind_by_keys(said) or kind
        return kind

    def _check_keys(self, said: Mapping[str, Any], kind: Kind) -> None:
        if not self._is_strict:
            return
        for key in said:
            if key not in KEYS_OF[kind]:
                hint = near(str(key), sorted(KEYS_OF[kind]))
                raise RuleError(
                    f"{key} = {shown(said[key])}: a rule of type {kind} has no such key{hint}",
                    str(key),
                )

    def _on_violation(self, said: Mapping[str, Any], body: Body) -> OnViolation:
        wanted = said.get("on_violation", "refuse")
        if wanted not in ("refuse", "repair"):
            if not self._is_strict:
                return "refuse"
            raise RuleError(
                f"on_violation = {shown(wanted)} must be 'refuse' or 'repair'", "on_violation"
            )
        if wanted == "repair" and not (is_repairable(body) and self._target not in _written(body)):
            if not self._is_strict:
                return "refuse"
            raise RuleError(
                "on_violation = 'repair' needs a range, a formula, or an implication that says "
                "which single value each column has, and never changes the class; use 'refuse'",
                "on_violation",
            )
        return cast("OnViolation", wanted)

    def _tolerance(self, said: Mapping[str, Any], kind: Kind) -> float | None:
        # A model does not decide how many real rows may contradict it.
        if not self._is_strict or said.get("tolerance") is None:
            return None
        share = number(said["tolerance"])
        if share is None or not 0 <= share < 1:
            raise RuleError(
                f"tolerance = {shown(said['tolerance'])} must be the share of real rows that may "
                "break the rule, from 0 to below 1", "tolerance"
            )  # fmt: skip
        if kind == "formula" and not {"within", "within_relative"} & said.keys():
            raise RuleError(
                f"tolerance = {share:g} is the share of real rows that may break the rule; give "
                "the difference a formula allows as 'within' or 'within_relative'", "tolerance"
            )  # fmt: skip
        return share

    def _range(self, said: Mapping[str, Any]) -> Range:
        column = self.number_column(needed(said, "column"), "column")
        word = spoken_kind(str(said.get("type", "")))
        low, high, strict = said.get("low"), said.get("high"), _is_true(said.get("strict"))
        if word in ("positive", "negative"):
            low, high = (0, None) if word == "positive" else (None, 0)
        elif "relation" in said:
            low, high, strict = self._one_sided(said)
        lower, upper = self.bound(column, low, "low"), self.bound(column, high, "high")
        if lower is None and upper is None:
            raise RuleError(f"range of {column.name!r} has neither 'low' nor 'high'", "low")
        if lower is not None and upper is not None and (
            lower > upper or (strict and lower == upper)
        ):  # fmt: skip
            raise RuleError(f"low = {shown(low)} is above high = {shown(high)} of column "
                            f"{column.name!r}", "low")  # fmt: skip
        return Range(column.name, lower, upper, strict)

    def _one_sided(self, said: Mapping[str, Any]) -> tuple[object, object, bool]:
        relation = RELATION_NAMES.get(str(said["relation"]).strip().casefold(), "")
        value = needed(said, "value")
        if relation in (">", ">="):
            return value, None, relation == ">"
        if relation in ("<", "<="):
            return None, value, relation == "<"
        raise RuleError(f"relation = {shown(said['relation'])} must be one of > >= < <=",
                        "relation")  # fmt: skip

    def _membership(self, said: Mapping[str, Any]) -> Membership:
        column = self.column(needed(said, "column"))
        values = self.values(column, needed(said, "values"), "values")
        # An empty cell breaks no list, so that saying it adds nothing.
        known = tuple([value for value in values if value is not None])
        if not known:
            raise RuleError(f"values of column {column.name!r} hold only an empty cell", "values")
        return Membership(column.name, known)

    def _implication(self, said: Mapping[str, Any]) -> Implication:
        if not said.get("when"):
            raise RuleError("an implication needs a condition 'when'", "when")
        return Implication(self.statements(needed(said, "then"), "then"))

    def _order(self, said: Mapping[str, Any]) -> Order:
        sides = [said[key] for key in ("low_column", "middle_column", "high_column") if key in said]
        names = sides or needed(said, "columns")
        if not isinstance(names, list | tuple) or not 2 <= len(names) <= MAX_PREDICATES:
            raise RuleError(f"columns = {shown(names)} must list 2 to {MAX_PREDICATES} columns",
                            "columns")  # fmt: skip
        columns = [self.number_column(name, "columns") for name in names]
        if len({column.kind for column in columns}) > 1:
            words = ", ".join(f"{column.name!r} ({column.kind})" for column in columns)
            raise RuleError(f"columns = {words}: numbers and dates have no common order", "columns")
        return Order(tuple([column.name for column in columns]), _is_true(said.get("strict")))

    def _combinations(self, said: Mapping[str, Any]) -> Combinations:
        names = needed(said, "columns")
        if not isinstance(names, list | tuple) or not 2 <= len(names) <= MAX_PREDICATES:
            raise RuleError(f"columns = {shown(names)} must list 2 to {MAX_PREDICATES} columns",
                            "columns")  # fmt: skip
        columns = [self.column(name, "columns") for name in names]
        for column in columns:
            if column.kind in NUMBERS:
                raise RuleError(f"columns = {column.name!r} is a {column.kind} column; "
                                "combinations are of categories", "columns")  # fmt: skip
        known = tuple([column.name for column in columns])
        if said.get("combinations") is None:
            return Combinations(known, self._seen(known), is_learned=True)
        return Combinations(known, self._listed(columns, said["combinations"]))

    def _seen(self, names: tuple[str, ...]) -> tuple[tuple[Value, ...], ...]:
        present = self._frame[list(names)].dropna().drop_duplicates()
        return tuple(sorted(tuple(map(str, row)) for row in present.to_numpy(dtype=object)))

    def _listed(self, columns: list[Column], said: object) -> tuple[tuple[Value, ...], ...]:
        rows = list(said) if isinstance(said, list | tuple) else []
        if not rows or len(rows) > MAX_VALUES:
            raise RuleError(f"combinations = {shown(said)} must list 1 to {MAX_VALUES} rows",
                            "combinations")  # fmt: skip
        found = []
        for row in rows:
            if not isinstance(row, list | tuple) or len(row) != len(columns):
                raise RuleError(f"combinations: {shown(row)} must have {len(columns)} values",
                                "combinations")  # fmt: skip
            found.append(tuple([self.value(column, cell, "combinations")
                                for column, cell in zip(columns, row, strict=True)]))  # fmt: skip
        return tuple(dict.fromkeys(found))


_READERS: dict[Kind, Callable[[GrammarReader, Mapping[str, Any]], Body]] = {
    "range": GrammarReader._range,
    "membership": GrammarReader._membership,
    "implication": GrammarReader._implication,
    "order": GrammarReader._order,
    "formula": GrammarReader.formula,
    "combinations": GrammarReader._combinations,
}


def _kind_by_keys(said: Mapping[str, Any]) -> Kind | None:
    for key, kind in (("then", "implication"), ("formula", "formula"), ("values", "membership"),
                      ("low", "range"), ("high", "range"), ("low_column", "order"),
                      ("combinations", "combinations")):  # fmt: skip
        if key in said:
            return kind
    return None


def _written(body: Body) -> tuple[str, ...]:
    """Return the columns that a repair of the demand would write."""
    return body.columns if isinstance(body, Implication) else body.columns[:1]


def _is_true(said: object) -> bool:
    return said is True or str(said).casefold() == "true"
