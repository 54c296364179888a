"""Cells that make a row keep a rule, where it says what they should be."""

from __future__ import annotations

import math
from collections.abc import Callable

from rddg_ray.constraints.bodies import DAY_S, Body, Formula, Implication, Range
from rddg_ray.constraints.cells import Cells, Value

_MAX_DECIMALS = 15
_MAX_EXACT = 2.0**53


def repaired(body: Body, cells: Cells) -> dict[str, Value] | None:
    """Return the cells that make the first row keep the demand, or None where none are sure.

    Args:
        body: What is demanded: a range is clipped to, a formula computed, single values of an
            implication are written.
        cells: At least one row.
    """
    if isinstance(body, Range):
        value = _clipped(body, cells)
        return None if value is None else {body.column: value}
    if isinstance(body, Formula):
        days = float(body.expected(cells)[0])
        if math.isnan(days):
            return None
        column = cells.columns[body.column]
        number = days * DAY_S if column.kind == "datetime" else days
        return {body.column: round(number, column.decimals) + 0.0}
    if isinstance(body, Implication) and is_repairable(body):
        return {p.column: p.values[0] if p.values else None for p in body.then}
    return None


def is_repairable(body: Body) -> bool:
    """Return whether what a row should be follows from the demand."""
    if isinstance(body, Implication):
        singles = [p.relation == "missing" or (p.relation == "in" and len(p.values) == 1)
                   for p in body.then]  # fmt: skip
        return all(singles)
    return isinstance(body, Range | Formula)


def _clipped(body: Range, cells: Cells) -> float | None:
    """Return the nearest value inside the bounds that the column's decimals can write."""
    value = float(cells.numbers(body.column)[0])
    decimals = cells.columns[body.column].decimals
    step = 10.0**-decimals
    for bound, inward, up in ((body.low, step, math.ceil), (body.high, -step, math.floor)):
        if bound is None:
            continue
        # A bound with more digits than the column is rounded to the inside.
        limit = _on_grid(bound, decimals, up)
        if body.strict and limit == bound:
            limit = round(bound + inward, decimals)
        is_outside = value < limit if inward > 0 else value > limit
        value = limit if is_outside else value
    is_inside = body.holds(_one_number(cells, body.column, value))[0]
    return value + 0.0 if is_inside else None


def _on_grid(bound: float, decimals: int, up: Callable[[float], int]) -> float:
    # No float has more exact digits than these, so there is nothing to round to.
    if decimals > _MAX_DECIMALS or abs(bound) > _MAX_EXACT:
        return bound
    nearest = round(bound, decimals)
    if math.isclose(nearest, bound, rel_tol=1e-12, abs_tol=0.0):
        return nearest
    return round(up(bound * 10.0**decimals) / 10.0**decimals, decimals)


def _one_number(cells: Cells, name: str, value: float) -> Cells:
    return Cells(cells.columns, 1, lambda _: [value])
