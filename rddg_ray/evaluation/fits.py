"""One cell of the grid, fitted: a pure function from rows to figures."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.config import CLASSIFIERS
from rddg_ray.errors import ConfigError, DataError
from rddg_ray.evaluation import thresholds, tuning
from rddg_ray.evaluation.cells import Cell, fit_cost, longest_first
from rddg_ray.evaluation.classifiers import fit_errors
from rddg_ray.evaluation.encoding import Encoded
from rddg_ray.evaluation.grid_data import PAPER_SYNTHETIC_ROWS, DatasetRows, GridData
from rddg_ray.evaluation.leaks import Overlap
from rddg_ray.evaluation.methods import BASELINES
from rddg_ray.evaluation.methods.extras import skipped
from rddg_ray.evaluation.prediction import predict
from rddg_ray.evaluation.utility import METRICS, score

__all__ = [
    "PAPER_SYNTHETIC_ROWS",
    "DatasetRows",
    "FitRow",
    "GridData",
    "cells",
    "fit_cell",
    "fit_group",
    "to_frame",
]

FitRow = dict[str, Any]


def cells(
    data: GridData,
    *,
    methods: Sequence[str],
    generator_states: Sequence[int],
    classifiers: Sequence[str],
    classifier_states: Sequence[int],
) -> list[Cell]:
    """Return every fit of the grid, the longest first.

    A baseline that depends on no generator state, such as `original`, is listed once, with state
    0. An optional generator that cannot run here is not listed; `extras.skipped` says why.

    Raises:
        ConfigError: If a list is empty, a classifier or method unknown, or no method can run.
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
        for method in _able(methods, rows):
            for state in _states(method, rows, generator_states):
                n_rows = data.n_training_rows(dataset, method, state)
                for classifier in classifiers:
                    cost_s = _n_fits(method, data) * fit_cost(
                        classifier, n_rows, len(rows.train.features), len(rows.train.classes)
                    )
                    listed += [
                        Cell(dataset, method, state, classifier, classifier_state, cost_s)
                        for classifier_state in classifier_states
                    ]
    return longest_first(listed)


def _able(methods: Sequence[str], rows: DatasetRows) -> list[str]:
    given = {method for method, _ in rows.synthetic}
    reasons = skipped(method for method in methods if method not in given)
    able = [method for method in methods if method not in reasons]
    if not able:
        raise ConfigError(f"methods: none is left; {'; '.join(reasons.values())}")
    return able


def _states(method: str, rows: DatasetRows, generator_states: Sequence[int]) -> list[int]:
    if method in BASELINES and not BASELINES[method].is_random:
        return [0]
    if method == "copies_only":
        # Rows of a file have state 0, whatever the states of the baselines are.
        states = {state for _, state in rows.synthetic}
        return [state for state in generator_states if state in states] or [0]
    return list(generator_states)


def _n_fits(method: str, data: GridData) -> float:
    # Each inner fit has all training rows but a fold; a search is done once a block at least.
    n_inner = 0
    if method in BASELINES and BASELINES[method].is_threshold:
        n_inner += thresholds.N_FOLDS - 1
    if data.tuning == "search":
        n_inner += tuning.N_CANDIDATES * (tuning.N_FOLDS - 1)
    return 1.0 + n_inner


def fit_cell(cell: Cell, data: GridData) -> FitRow:
    """Fit one cell and return its record.

    Returns:
        One row: the cell's names, `protocol`, `n_train` (real rows), `n_synthetic` (rows
        added), `n_test`, `n_classes`, `positive` (code of the positive class, -1 for none), `rare`
        (of the rare class), `n_new`, `n_test_copies` and `natural_share` (see `leaks.Overlap`),
        `fit_s` (inner fits and the search included), `settings` (JSON of those that differ from
        the paper's), `error` (None, or what the method or the library said),
        the figures of `utility.METRICS` as shares (NaN after an error), and the test rows'
        class codes as bytes, `truth` and `predicted`, from which intervals over test rows are
        made.
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
        "rare": -1,
        **asdict(Overlap()),
        "fit_s": 0.0,
        "settings": "{}",
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
        settings = data.tuned(cell.dataset, cell.classifier)
        proba, predicted = predict(cell, encoded, data.threshold_metric, settings)
    except DataError as error:
        return row | {"error": str(error), "fit_s": time.perf_counter() - started}
    except fit_errors() as error:
        # Rows that a library cannot treat are a result of the grid, which goes on.
        text = f"{type(error).__name__}: {error}"
        return row | {"error": text, "fit_s": time.perf_counter() - started}
    fit_s = time.perf_counter() - started
    rare = encoded.classes.index(data.datasets[cell.dataset].train.rare_class)
    return (
        row
        | _figures(encoded, proba, predicted, rare)
        | asdict(data.overlap(*cell.source))
        | {"fit_s": fit_s, "settings": json.dumps(settings)}
    )


def _figures(encoded: Encoded, proba: np.ndarray, predicted: np.ndarray, rare: int) -> FitRow:
    return {
        "n_synthetic": len(encoded.X_train) - encoded.n_real,
        "positive": -1 if encoded.positive is None else encoded.positive,
        "rare": rare,
        **score(encoded.y_test, predicted, proba, encoded.positive, rare),
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
