"""Which runs a sweep is made of: each once, however many tables it stands in."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from rddg_ray.config import RunSettings, TableSettings, settings_from
from rddg_ray.datasets import info
from rddg_ray.runtime.sweep_settings import SweepSettings

_COST_METHODS = ("epic", "rddg")
_SIZE_METHODS = ("rddg",)


@dataclass(frozen=True)
class Place:
    """Where a unit's figures stand.

    Attributes:
        table: Number of the paper's table.
        methods: Whose figures.
        reference_rows: The table's reference size, or None where it has no such column.
    """

    table: int
    methods: tuple[str, ...]
    reference_rows: int | None = None


@dataclass(frozen=True)
class Unit:
    """One run directory of a sweep: a data set in one variation.

    Attributes:
        dataset: Name in the catalog.
        imbalance_ratio: Largest class over rarest among the training rows; None as they are.
        reference_rows_per_class: Real rows of each class that a prompt shows.
        places: Where its figures stand.
    """

    dataset: str
    imbalance_ratio: float | None
    reference_rows_per_class: int
    places: tuple[Place, ...] = field(compare=False)

    @property
    def name(self) -> str:
        """Return the name of its run directory."""
        ratio = "" if self.imbalance_ratio is None else f"-ratio{self.imbalance_ratio:g}"
        return f"{self.dataset}{ratio}-reference{self.reference_rows_per_class}"

    @property
    def methods(self) -> tuple[str, ...]:
        """Return the methods that any of its places names, each once."""
        return tuple(dict.fromkeys(m for place in self.places for m in place.methods))


def plan(settings: SweepSettings) -> list[Unit]:
    """Return the runs of a sweep, in the order of its tables; equal ones are one run."""
    wanted: dict[tuple[str, float | None, int], list[Place]] = {}
    for number in sorted(settings.tables):
        for dataset, ratio, rows, place in _of_table(number, settings):
            wanted.setdefault((dataset, ratio, rows), []).append(place)
    return [Unit(*key, tuple(places)) for key, places in wanted.items()]


_Wanted = tuple[str, float | None, int, Place]


def _of_table(number: int, settings: SweepSettings) -> Iterable[_Wanted]:
    default = settings.generation.reference_rows_per_class
    if number in (1, 2):
        for name in settings.main_datasets:
            if (info(name).kind == "generated") == (number == 2):
                yield name, None, default, Place(number, settings.methods)
    elif number == 5:
        for name in settings.cost_datasets:
            yield name, None, default, Place(5, _COST_METHODS)
    else:
        yield from _variations(number, settings)


def _variations(number: int, settings: SweepSettings) -> Iterable[_Wanted]:
    if number == 6:
        for name, size in settings.ablation_rows.items():
            yield name, None, _per_class(name, size), Place(6, settings.ablations)
    elif number == 7:
        default = settings.generation.reference_rows_per_class
        for name, ratio in product(settings.imbalance_datasets, settings.imbalance_ratios):
            yield name, float(ratio), default, Place(7, settings.imbalance_methods)
    else:
        for name, size in product(settings.reference_datasets, settings.reference_sizes):
            yield name, None, _per_class(name, size), Place(8, _SIZE_METHODS, size)


def _per_class(dataset: str, size: int) -> int:
    # NOTE[DIFF]: the paper's reference size of 5 for two classes leaves half a row open; a batch
    # shows as many rows of every class here, so that it is 3 of each.
    return math.ceil(size / len(info(dataset).classes))


def run_settings(unit: Unit, settings: SweepSettings) -> RunSettings:
    """Return the settings of one run of a sweep."""
    n_classes = len(info(unit.dataset).classes)
    changes: dict[str, Any] = {
        "rows_per_class": math.ceil(settings.synthetic_rows / n_classes),
        "reference_rows_per_class": unit.reference_rows_per_class,
    }
    evaluation = settings.evaluation.model_dump() | {"classifier_states": settings.random_states}
    return settings_from(
        {
            "name": f"{settings.name}, {unit.name}",
            "output": settings.output / "runs" / unit.name,
            "tables": [table_settings(unit, settings).model_dump()],
            "methods": unit.methods,
            "generator_states": settings.random_states,
            "coreset": settings.coreset.model_dump(),
            "generation": settings.generation.model_dump() | changes,
            "endpoint": settings.endpoint.model_dump(),
            "evaluation": evaluation,
        },
        source=f"sweep, {unit.name}",
    )


def table_settings(unit: Unit, settings: SweepSettings) -> TableSettings:
    """Return how a unit's table is read."""
    told = settings.datasets[unit.dataset]
    path = told.path
    folder: Path = settings.data / unit.dataset
    if path is None and told.url is None and folder.is_dir():
        path = str(folder)
    return TableSettings(
        name=unit.dataset, dataset=unit.dataset, path=path, url=told.url, split=told.split,
        rare_class=told.rare_class, imbalance_ratio=unit.imbalance_ratio,
    )  # fmt: skip
