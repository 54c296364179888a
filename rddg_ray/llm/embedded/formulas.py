"""Columns that follow from two others: products, quotients, sums and differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from rddg_ray.llm.embedded.fitting import Bools, Floats, Layout, ShownRows
from rddg_ray.llm.embedded.statements import Formula

# 24 columns are 24 * 23 * 22 * 2 candidates, some tens of milliseconds; all are tried at once
# per output, so the time does not grow beyond that in wide tables.
_MAX_NUMBERS = 24
_MIN_ROWS = 8
_MAX_FORMULAS = 8
_MIN_SHARE = 0.6
_RELATIVE_TOLERANCE = 0.015

OPERATORS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "*": np.multiply,
    "/": np.divide,
    "+": np.add,
    "-": np.subtract,
}


def apply(operator: str, left: Floats, right: Floats) -> Floats:
    """Return `left operator right`, NaN where it is no finite number."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        values = OPERATORS[operator](left, right)
    return np.where(np.isfinite(values), values, np.nan)


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to write a relation, as positions among the number columns."""

    output: int
    left: int
    operator: str
    right: int

    @property
    def columns(self) -> frozenset[int]:
        return frozenset((self.output, self.left, self.right))

    def errors(self, numbers: Floats) -> Floats:
        """Return the absolute error in each row where all three are known."""
        values = apply(self.operator, numbers[:, self.left], numbers[:, self.right])
        errors = np.abs(values - numbers[:, self.output])
        return np.asarray(errors[~np.isnan(errors)], dtype=np.float64)


def find_formulas(layout: Layout, rows: ShownRows) -> list[tuple[Formula, str]]:
    """Return formulas that hold in most rows up to rounding, each with a note on how often.

    Of the forms of one relation (a = b * c, b = a / c, ...) the one is kept that meets the
    rounding of its output most often, and of equals that whose output stands last: computed
    columns usually follow what they are computed from.
    """
    numbers = np.where(rows.constants, np.nan, rows.numbers)
    steps = [10.0**-column.decimals for column in layout.numbers]
    best: dict[frozenset[int], tuple[tuple[float, int], _Form]] = {}
    for form in _fitting_forms(numbers):
        exact = float(np.mean(form.errors(numbers) <= 0.51 * steps[form.output]))
        rank = (round(exact, 2), form.output)
        if form.columns not in best or rank > best[form.columns][0]:
            best[form.columns] = (rank, form)
    ranked = sorted(best.values(), key=lambda item: item[0], reverse=True)[:_MAX_FORMULAS]
    return [_described(layout, numbers, form, steps[form.output]) for _, form in ranked]


def _fitting_forms(numbers: Floats) -> Iterator[_Form]:
    usable = _usable(numbers)
    for output in usable:
        others = [i for i in usable if i != output]
        for operator in OPERATORS:
            for left, right in _fitting_pairs(numbers, output, others, operator):
                yield _Form(output, left, operator, right)


def _usable(numbers: Floats) -> list[int]:
    """Return columns with enough distinct values for an agreement to mean something.

    A column that hardly varies agrees with anything near its mean, so it is left out too.
    """
    usable = []
    for i, column in enumerate(numbers.T):
        shown = column[~np.isnan(column)]
        if len(np.unique(shown)) >= _MIN_ROWS:
            spread = shown.std() / max(abs(float(shown.mean())), 1e-12)
            usable += [i] if spread > 4 * _RELATIVE_TOLERANCE else []
    return usable[:_MAX_NUMBERS]


def _fitting_pairs(
    numbers: Floats, output: int, others: list[int], operator: str
) -> list[tuple[int, int]]:
    # The order of the sides matters for quotients and differences only.
    pairs = list(combinations(others, 2) if operator in "*+" else permutations(others, 2))
    if not pairs:
        return []
    left, right = np.array(pairs).T
    values = apply(operator, numbers[:, left], numbers[:, right])
    target = numbers[:, [output]]
    known = ~np.isnan(values) & ~np.isnan(target)
    close = np.abs(values - target) <= _RELATIVE_TOLERANCE * np.maximum(np.abs(target), 1e-12)
    n_known = known.sum(axis=0)
    share = (close & known).sum(axis=0) / np.maximum(n_known, 1)
    good = (n_known >= _MIN_ROWS) & (share >= _MIN_SHARE)
    good &= _matters(values, numbers[:, left]) & _matters(values, numbers[:, right])
    return [pairs[i] for i in np.flatnonzero(good)]


def _matters(values: Floats, part: Floats) -> Bools:
    """Return for which pairs the value is not just one of its two parts."""
    differs: Bools = np.abs(values - part) > 3 * _RELATIVE_TOLERANCE * np.abs(values)
    return np.asarray(differs.mean(axis=0) > 0.5, dtype=np.bool_)


def _described(layout: Layout, numbers: Floats, form: _Form, step: float) -> tuple[Formula, str]:
    errors = form.errors(numbers)
    scale = float(np.nanmax(np.abs(numbers[:, form.output])))
    usual = errors[errors <= _RELATIVE_TOLERANCE * scale]
    tolerance = max(step, float(np.ceil(np.quantile(usual, 0.95) / step) * step))
    output, left, right = (layout.numbers[i].name for i in (form.output, form.left, form.right))
    formula = Formula(output, left, form.operator, right, round(tolerance, 12))
    return formula, f", in {int(np.sum(errors <= tolerance))} of {len(numbers)} rows"
