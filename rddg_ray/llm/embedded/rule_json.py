"""The rules of an answer once more, in the JSON that the prompt asks for."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from rddg_ray.llm.embedded.columns import PromptColumn
from rddg_ray.llm.embedded.reading import Reading
from rddg_ray.llm.embedded.rules import table_ranges, widened
from rddg_ray.llm.embedded.statements import (
    Formula,
    Implication,
    Range,
    Statements,
    quoted,
    read_statements,
)

# Of the ranges by class, which a few rows show badly, the clearest few; of the rest all that
# an answer of some pages holds.
_MAX_CLASS_RANGES = 6
_MAX_TABLE_RANGES = 40
_ASKED = re.compile(r"\bblock of JSON\b")

Rule = dict[str, Any]


def asks_for_json(prompt: str) -> bool:
    """Return whether the task of a prompt on rules asks for a block of JSON too."""
    return _ASKED.search(prompt.rpartition("## Task")[2]) is not None


def rule_block(reading: Reading) -> str:
    """Return the rules that can be read from the analysis as a fenced block of JSON."""
    statements = read_statements(reading.relations)
    columns = {column.name: column for column in reading.columns}
    rules = [
        *[_formula(formula, statements) for formula in statements.formulas],
        *[_implication(implication, columns) for implication in statements.implications],
        *_ranges(statements, reading, columns),
    ]
    lines = ",\n ".join(json.dumps(rule, ensure_ascii=False) for rule in rules)
    return f"```json\n[{lines}]\n```\n"


def _formula(formula: Formula, statements: Statements) -> Rule:
    text = f"{quoted(formula.left)} {formula.operator} {quoted(formula.right)}"
    parts = (formula.output, formula.left, formula.right)
    # A category that fixes one of the numbers stands for a filled-in cell.
    filled = [{"column": i.name, "not": i.value} for i in statements.implications
              if i.is_number and i.other in parts]  # fmt: skip
    rule = {"type": "formula", "column": formula.output, "formula": text,
            "within": formula.tolerance}  # fmt: skip
    return rule | {"when": filled} if filled else rule


def _implication(implication: Implication, columns: dict[str, PromptColumn]) -> Rule:
    fixed: object = implication.fixed
    if implication.is_number:
        fixed = _bound(columns.get(implication.other), implication.fixed)
    said = {"missing": True} if fixed == "" else {"is": fixed}
    return {"type": "implication",
            "when": [{"column": implication.name, "is": implication.value}],
            "then": [{"column": implication.other, **said}]}  # fmt: skip


def _ranges(
    statements: Statements, reading: Reading, columns: dict[str, PromptColumn]
) -> list[Rule]:
    told = [wider for found in statements.ranges[:_MAX_CLASS_RANGES]
            if (wider := widened(found, columns.get(found.name))) is not None]  # fmt: skip
    target = reading.columns[0].name if reading.columns else ""
    rules = []
    for found in (*told, *table_ranges(reading.columns)[:_MAX_TABLE_RANGES]):
        rule = _range(found, columns.get(found.name))
        if found.value is not None:
            rule["when"] = [{"column": target, "is": found.value}]
        rules.append(rule)
    return rules


def _range(found: Range, column: PromptColumn | None) -> Rule:
    low, high = _bound(column, found.low), _bound(column, found.high)
    return {"type": "range", "column": found.name, "low": low, "high": high}


def _bound(column: PromptColumn | None, text: str) -> float | str:
    """Return a number as one, a date as its text."""
    number = column.number(text) if column is not None and column.kind == "number" else math.nan
    return text if math.isnan(number) else number
