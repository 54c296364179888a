"""What chains of one table have in common: measured rows, and what was fitted to them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rddg_ray.calibration.summaries import Summaries
from rddg_ray.config import GenerationSettings
from rddg_ray.measuring import Gauge, Measured
from rddg_ray.near_copies import CopyRates, NearCopies
from rddg_ray.novelty import Row, RowKey
from rddg_ray.plausibility import Plausibility
from rddg_ray.table import Table


@dataclass(frozen=True, slots=True)
class Copied:
    """The training row that a generated row is a copy of.

    Attributes:
        key: Its key.
        is_exact: Whether they are equal, not merely near.
    """

    key: RowKey
    is_exact: bool


class TableModels:
    """The training rows of a table as arrays and keys, and the models of them.

    A model is fitted when it is first asked for, and then serves every chain of the table. None
    depends on a chain's random state, so that a replay elsewhere gives the same.

    Attributes:
        gauge: Turns rows into arrays.
        real: The training rows, measured.
        keys: What makes each training row the same as another, in the table's order.
    """

    def __init__(self, table: Table, settings: GenerationSettings) -> None:
        """Measure the rows.

        Args:
            table: The training rows, and nothing but these.
            settings: Tolerance of near copies, threshold of plausibility, share of rare
                categories.
        """
        self.gauge = Gauge(table.features, table.classes)
        self.real: Measured = self.gauge.of_frame(table.frame, list(table.labels))
        self.keys: tuple[RowKey, ...] = tuple(table.row_keys())
        self._tolerance = settings.near_copy_tolerance
        self._threshold = settings.plausibility.threshold
        self._rare_share = settings.calibration.rare_share
        self._preparing = threading.Lock()

    def prepare(self, *, copies: bool, judged: bool, calibrated: bool) -> None:
        """Fit what chains will ask for, so that none of them waits for it in the middle.

        May be called from any thread; whoever comes second waits for the first.

        Args:
            copies: Whether copies are refused.
            judged: Whether rows of a class that is not believable are.
            calibrated: Whether feedback is calibrated.
        """
        with self._preparing:
            if copies and self._tolerance > 0:
                self.near.prepare()
            if judged:
                _ = self.plausibility
            if calibrated:
                _ = self.summaries

    @staticmethod
    def part_of(settings: GenerationSettings) -> tuple[float, float, float]:
        """Return the settings that the models depend on."""
        return (
            settings.near_copy_tolerance,
            settings.plausibility.threshold,
            settings.calibration.rare_share,
        )

    @cached_property
    def real_keys(self) -> frozenset[RowKey]:
        """Return the keys as a set."""
        return frozenset(self.keys)

    def copied(self, rows: Sequence[Row], keys: Sequence[RowKey]) -> list[Copied | None]:
        """Return what each generated row is a copy of, or None.

        Args:
            rows: Canonical values, the target's first.
            keys: The rows' keys (`novelty.row_key`).
        """
        found = [Copied(key, is_exact=True) if key in self.real_keys else None for key in keys]
        if self._tolerance == 0:
            return found
        others = [at for at, copied in enumerate(found) if copied is None]
        for at, place in zip(others, self.near.of_rows([rows[at] for at in others]), strict=True):
            if place is not None:
                found[at] = Copied(self.keys[place], is_exact=False)
        return found

    @cached_property
    def near(self) -> NearCopies:
        """Return what finds the real row that a row nearly equals."""
        return NearCopies(self.gauge, self.real, tolerance=self._tolerance)

    @cached_property
    def natural_copies(self) -> CopyRates:
        """Return how many training rows have a copy among the other training rows."""
        return self.near.natural_rates()

    @cached_property
    def plausibility(self) -> Plausibility:
        """Return the models that judge whether a row's class is believable."""
        return Plausibility(self.gauge, self.real, threshold=self._threshold)

    @cached_property
    def summaries(self) -> Summaries:
        """Return what calibration compares."""
        return Summaries(self.gauge, self.real, rare_share=self._rare_share)
