"""Rows of a table as arrays, for the measures of quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rddg_ray.novelty import Row
from rddg_ray.relations import is_number
from rddg_ray.schema import Column

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Measured:
    """Rows as arrays.

    Attributes:
        labels: Class of each row as its place in the classes, shape `(n_rows,)`.
        numbers: Numerical and datetime features, shape `(n_rows, n_numbers)`; NaN is missing.
        slots: Slot of each grouped cell (see `Gauge`), -1 for none, `(n_rows, n_groups)`.
    """

    labels: Ints
    numbers: Floats
    slots: Ints

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: Ints | NDArray[np.bool_]) -> Measured:
        """Return some of the rows, by position or by mask."""
        return Measured(self.labels[chosen], self.numbers[chosen], self.slots[chosen])


class Gauge:
    """Turns rows of one table into arrays.

    Grouped features have shares: of every category and of the missing cell, or, for a number
    that may be missing, of the missing cell alone. Each such value has a slot of its own.

    Attributes:
        classes: The classes, in order.
        numbers: Numerical and datetime features, in order.
        groups: Grouped features, in order.
        slots: Place in `groups` and value of every slot; None is the missing cell.
        starts: First slot of each grouped feature.
    """

    def __init__(self, features: Sequence[Column], classes: Sequence[str]) -> None:
        """Prepare features (without the target) and classes, in their orders."""
        self.classes = tuple(classes)
        self.numbers = tuple([c for c in features if is_number(c)])
        self.groups = tuple([c for c in features if not is_number(c) or c.has_missing])
        self.slots: list[tuple[int, str | None]] = []
        self.starts: list[int] = []
        self._slot_of: list[dict[object, int]] = []
        for place, column in enumerate(self.groups):
            values: list[str | None] = [*column.categories, None]
            self.starts.append(len(self.slots))
            self._slot_of.append({value: len(self.slots) + i for i, value in enumerate(values)})
            self.slots.extend((place, value) for value in values)
        places = {column.name: place for place, column in enumerate(features, start=1)}
        self._number_at = [places[column.name] for column in self.numbers]
        self._group_at = [places[column.name] for column in self.groups]
        self._places = {label: place for place, label in enumerate(classes)}

    def of_rows(self, rows: Sequence[Row]) -> Measured:
        """Measure generated rows: canonical values, the class first and then the features."""
        numbers = [[row[at] for at in self._number_at] for row in rows]
        slots = [[slot_of.get(row[at], -1) for at, slot_of in
                  zip(self._group_at, self._slot_of, strict=True)] for row in rows]  # fmt: skip
        return Measured(
            np.array([self._places[str(row[0])] for row in rows], dtype=np.int64),
            # A missing number is None here, which numpy reads as NaN.
            np.array(numbers, dtype=np.float64).reshape(len(rows), len(self.numbers)),
            np.array(slots, dtype=np.int64).reshape(len(rows), len(self.groups)),
        )

    def of_frame(self, frame: pd.DataFrame, labels: Sequence[str]) -> Measured:
        """Measure rows of a canonical frame and their classes."""
        numbers = [frame[c.name].to_numpy(dtype=np.float64) for c in self.numbers]
        slots = [_slots(frame[c.name], slot_of, is_category=not is_number(c))
                 for c, slot_of in zip(self.groups, self._slot_of, strict=True)]  # fmt: skip
        n_rows = len(frame)
        return Measured(
            np.array([self._places[str(label)] for label in labels], dtype=np.int64),
            np.array(numbers, dtype=np.float64).reshape(len(numbers), n_rows).T,
            np.array(slots, dtype=np.int64).reshape(len(slots), n_rows).T,
        )


def _slots(cells: pd.Series, slot_of: dict[object, int], *, is_category: bool) -> Ints:
    slots = cells.map(slot_of).to_numpy(dtype=np.float64, na_value=-1.0) if is_category else -1.0
    missing = cells.isna().to_numpy()
    found: Ints = np.where(missing, float(slot_of[None]), slots).astype(np.int64)
    return found
