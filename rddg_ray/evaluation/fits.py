"""One cell of the grid, fitted: a pure function from rows to figures."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.config import BASELINE_METHODS, CLASSIFIERS
from rddg_ray.errors import ConfigError, DataError
from rddg_ray.evaluation.cells import Cell, SourceKey, fit_cost, longest_first
from rddg_ray.evaluation.classifiers import fit_errors, fit_predict
from rddg_ray.evaluation.encoding import Encoded, Protocol, encode, standardise
from rddg_ray.evaluation.methods import resample
from rddg_ray.evaluation.utility import METRICS, score
from rddg_ray.table import Table

FitRow = dict[str, Any]

PAPER_SYNTHETIC_ROWS = 1000
"""Rows that the authors add to the training rows: the first of each file."""


@dataclass(frozen=True)
class DatasetRows:
    """The rows of one table that the grid needs.

    Attributes:
        train: Real training rows.
        test: Held-out real rows under the training schema.
        synthetic: Rows to add, by method and generator state, under the training schema.
    """

    train: Table
    test: Table
    synthetic: Mapping[tuple[str, int], Table] = field(default_factory=dict)


@dataclass(frozen=True)
class GridData:
    """Every row the grid needs; encoded arrays are made once and kept.

    Attributes:
        datasets: Rows by name of the table.
        protocol: How encoders are fitted; see `encoding.encode`.
        max_synthetic_rows: Most rows taken of a generative method's file, the first ones; None
            for all, or 1,000 by the paper's protocol. Baselines always resample to balance.
    """

    datasets: Mapping[str, DatasetRows]
    protocol: Protocol = "clean"
    max_synthetic_rows: int | None = None
    _kept: dict[SourceKey, Encoded] = field(default_factory=dict, repr=False, compare=False)

    def synthetic(self, dataset: str, method: str, generator_state: int) -> Table | None:
        """Return the rows a method adds, cut to `max_synthetic_rows`; None for a baseline.

        Raises:
            DataError: If a generative method has no rows for that table and state.
        """
        if method in BASELINE_METHODS:
            return None
        rows = self._rows(dataset).synthetic.get((method, generator_state))
        if rows is None:
            raise DataError(
                f"{dataset}: there are no synthetic rows of method {method!r}, generator state "
                f"{generator_state}; generate them first or leave the method out"
            )
        limit = self.max_synthetic_rows
        if limit is None:
            limit = PAPER_SYNTHETIC_ROWS if self.protocol == "paper" else len(rows)
        return rows.take(range(min(len(rows), limit)))

    def encoded(self, dataset: str, method: str, generator_state: int) -> Encoded:
        """Return the training and test arrays of a method, made on the first call.

        Raises:
            DataError: If the method's rows are absent or cannot be made.
        """
        key = (dataset, method, generator_state)
        if key not in self._kept:
            self._kept[key] = self._encode(*key)
        return self._kept[key]

    def _encode(self, dataset: str, method: str, generator_state: int) -> Encoded:
        rows = self._rows(dataset)
        added = self.synthetic(dataset, method, generator_state)
        data = encode(rows.train, rows.test, added, self.protocol)
        # The authors interpolate raw values and scale after; distances mean more once scaled.
        if self.protocol == "clean":
            data = standardise(data, self.protocol)
        if added is None:
            data = resample(method, data, generator_state)
        return standardise(data, self.protocol) if self.protocol == "paper" else data

    def n_training_rows(self, dataset: str, method: str, generator_state: int) -> int:
        """Return how many rows a method trains on, without encoding them."""
        train = self._rows(dataset).train
        if method == "original":
            return len(train)
        added = self.synthetic(dataset, method, generator_state)
        if added is None:
            return len(train.classes) * max(train.class_counts.values())
        return len(train) + len(added)

    def _rows(self, dataset: str) -> DatasetRows:
        if dataset not in self.datasets:
            raise DataError(f"there are no rows of table {dataset!r}; {list(self.datasets)}")
        return self.datasets[dataset]


def cells(
    data: GridData,
    *,
    methods: Sequence[str],
    generator_states: Sequence[int],
    classifiers: Sequence[str],
    classifier_states: Sequence[int],
) -> list[Cell]:
    """Return every fit of the grid, the longest first.

    `original` depends on no generator state and is listed once, with state 0.

    Raises:
        ConfigError: If a list is empty or a classifier unknown.
        DataError: If a generative method has no rows.
    """
    for name, values in (("methods", methods), ("classifiers", classifiers),
                         ("classifier_states", classifier_states)):  # fmt: skip
        if not values:
            raise ConfigError(f"{name}: the list is empty; name at least one")
    if unknown := [name for name in classifiers if name not in CLASSIFIERS]:
        raise ConfigError(f"classifiers: {unknown[0]!r} is not one of {list(CLASSIFIERS)}")
    listed = []
    for dataset, rows in data.datasets.items():
        for method in methods:
            for state in [0] if method == "original" else generator_states:
                n_rows = data.n_training_rows(dataset, method, state)
                for classifier in classifiers:
                    cost_s = fit_cost(
                        classifier, n_rows, len(rows.train.features), len(rows.train.classes)
                    )
                    listed += [
                        Cell(dataset, method, state, classifier, classifier_state, cost_s)
                        for classifier_state in classifier_states
                    ]
    return longest_first(listed)


def fit_cell(cell: Cell, data: GridData) -> FitRow:
    """Fit one cell and return its record.

    Returns:
        One row: the cell's names, `protocol`, `n_train` (real rows), `n_synthetic` (rows
        added), `n_test`, `n_classes`, `positive` (code of the positive class, -1 for none),
        `fit_s`, `error` (None, or what the method or the library said), the figures of
        `utility.METRICS` as shares (NaN after an error), and the test rows' class codes as
        bytes, `truth` and `predicted`, from which intervals over test rows are made.
    """
    row: FitRow = {
        "dataset": cell.dataset,
        "method": cell.method,
        "generator_state": cell.generator_state,
        "classifier": cell.classifier,
        "classifier_state": cell.classifier_state,
        "protocol": data.protocol,
        "n_train": len(data.datasets[cell.dataset].train),
        "n_synthetic": 0,
        "n_test": len(data.datasets[cell.dataset].test),
        "n_classes": len(data.datasets[cell.dataset].train.classes),
        "positive": -1,
        "fit_s": 0.0,
        "error": None,
        **dict.fromkeys(METRICS, float("nan")),
        "truth": b"",
        "predicted": b"",
    }
    try:
        encoded = data.encoded(*cell.source)
    except DataError as error:
        return row | {"error": str(error)}
    started = time.perf_counter()
    try:
        proba = fit_predict(cell.classifier, cell.classifier_state, encoded)
    except fit_errors() as error:
        # Rows that a library cannot treat are a result of the grid, which goes on.
        text = f"{type(error).__name__}: {error}"
        return row | {"error": text, "fit_s": time.perf_counter() - started}
    return row | _figures(encoded, proba) | {"fit_s": time.perf_counter() - started}


def _figures(encoded: Encoded, proba: np.ndarray) -> FitRow:
    predicted = proba.argmax(axis=1)
    return {
        "n_synthetic": len(encoded.X_train) - encoded.n_real,
        "positive": -1 if encoded.positive is None else encoded.positive,
        **score(encoded.y_test, predicted, proba, encoded.positive),
        # A table has at most 100 classes, so a code fits a byte.
        "truth": encoded.y_test.astype(np.uint8).tobytes(),
        "predicted": predicted.astype(np.uint8).tobytes(),
    }


def fit_group(group: Iterable[Cell], data: GridData) -> list[FitRow]:
    """Fit the cells of a group one after the other; see `fit_cell`."""
    return [fit_cell(cell, data) for cell in group]


def to_frame(rows: Iterable[FitRow]) -> pd.DataFrame:
    """Return fits as a frame whose types do not depend on the rows, ready for Parquet."""
    frame = pd.DataFrame(list(rows))
    # A block without any error would otherwise be written with a column of no type.
    return frame.astype({"error": "str"}) if len(frame) else frame
