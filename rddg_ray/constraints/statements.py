"""Conditions and consequences: statements about single cells, as a rule writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from rddg_ray.constraints.cells import NUMBERS
from rddg_ray.constraints.predicates import Predicate, Relation
from rddg_ray.constraints.spoken import RELATION_NAMES, near
from rddg_ray.constraints.values import ColumnReader, RuleError, shown
from rddg_ray.schema import Column

MAX_PREDICATES = 12
_NAMES = ("column", "column_name", "field")


class StatementReader(ColumnReader):
    """Reads statements such as `{"column": "age", "at_least": 18}` and `{"class": "A"}`."""

    def statements(self, said: object, key: str) -> tuple[Predicate, ...]:
        """Return the statements of a list, of an object or of one alone.

        Raises:
            RuleError: If one is none.
        """
        items = list(said) if isinstance(said, list | tuple) else [said]
        found: list[Predicate] = []
        for item in items:
            if not isinstance(item, Mapping):
                raise RuleError(f"{key} = {shown(item)}: expected an object such as "
                                '{"column": ..., "is": ...}', key)  # fmt: skip
            found += self._of_object(item, key)
        if not found or len(found) > MAX_PREDICATES:
            raise RuleError(f"{key} holds {len(found)} statements; 1 to {MAX_PREDICATES} are "
                            "needed", key)  # fmt: skip
        return tuple(dict.fromkeys(found))

    def _of_object(self, item: Mapping[str, Any], key: str) -> list[Predicate]:
        name = next((item[k] for k in _NAMES if k in item), None)
        if name is None:
            # {"sex": "F", "class": "sick"}: each key a column and its value.
            if not item:
                raise RuleError(f"{key} holds an empty statement", key)
            return [self._equality(column, value, key) for column, value in item.items()]
        column = self.column(name, f"{key}: column")
        rest = {str(k): v for k, v in item.items() if k not in _NAMES}
        words = rest.pop("op", rest.pop("operator", rest.pop("relation", None)))
        if words is not None:
            value = rest.pop("value", rest.pop("values", None))
            rest = {str(words): value, **rest}
        found = [self._statement(column, word, value, key) for word, value in rest.items()
                 if self._is_relation(word, key)]  # fmt: skip
        if not found:
            raise RuleError(f"{key}: nothing is said of column {column.name!r}", key)
        return found

    def _equality(self, name: str, said: object, key: str) -> Predicate:
        column = self._columns.get(self._target) if name == "class" else None
        column = self._columns.get(name) or column or self.column(name, f"{key}: column")
        if said is None:
            return Predicate(column.name, "missing")
        return self._statement(column, "is", said, key)

    def _is_relation(self, word: str, key: str) -> bool:
        if word.strip().casefold() in RELATION_NAMES:
            return True
        if self._is_strict:
            known = [
                "is",
                "in",
                "not",
                "not_in",
                "above",
                "at_least",
                "below",
                "at_most",
                "missing",
            ]
            raise RuleError(f"{key}: {word!r} is no relation{near(word, known)}", key)
        return False

    def _statement(self, column: Column, word: str, said: object, key: str) -> Predicate:
        relation = RELATION_NAMES[word.strip().casefold()]
        where = f"{key}: {column.name!r} {word}"
        if relation == "missing":
            is_missing = said is not False and str(said).casefold() not in ("false", "no")
            return Predicate(column.name, "missing" if is_missing else "known")
        if said is None and relation in ("in", "not_in"):
            return Predicate(column.name, "missing" if relation == "in" else "known")
        if relation in ("in", "not_in"):
            values = self.values(column, said, where)
            if None in values:
                raise RuleError(f"{where} = {shown(said)}: say 'missing' for an empty cell", key)
            return Predicate(column.name, cast("Relation", relation), values)
        if column.kind not in NUMBERS:
            raise RuleError(f"{where}: {column.name!r} is a {column.kind} column and has no "
                            "order", key)  # fmt: skip
        limit = self.bound(column, said, where)
        if limit is None:
            raise RuleError(f"{where} has no value", key)
        return Predicate(column.name, cast("Relation", relation), (limit,))
