"""Tables to arrays for classifiers, with or without a look at the test rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from rddg_ray.errors import ConfigError, DataError
from rddg_ray.schema import Column
from rddg_ray.table import Table

Protocol = Literal["clean", "paper"]
PROTOCOLS: tuple[Protocol, ...] = ("clean", "paper")


@dataclass(frozen=True)
class Encoded:
    """Arrays of one training set and its test rows.

    Attributes:
        X_train: Features, shape `(n_real + n_added, n_features)`, float64, the real rows first;
            NaN where a number is missing (protocol `clean` only).
        y_train: Class codes 0 .. n_classes - 1, int64; every code occurs among the real rows.
        X_test: Test features, shape `(n_test, n_features)`.
        y_test: Test class codes.
        n_real: Real rows at the head of `X_train`.
        classes: Class names by code.
        positive: Code of the positive class for two classes (always 1), else None.
        is_categorical: Which features are category codes, shape `(n_features,)`, bool.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    n_real: int
    classes: tuple[str, ...]
    positive: int | None
    is_categorical: np.ndarray

    @cached_property
    def means(self) -> np.ndarray:
        """Return the mean of each feature over the real rows, 0 where none is known."""
        return _moments(self.X_train[: self.n_real])[0]

    def filled(self, X: np.ndarray) -> np.ndarray:
        """Return `X` with its missing numbers replaced by the real training rows' means."""
        filled: np.ndarray = np.where(np.isnan(X), self.means, X)
        return filled

    def adding(self, X: np.ndarray, y: np.ndarray) -> Encoded:
        """Return the arrays with rows added to the training side."""
        return replace(
            self,
            X_train=np.concatenate([self.X_train, X]),
            y_train=np.concatenate([self.y_train, y]),
        )


def encode(train: Table, test: Table, synthetic: Table | None, protocol: Protocol) -> Encoded:
    """Return features and classes as numbers, not yet scaled.

    Protocol `clean` fits everything on the real training rows: categories become their position
    in text order, an unknown one (in test or synthetic rows) and a missing one a code of their
    own each; missing numbers stay NaN. For two classes the rare class is encoded 1.

    Protocol `paper` does as the authors did: categories are label-encoded over training,
    synthetic and test rows together, missing numbers are filled with the mean over all real
    rows, and the class that comes last in text order is encoded 1.

    Args:
        train: Real training rows.
        test: Held-out rows under the same schema.
        synthetic: Rows added to the training rows, or None.
        protocol: How encoders are fitted.

    Raises:
        ConfigError: If the protocol is not known.
        DataError: If rows have a class that the training rows lack.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"protocol: {protocol!r} is not one of {list(PROTOCOLS)}")
    # NOTE[DIFF]: the authors' encoders see the test rows (labels, means) and their positive class
    # is the last by alphabet even if it is the larger one. The default protocol does neither,
    # because a held-out row must not shape what it is measured with.
    parts = [train, *([synthetic] if synthetic is not None else []), test]
    encoder = _paper_column if protocol == "paper" else _clean_column
    encoded = [encoder(column, parts) for column in train.features]
    X = [np.column_stack(columns) for columns in zip(*encoded, strict=True)]
    classes = _class_order(train, protocol)
    y = [_codes_of(part, classes) for part in parts]
    return Encoded(
        X_train=np.concatenate(X[:-1]),
        y_train=np.concatenate(y[:-1]),
        X_test=X[-1],
        y_test=y[-1],
        n_real=len(train),
        classes=classes,
        positive=1 if len(classes) == 2 else None,
        is_categorical=np.array([_is_categorical(column) for column in train.features]),
    )


def standardise(encoded: Encoded, protocol: Protocol) -> Encoded:
    """Return the features with mean 0 and standard deviation 1.

    `clean` measures the real training rows and leaves category codes alone; `paper` measures
    all training rows, synthetic ones included, and scales every column.
    """
    is_paper = protocol == "paper"
    means, stds = _moments(encoded.X_train if is_paper else encoded.X_train[: encoded.n_real])
    if not is_paper:
        means = np.where(encoded.is_categorical, 0.0, means)
        stds = np.where(encoded.is_categorical, 1.0, stds)
    return replace(
        encoded,
        X_train=(encoded.X_train - means) / stds,
        X_test=(encoded.X_test - means) / stds,
    )


def _moments(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each column's known cells; 0 and 1 without any."""
    known = ~np.isnan(X)
    counts = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, X, 0.0).sum(axis=0) / counts
    squares = np.where(known, (X - means) ** 2, 0.0).sum(axis=0) / counts
    stds = np.sqrt(squares)
    return means, np.where(stds > 0, stds, 1.0)


def _is_categorical(column: Column) -> bool:
    return column.kind in ("categorical", "boolean")


def _clean_column(column: Column, parts: list[Table]) -> list[np.ndarray]:
    if not _is_categorical(column):
        return [part.frame[column.name].to_numpy(dtype=np.float64, copy=True) for part in parts]
    known = sorted(set(parts[0].frame[column.name].dropna()))
    codes = {category: float(code) for code, category in enumerate(known)}
    unknown, missing = float(len(known)), float(len(known) + 1)
    return [
        np.array(
            [missing if pd.isna(v) else codes.get(v, unknown) for v in part.frame[column.name]],
            dtype=np.float64,
        )
        for part in parts
    ]


def _paper_column(column: Column, parts: list[Table]) -> list[np.ndarray]:
    if _is_categorical(column):
        # A missing category is a category to the authors ("?"); the empty text sorts first as
        # theirs does.
        texts = [part.frame[column.name].fillna("").to_list() for part in parts]
        codes = {text: float(code) for code, text in enumerate(sorted(set().union(*texts)))}
        return [np.array([codes[text] for text in cells], dtype=np.float64) for cells in texts]
    numbers = [part.frame[column.name].to_numpy(dtype=np.float64, copy=True) for part in parts]
    real = np.concatenate([numbers[0], numbers[-1]])
    fill = _moments(real[:, np.newaxis])[0][0]
    return [np.where(np.isnan(cells), fill, cells) for cells in numbers]


def _class_order(train: Table, protocol: Protocol) -> tuple[str, ...]:
    """Return the classes by code; numbers in order of size, texts in order of text."""
    classes = sorted(train.classes, key=_class_key)
    if protocol == "clean" and len(classes) == 2:
        classes = [*(c for c in classes if c != train.rare_class), train.rare_class]
    return tuple(classes)


def _class_key(label: str) -> tuple[int, float, str]:
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)


def _codes_of(table: Table, classes: tuple[str, ...]) -> np.ndarray:
    codes = {label: code for code, label in enumerate(classes)}
    if unknown := sorted({str(label) for label in table.labels} - set(codes)):
        raise DataError(
            f"{table.name}: target {table.target!r} has the class {unknown[0]!r}, which the "
            f"training rows lack; their classes: {list(classes)}"
        )
    return np.array([codes[str(label)] for label in table.labels], dtype=np.int64)
