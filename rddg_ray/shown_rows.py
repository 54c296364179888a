"""Which real rows a chain shows: for relations those of its coreset, then batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rddg_ray.batches import Positions, ReferenceBatches
from rddg_ray.config import GenerationSettings
from rddg_ray.table import Table


class ShownRows:
    """The real rows that a chain's prompts show, by their positions in the table."""

    def __init__(
        self,
        table: Table,
        coreset: Sequence[int] | None,
        settings: GenerationSettings,
        *,
        random_state: int,
        chain: int,
    ) -> None:
        """Prepare a chain; the arguments are those of `Synthesis`."""
        self._labels = table.labels
        self._rows = {label: np.flatnonzero(self._labels == label) for label in table.classes}
        self._coreset = self._rows if coreset is None else self._by_class(coreset)
        self._settings = settings
        self._seed = (random_state, chain)
        self._batches = ReferenceBatches(
            self._rows,
            settings.reference_rows_per_class,
            random_state=random_state,
            chain=chain,
        )

    def for_relations(self) -> dict[str, Positions]:
        """Return the rows of the coreset that prompt 1 shows, by class."""
        rng = np.random.default_rng([*self._seed, 0])
        size = self._settings.relation_rows_per_class
        return {
            label: rng.choice(rows, size=min(size, len(rows)), replace=False)
            for label, rows in self._coreset.items()
        }

    def batch(self, n_rounds: int, index: int) -> dict[str, Positions]:
        """Return the rows that prompt `index` shows after some generation rounds, by class."""
        return self._batches.batch(n_rounds * self._settings.batches_per_round + index)

    def _by_class(self, positions: Sequence[int]) -> dict[str, Positions]:
        unique = np.unique(np.asarray(positions, dtype=np.int64))
        labels = self._labels[unique]
        # A class that the coreset leaves out would leave the model without an example of it.
        return {
            label: unique[labels == label] if (labels == label).any() else rows
            for label, rows in self._rows.items()
        }
