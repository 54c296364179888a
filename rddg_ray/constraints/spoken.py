"""The words in which rules are written: kinds and keys, and the other names they go by."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

Kind = str

KINDS: tuple[Kind, ...] = (
    "range", "membership", "implication", "order", "formula", "combinations",
)  # fmt: skip

# Names that SDV's constraints have, and words that models use.
_KIND_NAMES: dict[str, Kind] = {
    "range": "range",
    "scalarrange": "range",
    "scalarinequality": "range",
    "bounds": "range",
    "interval": "range",
    "between": "range",
    "positive": "range",
    "negative": "range",
    "membership": "membership",
    "isin": "membership",
    "enum": "membership",
    "allowedvalues": "membership",
    "values": "membership",
    "categories": "membership",
    "implication": "implication",
    "implies": "implication",
    "conditional": "implication",
    "ifthen": "implication",
    "dependency": "implication",
    "fixed": "implication",
    "order": "order",
    "inequality": "order",
    "comparison": "order",
    "formula": "formula",
    "equation": "formula",
    "expression": "formula",
    "fixedcombinations": "combinations",
    "combinations": "combinations",
}

# The first name is the one this package uses.
_KEYS: dict[str, tuple[str, ...]] = {
    "type": ("type", "kind", "rule_type", "constraint", "constraint_class"),
    "name": ("name", "id", "title"),
    "column": ("column", "column_name", "field", "output", "target_column"),
    "columns": ("columns", "column_names"),
    "low": ("low", "min", "minimum", "lower", "from", "low_value", "ge"),
    "high": ("high", "max", "maximum", "upper", "to", "high_value", "le"),
    "strict": ("strict", "strict_boundaries", "exclusive"),
    "values": ("values", "allowed", "allowed_values", "one_of", "in"),
    "when": ("when", "if", "condition", "conditions", "where", "given"),
    "then": ("then", "implies", "consequence"),
    "formula": ("formula", "expression", "expr", "equals", "equation"),
    "within": ("within", "abs_tolerance", "absolute_tolerance", "margin"),
    "within_relative": ("within_relative", "rel_tolerance", "relative_tolerance"),
    "combinations": ("combinations", "allowed_combinations"),
    "low_column": ("low_column", "low_column_name"),
    "middle_column": ("middle_column", "middle_column_name"),
    "high_column": ("high_column", "high_column_name"),
    "relation": ("relation", "operator", "op"),
    "value": ("value",),
    "on_violation": ("on_violation", "action"),
    "tolerance": ("tolerance",),
    "comment": ("comment", "note", "description", "reason", "explanation", "text"),
}
_NAME_OF = {other: key for key, others in _KEYS.items() for other in others}

_EVERYWHERE = frozenset({"type", "name", "when", "on_violation", "tolerance", "comment"})
KEYS_OF: dict[Kind, frozenset[str]] = {
    "range": _EVERYWHERE | {"column", "low", "high", "strict", "relation", "value"},
    "membership": _EVERYWHERE | {"column", "values"},
    "implication": _EVERYWHERE | {"then"},
    "order": _EVERYWHERE | {"columns", "strict", "low_column", "middle_column", "high_column"},
    "formula": _EVERYWHERE | {"column", "formula", "within", "within_relative"},
    "combinations": _EVERYWHERE | {"columns", "combinations"},
}
"""Keys of a rule of each kind."""

# How a statement about a cell is written: the key (or the value of `relation`) and its meaning.
RELATION_NAMES: dict[str, str] = {
    "is": "in", "in": "in", "equals": "in", "equal": "in", "eq": "in", "==": "in", "=": "in",
    "value": "in", "values": "in", "one_of": "in", "is_in": "in",
    "not": "not_in", "is_not": "not_in", "not_in": "not_in", "ne": "not_in", "!=": "not_in",
    "<>": "not_in", "not_equals": "not_in",
    "above": ">", "greater_than": ">", "more_than": ">", "gt": ">", ">": ">",
    "at_least": ">=", "min": ">=", "ge": ">=", "gte": ">=", ">=": ">=", "\u2265": ">=",
    "low": ">=",
    "below": "<", "less_than": "<", "lt": "<", "<": "<",
    "at_most": "<=", "max": "<=", "le": "<=", "lte": "<=", "<=": "<=", "\u2264": "<=",
    "high": "<=",
    "missing": "missing", "is_missing": "missing", "is_null": "missing",
}  # fmt: skip


def kind_of(said: str) -> Kind | None:
    """Return the kind of rule that a name means, or None."""
    return _KIND_NAMES.get("".join(filter(str.isalnum, said)).casefold())


def spoken_kind(said: str) -> str:
    """Return the letters of a kind's name, by which SDV's variants are told apart."""
    return "".join(filter(str.isalnum, said)).casefold()


def renamed(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule's keys by the names this package uses; unknown ones stay as they are."""
    # SDV's files hold the parameters in an object of their own.
    parameters = item.get("constraint_parameters", item.get("parameters"))
    flat = {key: value for key, value in item.items()
            if key not in ("constraint_parameters", "parameters")}  # fmt: skip
    if isinstance(parameters, Mapping):
        flat |= parameters
    return {_NAME_OF.get(str(key).strip().casefold(), str(key)): value
            for key, value in flat.items()}  # fmt: skip


def near(name: str, names: Collection[str]) -> str:
    """Return a hint at the name that was perhaps meant, or at all of a few names."""
    folded = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)
    if close:
        return "; did you mean " + " or ".join(repr(folded[word]) for word in close) + "?"
    return "; known: " + ", ".join(list(names)[:20]) if len(names) <= 20 else ""
