"""The rows that a grid trains and is measured on, encoded when first needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rddg_ray.config import GENERATIVE_METHODS
from rddg_ray.errors import ConfigError, DataError
from rddg_ray.evaluation.cells import SourceKey
from rddg_ray.evaluation.encoding import Encoded, Protocol, encode, standardise
from rddg_ray.evaluation.leaks import Overlap, overlap
from rddg_ray.evaluation.methods import BASELINES, baseline, resample, to_balance
from rddg_ray.evaluation.tuning import Parameters, search
from rddg_ray.table import Table

BaselineRows = Literal["balance", "same"] | int

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
            for all, or 1,000 by the paper's protocol.
        baseline_rows: Rows that baselines add: `balance` until all classes are equally large;
            `same` as many of each class as the generated rows beside them (those of the first
            of `config.GENERATIVE_METHODS`, else of the first file; of the same generator state,
            else of state 0); or that number for every class.
        threshold_metric: What `tuned_threshold` raises on out-of-fold training rows.
        tuning: `none` for the paper's settings, `search` for `tuning.search`.

    Raises:
        ConfigError: If one of the last three is not what it may be.
    """

    datasets: Mapping[str, DatasetRows]
    protocol: Protocol = "clean"
    max_synthetic_rows: int | None = None
    baseline_rows: BaselineRows = "balance"
    threshold_metric: Literal["f1", "balanced_accuracy"] = "f1"
    tuning: Literal["none", "search"] = "none"
    _kept: dict[SourceKey, Encoded] = field(default_factory=dict, repr=False, compare=False)
    _overlaps: dict[SourceKey, Overlap] = field(default_factory=dict, repr=False, compare=False)
    _tuned: dict[tuple[str, str], Parameters] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        is_number = isinstance(self.baseline_rows, int) and self.baseline_rows > 0
        if not is_number and self.baseline_rows not in ("balance", "same"):
            raise ConfigError(
                f"baseline_rows: {self.baseline_rows!r} is not 'balance', 'same' or a number of "
                "rows for every class, from 1"
            )
        for key, known in (("threshold_metric", ("f1", "balanced_accuracy")),
                           ("tuning", ("none", "search"))):  # fmt: skip
            if getattr(self, key) not in known:
                raise ConfigError(f"{key}: {getattr(self, key)!r} is not one of {list(known)}")

    def synthetic(self, dataset: str, method: str, generator_state: int) -> Table | None:
        """Return the rows a method adds, cut to `max_synthetic_rows`.

        None for a baseline, whose rows are made from the encoded ones, but for `copies_only`:
        of the generated rows beside it those that equal a training row.

        Raises:
            DataError: If a generative method has no rows for that table and state.
        """
        rows = self._rows(dataset).synthetic.get((method, generator_state))
        if rows is None and method == "copies_only":
            return self._copies(dataset, generator_state)
        if rows is None and method in BASELINES:
            return None
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
            wanted = self._wanted(dataset, method, generator_state, data)
            data = resample(method, data, generator_state, wanted)
        return standardise(data, self.protocol) if self.protocol == "paper" else data

    def tuned(self, dataset: str, classifier: str) -> Parameters:
        """Return a classifier's settings where they differ from the paper's; searched once.

        Raises:
            Exception: What the library says of the rows; see `classifiers.fit_errors`.
        """
        if self.tuning == "none":
            return {}
        key = (dataset, classifier)
        if key not in self._tuned:
            self._tuned[key] = search(classifier, self.encoded(dataset, "original", 0))
        return self._tuned[key]

    def overlap(self, dataset: str, method: str, generator_state: int) -> Overlap:
        """Return how many rows that a method adds are test rows; see `leaks.overlap`."""
        key = (dataset, method, generator_state)
        if key not in self._overlaps:
            self._overlaps[key] = overlap(self.encoded(*key))
        return self._overlaps[key]

    def n_training_rows(self, dataset: str, method: str, generator_state: int) -> int:
        """Return how many rows a method trains on, without encoding them.

        Raises:
            ConfigError: If the method is not known.
            DataError: If a generative method has no rows, or `same` rows nothing to equal.
        """
        rows = self._rows(dataset)
        added = self.synthetic(dataset, method, generator_state)
        if added is not None:
            return len(rows.train) + len(added)
        if baseline(method).rows is None:
            return len(rows.train)
        return len(rows.train) + sum(self._lacking(dataset, method, generator_state).values())

    def _lacking(self, dataset: str, method: str, generator_state: int) -> dict[str, int]:
        """Return the rows that a baseline is to add, by class."""
        counts = self._rows(dataset).train.class_counts
        if self.baseline_rows == "balance":
            return {label: max(counts.values()) - n for label, n in counts.items()}
        if self.baseline_rows != "same":
            return dict.fromkeys(counts, self.baseline_rows)
        key = self._beside(dataset, generator_state)
        if key is None:
            raise DataError(
                f"{dataset}: baseline_rows is 'same', but there are no generated rows for "
                f"{method} to equal; generate some, give a synthetic file, or say 'balance'"
            )
        added = self.synthetic(dataset, *key)
        return {} if added is None else dict(added.class_counts)

    def _wanted(
        self, dataset: str, method: str, generator_state: int, data: Encoded
    ) -> dict[int, int]:
        if self.baseline_rows == "balance" or baseline(method).rows is None:
            return to_balance(data.y_train[: data.n_real], len(data.classes))
        lacking = self._lacking(dataset, method, generator_state)
        return {code: lacking.get(label, 0) for code, label in enumerate(data.classes)}

    def _beside(self, dataset: str, generator_state: int) -> tuple[str, int] | None:
        """Return method and state of the generated rows that a baseline stands beside."""
        known = self._rows(dataset).synthetic
        names = dict.fromkeys(method for method, _ in known)
        first = next((name for name in GENERATIVE_METHODS if name in names), next(iter(names), ""))
        keys = [(first, generator_state), (first, 0)]
        return next((key for key in keys if key in known), None)

    def _copies(self, dataset: str, generator_state: int) -> Table:
        key = self._beside(dataset, generator_state)
        rows = None if key is None else self.synthetic(dataset, *key)
        if rows is None:
            raise DataError(
                f"{dataset}: copies_only needs generated rows to take copies from; generate "
                "some, give a synthetic file, or leave the method out"
            )
        known = set(self._rows(dataset).train.row_keys())
        return rows.take([place for place, key in enumerate(rows.row_keys()) if key in known])

    def _rows(self, dataset: str) -> DatasetRows:
        if dataset not in self.datasets:
            raise DataError(f"there are no rows of table {dataset!r}; {list(self.datasets)}")
        return self.datasets[dataset]
