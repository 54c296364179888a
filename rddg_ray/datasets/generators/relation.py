"""A relation between attributes that anyone can check from the rows alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import pandas as pd

Measure: TypeAlias = Callable[[pd.DataFrame], float]
"""A figure taken from a frame: no access to what generated it."""


@dataclass(frozen=True)
class Relation:
    """A statement about a data set, with the figure that decides whether it holds.

    Attributes:
        columns: The columns that the statement speaks of.
        text: The statement in words, with units.
        measure: The figure, computed from the frame alone.
        low: Smallest figure at which the relation holds.
        high: Largest figure at which the relation holds.
    """

    columns: tuple[str, ...]
    text: str
    measure: Measure
    low: float = 1.0
    high: float = 1.0

    def holds(self, frame: pd.DataFrame) -> bool:
        """Tell whether the relation holds in `frame`.

        Args:
            frame: Rows with at least the columns of `columns`; the bounds of relations that are
                not exact are set for some hundreds of rows or more.

        Returns:
            Whether the figure lies in `[low, high]`.
        """
        return self.low <= self.measure(frame) <= self.high


def exact(
    columns: tuple[str, ...], text: str, rule: Callable[[pd.DataFrame], pd.Series]
) -> Relation:
    """Return a relation that every single row obeys.

    Args:
        columns: The columns that the rule reads.
        text: The rule in words.
        rule: Gives one boolean a row.

    Returns:
        A relation whose figure is the share of rows that obey; it holds at 1 only.
    """
    return Relation(columns, text, lambda frame: float(rule(frame).mean()))


def mostly(
    columns: tuple[str, ...], text: str, rule: Callable[[pd.DataFrame], pd.Series], low: float
) -> Relation:
    """Return a relation that at least the share `low` of the rows obeys.

    Args:
        columns: The columns that the rule reads.
        text: The rule in words.
        rule: Gives one boolean a row.
        low: Smallest share of obeying rows, in [0, 1].

    Returns:
        The relation.
    """
    return Relation(columns, text, lambda frame: float(rule(frame).mean()), low)


def trend(first: str, second: str, text: str, low: float, high: float) -> Relation:
    """Return a relation on the rank correlation of two numerical columns.

    Args:
        first: One column.
        second: The other column.
        text: The relation in words.
        low: Smallest Spearman correlation, in [-1, 1].
        high: Largest Spearman correlation, in [-1, 1].

    Returns:
        The relation.
    """

    def spearman(frame: pd.DataFrame) -> float:
        return float(frame[first].rank().corr(frame[second].rank()))

    return Relation((first, second), text, spearman, low, high)


def ordered_means(
    group: str, order: tuple[str, ...], value: str, text: str, gap: float
) -> Relation:
    """Return a relation on the means of a column in the groups of another.

    Args:
        group: The categorical column.
        order: Its categories, from the smallest mean to the largest.
        value: The numerical column.
        text: The relation in words.
        gap: Smallest step between neighbouring means, in the unit of `value`.

    Returns:
        A relation whose figure is the smallest step between neighbouring means.
    """

    def smallest_step(frame: pd.DataFrame) -> float:
        means = frame.groupby(group)[value].mean()
        return float(min(means[b] - means[a] for a, b in pairwise(order)))

    return Relation((group, value), text, smallest_step, gap, float("inf"))
