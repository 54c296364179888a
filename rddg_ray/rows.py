"""A frame that keeps its promise to a schema: typed cells, a target, row ids that travel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from rddg_ray.inference import refresh
from rddg_ray.output import restore
from rddg_ray.schema import Column, Schema

_LEARNED = ("numerical", "categorical", "boolean", "datetime")


@dataclass(frozen=True)
class Table:
    """Rows of a schema with a target column.

    Attributes:
        name: Name in prompts and results.
        frame: Canonical cells, shape `(n_rows, n_columns)`: float64 for numerical and datetime
            columns (POSIX seconds), `str` for the others, NaN for missing. Its index holds the
            row ids, unique integers that every operation keeps.
        schema: The columns, in the frame's order.
        target: Name of the class column.
        rare: The class given as the rare one, or None for the smallest.
    """

    name: str
    frame: pd.DataFrame
    schema: Schema
    target: str
    rare: str | None = None

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def labels(self) -> np.ndarray:
        """Return the class of each row as text, shape `(n_rows,)`."""
        labels: np.ndarray = self.frame[self.target].to_numpy(dtype=object, copy=True)
        return labels

    @cached_property
    def class_counts(self) -> dict[str, int]:
        """Return rows by class, largest class first, equal ones by text."""
        values, counts = np.unique(self.labels.astype(str), return_counts=True)
        pairs = sorted(zip(values, counts, strict=True), key=lambda pair: (-pair[1], pair[0]))
        return {str(value): int(count) for value, count in pairs}

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes, largest first."""
        return tuple(self.class_counts)

    @property
    def rare_class(self) -> str:
        """Return the class that is given as rare, or else the smallest."""
        return self.rare if self.rare is not None else self.classes[-1]

    @cached_property
    def features(self) -> tuple[Column, ...]:
        """Return the columns that are shown and learned: no target, id or constant."""
        return tuple(
            column
            for column in self.schema
            if column.kind in _LEARNED and column.name != self.target
        )

    @property
    def left_out(self) -> dict[str, str]:
        """Return why columns are not learned, in words, by name: ids and constants."""
        return {
            column.name: column.left_out or column.kind
            for column in self.schema
            if column.kind not in _LEARNED
        }

    @cached_property
    def prompt_columns(self) -> tuple[Column, ...]:
        """Return the target and the features: the order of cells in prompts and replies."""
        return (self.schema[self.target], *self.features)

    def take(self, positions: Sequence[int] | np.ndarray) -> Table:
        """Return the rows at these positions (not ids), in this order, with their ids."""
        return replace(self, frame=self.frame.iloc[np.asarray(positions, dtype=np.int64)])

    def with_frame(self, frame: pd.DataFrame) -> Table:
        """Return a table of the same schema with other rows."""
        return replace(self, frame=frame)

    def cells(self, positions: Sequence[int] | np.ndarray | None = None) -> list[list[str]]:
        """Return cell texts in `prompt_columns` order, one list a row."""
        if positions is None:
            return [list(row) for row in self._texts]
        if "_texts" in self.__dict__:  # many chains show rows of one table
            return [list(self._texts[at]) for at in positions]
        return [list(row) for row in self._encoded(self.frame.iloc[np.asarray(positions)])]

    def row_keys(self) -> list[tuple[str, ...]]:
        """Return what makes a row the same as another: its target and feature cells as text."""
        return list(self._texts)

    @cached_property
    def _texts(self) -> list[tuple[str, ...]]:
        return self._encoded(self.frame)

    def _encoded(self, frame: pd.DataFrame) -> list[tuple[str, ...]]:
        columns = [
            [column.encode(value) for value in frame[column.name].to_list()]
            for column in self.prompt_columns
        ]
        return list(zip(*columns, strict=True))

    def encode_features(self) -> np.ndarray:
        """Return the features as standardised numbers, shape `(n_rows, n_features)`, float32.

        Categories become their rank by frequency, missing numbers the mean, missing categories
        a rank of their own: one input a column, as in table 11 of the paper.
        """
        columns = [_as_numbers(self.frame[column.name], column) for column in self.features]
        matrix = np.column_stack(columns)
        spread = matrix.std(axis=0)
        scaled: np.ndarray = (matrix - matrix.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        return scaled.astype(np.float32, copy=False)

    def encode_classes(self) -> np.ndarray:
        """Return each row's class as its position in `classes`, shape `(n_rows,)`, int64."""
        codes = {label: code for code, label in enumerate(self.classes)}
        return np.array([codes[str(label)] for label in self.labels], dtype=np.int64)

    def narrowed(self) -> Table:
        """Return the table with a schema that knows only what these rows show.

        Categories, ranges and missingness of rows elsewhere (a test split) must not reach a
        prompt, so the training side of a split is narrowed.
        """
        columns = [refresh(column, self.frame[column.name]) for column in self.schema]
        return replace(self, schema=Schema(tuple(columns)))

    def to_output(self, frame: pd.DataFrame, n_before: int = 0) -> pd.DataFrame:
        """Return rows in the source's types and column order.

        Args:
            frame: Canonical cells of at least `prompt_columns`; more columns are kept at the end.
            n_before: Synthetic rows that have ids already.

        Returns:
            The schema's columns, ids numbered on from the real ones and constants filled in,
            then the frame's further columns.
        """
        out = {
            column.name: restore(column, frame, self.frame[column.name], n_before)
            for column in self.schema
        }
        extra = [name for name in frame.columns if name not in out]
        return pd.concat([pd.DataFrame(out, index=frame.index), frame[extra]], axis=1)


def _as_numbers(values: pd.Series, column: Column) -> np.ndarray:
    if column.kind in ("numerical", "datetime"):
        numbers = values.to_numpy(dtype=np.float64, copy=True)
        known = numbers[~np.isnan(numbers)]
        return np.where(np.isnan(numbers), known.mean() if len(known) else 0.0, numbers)
    ranks = {category: float(rank) for rank, category in enumerate(column.categories)}
    return np.array([ranks.get(value, float(len(ranks))) for value in values.to_list()])
