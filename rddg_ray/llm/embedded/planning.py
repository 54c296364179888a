"""From rules, feedback and settings to what the sampler of a class changes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rddg_ray.config import EmbeddedSettings
from rddg_ray.llm.embedded.changes import Changes
from rddg_ray.llm.embedded.columns import PromptColumn
from rddg_ray.llm.embedded.fitting import Floats, Layout, Margin
from rddg_ray.llm.embedded.remarks import Remark
from rddg_ray.llm.embedded.statements import Statements

_DAY_S = 86_400.0
_SPREAD_LIMITS = (0.1, 5.0)


@dataclass(frozen=True, slots=True)
class Limits:
    """Lowest and highest value of each number column, shape `(n_numbers,)`."""

    low: Floats
    high: Floats

    @classmethod
    def of(cls, layout: Layout, statements: Statements, value: str) -> Limits:
        """Return the table's ranges, narrowed by the rules for the class of this target value."""
        low = np.array([column.minimum for column in layout.numbers])
        high = np.array([column.maximum for column in layout.numbers])
        positions = {column.name: i for i, column in enumerate(layout.numbers)}
        for rule in statements.ranges:
            i = positions.get(rule.name)
            if i is None or rule.value not in (None, value):
                continue
            bounds = [layout.numbers[i].number(text) for text in (rule.low, rule.high)]
            if not any(math.isnan(bound) for bound in bounds) and bounds[0] <= bounds[1]:
                low[i], high[i] = max(low[i], bounds[0]), min(high[i], bounds[1])
        return cls(low, high)


def plan_changes(
    layout: Layout,
    margins: tuple[Margin, ...],
    remarks: list[Remark],
    letter: str,
    settings: EmbeddedSettings,
) -> Changes:
    """Return how the rows of a class will differ from those shown.

    Its own flaws come first: `bias` moves each number column's mean, `dispersion` scales its
    spread. Then `gain` times each difference that the feedback names is added. A remark on
    the class goes before one on all rows of the same column.
    """
    stds = np.array([margin.std for margin in margins])
    is_number = np.array([column.kind == "number" for column in layout.numbers], dtype=np.bool_)
    changes = Changes(
        shift=np.where(is_number, settings.bias * stds, 0.0),
        spread=np.where(is_number, settings.dispersion, 1.0),
        pull=np.zeros(len(margins)),
    )
    own = {(r.kind, r.names): r for r in remarks if r.letter is None}
    own |= {(r.kind, r.names): r for r in remarks if r.letter == letter}
    numbers = {column.name: i for i, column in enumerate(layout.numbers)}
    for remark in own.values():
        if remark.kind in ("mean", "std", "distribution") and remark.names[0] in numbers:
            column = numbers[remark.names[0]]
            difference = settings.gain * _difference(remark, layout.numbers[column])
            if remark.kind == "mean":
                changes.shift[column] += difference
            elif remark.kind == "std" and stds[column] > 0:
                changes.spread[column] += difference / stds[column]
            elif remark.kind == "distribution":
                changes.pull[column] = min(1.0, settings.gain)
    return Changes(
        changes.shift,
        np.clip(changes.spread, *_SPREAD_LIMITS),
        changes.pull,
        correlations=_correlations(own.values(), numbers, settings.gain),
        shares=_shares(own.values(), layout.texts, settings.gain),
    )


def _difference(remark: Remark, column: PromptColumn | None = None) -> float:
    """Return target minus seen, 0 where either cannot be read."""
    values = []
    for text in (remark.target, remark.seen):
        value = _float(text)
        # Means of dates are dates; their standard deviations are told in days.
        if math.isnan(value) and text.endswith(" days"):
            value = _DAY_S * _float(text.removesuffix(" days"))
        values.append(column.number(text) if column and math.isnan(value) else value)
    difference = values[0] - values[1]
    return difference if math.isfinite(difference) else 0.0


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _correlations(
    remarks: Iterable[Remark], numbers: dict[str, int], gain: float
) -> tuple[tuple[int, int, float], ...]:
    return tuple(
        (numbers[remark.names[0]], numbers[remark.names[1]], gain * _difference(remark))
        for remark in remarks
        if remark.kind == "correlation"
        and len(remark.names) == 2
        and all(name in numbers for name in remark.names)
    )


def _shares(
    remarks: Iterable[Remark], texts: tuple[PromptColumn, ...], gain: float
) -> tuple[tuple[int, str, float], ...]:
    # The target is left out: how many rows a class gets is what was asked for.
    positions = {column.name: i for i, column in enumerate(texts) if i > 0}
    return tuple(
        (positions[remark.names[0]], remark.names[1], gain * _difference(remark))
        for remark in remarks
        if remark.kind == "share" and len(remark.names) == 2 and remark.names[0] in positions
    )
