"""The grid: which fits there are, how long each takes, and how to share them out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Seconds of one fit on one thread of a slow core: a constant, then per feature, per training
# row x feature. Measured at 300 to 9,000 rows x 8 to 27 features; good to a factor of two.
_COSTS: Mapping[str, tuple[float, float, float]] = {
    "catboost": (0.3, 0.11, 6e-6),
    "gradient_boosting": (0.05, 0.0, 2e-5),
    "xgboost": (0.04, 0.002, 1.2e-6),
    "lightgbm": (0.02, 0.0, 8e-7),
}

CellKey = tuple[str, str, int, str, int]
SourceKey = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Cell:
    """One fit of the grid.

    Attributes:
        dataset: Name of the table.
        method: Where the added training rows come from; `original` for none.
        generator_state: Random state of the method; 0 for `original`.
        classifier: One of `config.CLASSIFIERS`.
        classifier_state: Random state of the classifier.
        cost_s: Rough seconds of the fit; not part of what the cell is.
    """

    dataset: str
    method: str
    generator_state: int
    classifier: str
    classifier_state: int
    cost_s: float = field(default=0.0, compare=False)

    @property
    def key(self) -> CellKey:
        """Return what names the cell within a run."""
        return (*self.source, self.classifier, self.classifier_state)

    @property
    def source(self) -> SourceKey:
        """Return what names its training rows: dataset, method, generator state."""
        return (self.dataset, self.method, self.generator_state)


def fit_cost(classifier: str, n_rows: int, n_features: int, n_classes: int) -> float:
    """Return the rough seconds of one fit on one thread."""
    constant, per_feature, per_value = _COSTS[classifier]
    once = constant + n_features * (per_feature + per_value * n_rows)
    return once * (n_classes if n_classes > 2 else 1)


def longest_first(cells: Iterable[Cell]) -> list[Cell]:
    """Return the cells by falling cost, equal ones by key."""
    return sorted(cells, key=lambda cell: (-cell.cost_s, cell.key))


def remaining(cells: Iterable[Cell], done: Iterable[Mapping[str, Any]]) -> list[Cell]:
    """Return the cells that have no row among the finished fits.

    A fit that ended in an error is finished: it would end so again.
    """
    names = ("dataset", "method", "generator_state", "classifier", "classifier_state")
    finished: Collection[tuple[Any, ...]] = {tuple(row[name] for name in names) for row in done}
    return [cell for cell in cells if cell.key not in finished]


def group(cells: Sequence[Cell], seconds: float) -> list[list[Cell]]:
    """Share cells out so that a group takes at least some seconds where it can.

    Cells of a group have the same training rows, which are then encoded once for all of them.

    Args:
        cells: Cells in any order.
        seconds: Rough seconds a group should take; 0 for one cell a group.

    Returns:
        Groups, the longest first, each cell in exactly one.
    """
    sources: dict[SourceKey, list[Cell]] = {}
    for cell in longest_first(cells):
        sources.setdefault(cell.source, []).append(cell)
    groups = [part for members in sources.values() for part in _parts(members, seconds)]
    return sorted(groups, key=lambda part: -sum(cell.cost_s for cell in part))


def _parts(members: list[Cell], seconds: float) -> list[list[Cell]]:
    parts: list[list[Cell]] = []
    room = 0.0
    for cell in members:
        if room <= 0.0:
            parts.append([])
            room = seconds
        parts[-1].append(cell)
        room -= cell.cost_s
    return parts
