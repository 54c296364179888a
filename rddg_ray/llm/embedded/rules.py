"""From an analysis in words to rules in words."""

from __future__ import annotations

import math

from rddg_ray.llm.embedded.columns import PromptColumn
from rddg_ray.llm.embedded.reading import Reading
from rddg_ray.llm.embedded.statements import Range, read_statements

# A few rows do not show a class's whole range: its rule is wider than what they span.
_WIDENING = 0.1


def rule_lines(reading: Reading) -> list[str]:
    """Return a rule for each relation that can be read, and the table's ranges where none can.

    Args:
        reading: A constraints prompt: the analysis, and the table section for the columns.
    """
    statements = read_statements(reading.relations)
    columns = {column.name: column for column in reading.columns}
    letters = {value: letter for letter, value in reading.classes.items()}
    lines = [
        f"{wider.sentence(letters.get(wider.value or '', '?'))}."
        for rule in statements.ranges
        if (wider := widened(rule, columns.get(rule.name))) is not None
    ]
    lines += [f"{formula.sentence()}." for formula in statements.formulas]
    lines += [f"{implication.sentence()}." for implication in statements.implications]
    if not statements.ranges:
        lines += [f"{rule.sentence()}." for rule in table_ranges(reading.columns)]
    return lines


def widened(rule: Range, column: PromptColumn | None) -> Range | None:
    """Return a range wider than the few rows that showed it, or None where it holds no number."""
    if column is None or not column.is_numeric:
        return rule
    low, high = column.number(rule.low), column.number(rule.high)
    if math.isnan(low) or math.isnan(high):
        return None
    margin = _WIDENING * (high - low)
    low, high = max(low - margin, column.minimum), min(high + margin, column.maximum)
    return Range(rule.value, rule.name, column.cell(low), column.cell(high))


def table_ranges(columns: tuple[PromptColumn, ...]) -> list[Range]:
    """Return the ranges that the table section tells, one a column of numbers or dates."""
    return [
        Range(None, column.name, column.cell(column.minimum), column.cell(column.maximum))
        for column in columns
        if column.is_numeric and math.isfinite(column.minimum) and math.isfinite(column.maximum)
    ]
