"""The sampler for imbalanced-learn's pipelines and scikit-learn's tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_consistent_length

from rddg_ray.config import (
    CoresetSettings,
    EndpointSettings,
    GenerationSettings,
    SynthesisSettings,
    checked,
)
from rddg_ray.errors import ConfigError, DataError
from rddg_ray.runtime.api import Result, generate, run_folder
from rddg_ray.table import Table, from_frame

_TARGET = "target"


class RDDGSampler(BaseEstimator):  # type: ignore[misc]  # scikit-learn publishes no types
    """Over-sample the smaller classes with rows that a language model writes.

    Works wherever an over-sampler of imbalanced-learn does, such as `imblearn.pipeline.Pipeline`.
    Without an endpoint the embedded sampler answers: a statistical sampler on this machine, not a
    language model.

    Args:
        sampling_strategy: imbalanced-learn's meaning; see `GenerationSettings`. Keys of a
            mapping are classes and its values sizes after sampling.
        method: One of `config.GENERATIVE_METHODS`.
        random_state: The same state, data and replies give the same rows.
        categorical_features: Names or positions of columns whose numbers are categories;
            texts are categories without being named.
        endpoint: Where completions come from.
        generation: Everything else about generation; `sampling_strategy` above wins.
        coreset: How the rows shown for relations are chosen.
        run_dir: Folder that keeps every reply, each data set and setting in one of its own, so
            that fitting again asks nothing twice.

    Attributes:
        sampling_strategy_: Rows added by class.
        result_: What `generate` came to, rejects and usage included.
    """

    _sampling_type = "over-sampling"

    def __init__(
        self,
        *,
        sampling_strategy: str | float | dict[Any, int] = "auto",
        method: str = "rddg_calibrated",
        random_state: int | None = 0,
        categorical_features: list[Any] | None = None,
        endpoint: EndpointSettings | None = None,
        generation: GenerationSettings | None = None,
        coreset: CoresetSettings | None = None,
        run_dir: Path | str | None = None,
    ) -> None:
        self.sampling_strategy = sampling_strategy
        self.method = method
        self.random_state = random_state
        self.categorical_features = categorical_features
        self.endpoint = endpoint
        self.generation = generation
        self.coreset = coreset
        self.run_dir = run_dir

    def fit(self, X: Any, y: Any) -> RDDGSampler:
        """Check X and y; what a pipeline calls before `fit_resample`."""
        self._table(X, y)
        return self

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Return the rows with synthetic ones of the smaller classes after them.

        Args:
            X: Features, a data frame (any cells) or an array, shape `(n_rows, n_features)`.
            y: Classes, shape `(n_rows,)`.

        Returns:
            X and y with rows added, each of the type, columns and cell types it came with.

        Raises:
            DataError: If X and y cannot be used.
            RddgError: What stopped generation.
        """
        table, frame, labels = self._table(X, y)
        self.n_features_in_ = frame.shape[1]
        settings = self._settings(labels)
        run_dir = Path(self.run_dir) / run_folder(table, settings) if self.run_dir else None
        self.result_: Result = generate(table, settings, run_dir=run_dir)
        rows, real = self.result_.rows, table.to_output(table.frame)
        added = _like(rows[table.target], labels, real[table.target])
        self.sampling_strategy_ = {
            label: int((added == label).sum()) for label in pd.unique(labels)
        }
        features = [name for name in table.schema.names if name != table.target]
        return _features(X, frame, rows[features], real[features]), _classes(y, labels, added)

    def _table(self, X: Any, y: Any) -> tuple[Table, pd.DataFrame, pd.Series]:
        if hasattr(X, "toarray"):
            raise DataError("X is sparse; give X.toarray() or a data frame")
        check_consistent_length(X, y)
        frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X))
        labels = y if isinstance(y, pd.Series) else pd.Series(np.asarray(y).ravel())
        labels = labels.reset_index(drop=True)
        texts = frame.set_axis([str(name) for name in frame.columns], axis=1).reset_index(drop=True)
        target = _TARGET
        while target in texts:
            target += "_"
        metadata = {column: {"kind": "categorical"} for column in self._categorical(texts)}
        with_target = texts.assign(**{target: labels.astype("str").where(labels.notna())})
        # Data in memory has its own missing values; the text "NA" is a text.
        table = from_frame(with_target, target, name="X", metadata=metadata, missing_values=())
        return table, frame, labels

    def _categorical(self, texts: pd.DataFrame) -> list[str]:
        named = [
            str(texts.columns[name]) if isinstance(name, int) else str(name)
            for name in self.categorical_features or ()
        ]
        if unknown := [name for name in named if name not in texts]:
            raise DataError(f"categorical_features: there is no column {unknown[0]!r}")
        return named

    def _settings(self, labels: pd.Series) -> SynthesisSettings:
        strategy = self.sampling_strategy
        if callable(strategy):
            raise ConfigError(
                "sampling_strategy: a function cannot be kept with a run; give what it returns"
            )
        if isinstance(strategy, Mapping):
            # A key is a class as y has it: 1 stands for 1.0 there as everywhere in Python.
            own = {label: label for label in pd.unique(labels)}
            strategy = {str(own.get(key, key)): int(count) for key, count in strategy.items()}
        generation = (self.generation or GenerationSettings()).model_dump()
        content = {
            "method": self.method,
            "random_state": _fresh_state() if self.random_state is None else self.random_state,
            "coreset": self.coreset or CoresetSettings(),
            "generation": generation | {"sampling_strategy": strategy},
            "endpoint": self.endpoint or EndpointSettings(),
        }
        return checked(SynthesisSettings, content, "RDDGSampler")


def _fresh_state() -> int:
    return int(np.random.default_rng().integers(2**31))


def _features(X: Any, frame: pd.DataFrame, rows: pd.DataFrame, real: pd.DataFrame) -> Any:
    typed = {
        position: _like(rows.iloc[:, position], frame.iloc[:, position], real.iloc[:, position])
        for position in range(frame.shape[1])
    }
    added = pd.DataFrame(typed).set_axis(frame.columns, axis=1)
    both = pd.concat([frame, added], ignore_index=True)
    if isinstance(X, pd.DataFrame):
        return both
    dtype = np.asarray(X).dtype
    # A text that is longer than any before must not be cut.
    return both.to_numpy(dtype=object).astype(str) if dtype.kind == "U" else both.to_numpy(dtype)


def _like(values: pd.Series, column: pd.Series, real: pd.Series) -> pd.Series:
    """Return new cells in the type of the column they are added to.

    Args:
        values: The new cells in output types.
        column: The column they are added to, as the caller gave it.
        real: The same column in output types, row by row.
    """
    values = values.reset_index(drop=True)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        numbers = values if pd.api.types.is_numeric_dtype(values.dtype) else pd.to_numeric(values)
        return numbers.astype(column.dtype)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return values.astype(column.dtype)
    # The very object that reads as the value does: a column of objects may hold any type.
    seen = dict(zip(real.astype("str"), column, strict=True))
    cells = [None if pd.isna(value) else seen.get(str(value), value) for value in values]
    return pd.Series(cells, dtype=column.dtype)


def _classes(y: Any, labels: pd.Series, added: pd.Series) -> Any:
    both = pd.concat([labels, added], ignore_index=True)
    return (
        both.rename(y.name)
        if isinstance(y, pd.Series)
        else both.to_numpy(dtype=np.asarray(y).dtype)
    )
