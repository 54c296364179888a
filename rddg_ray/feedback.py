"""A batch's quality in words for the next prompt (Algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from rddg_ray.codes import Codes
from rddg_ray.config import FeedbackSettings
from rddg_ray.measuring import Floats, Gauge
from rddg_ray.prompts import quoted
from rddg_ray.quality import Comparison, Quality
from rddg_ray.schema import Column

# Opening words of the entries.
MEANS = "Adjust mean values closer to"
SPREADS = "Maintain variance similar to"
STRONGER = "Strengthen correlation between"
WEAKER = "Weaken correlation between"
SHAPES = "Align distribution patterns for"
SHARES = "Align category shares for"

_SIGNIFICANT = 4
DAY_S = 86_400.0


class FeedbackWriter:
    """Puts into words what exceeds its threshold, worst first.

    Figures come in the column's unit and precision, dates as dates and their spread in days,
    correlations, shares and Kolmogorov-Smirnov statistics with two decimals.

    NOTE[DIFF]: Algorithm 1 names target values only; we add what was seen, without which a
    model cannot tell which way to go, and say it for every class as well as overall.
    """

    def __init__(
        self,
        gauge: Gauge,
        settings: FeedbackSettings,
        codes: Codes,
        class_name: Callable[[str], str],
    ) -> None:
        """Prepare a table.

        Args:
            gauge: The gauge that measured the rows.
            settings: Thresholds and items an entry.
            codes: What stands for category values in prompts.
            class_name: How prompts name a class (`PromptWriter.class_name`).
        """
        self._gauge = gauge
        self._settings = settings
        self._codes = codes
        self._class_name = class_name

    def write(self, quality: Quality) -> str:
        """Return the report, without a final newline; empty where nothing is to be said."""
        found = [quality.overall, *quality.classes]
        return "\n".join(line for part in found if part is not None for line in self._part(part))

    def _part(self, part: Comparison) -> list[str]:
        entries = [entry for entry in self._entries(part) if entry]
        if not entries:
            return []
        name = "Overall" if part.label is None else f"Class {self._class_name(part.label)}"
        return [f"{name}:", *entries]

    def _entries(self, part: Comparison) -> list[str]:
        limits = self._settings
        numbers = self._gauge.numbers
        means = [_moment(numbers[at], part.mean_real[at], part.mean_synthetic[at], place_text)
                 for at in _worst(part.mean_difference, limits.mean)]  # fmt: skip
        spreads = [_moment(numbers[at], part.std_real[at], part.std_synthetic[at], spread_text)
                   for at in _worst(part.std_difference, limits.std)]  # fmt: skip
        shapes = [f"{quoted(numbers[at].name)} {part.ks[at]:.2f}"
                  for at in _worst(part.ks, limits.ks)]  # fmt: skip
        stronger, weaker = self._correlations(part)
        return [
            self._entry(MEANS, means),
            self._entry(SPREADS, spreads),
            self._entry(STRONGER, stronger),
            self._entry(WEAKER, weaker),
            self._entry(SHAPES, shapes),
            self._entry(SHARES, self._shares(part)),
        ]

    def _entry(self, words: str, items: Iterable[str]) -> str:
        said = [item for item in items if item][: self._settings.max_items]
        return f"- {words}: {'; '.join(said)}" if said else ""

    def _correlations(self, part: Comparison) -> tuple[list[str], list[str]]:
        """Return the pairs whose coefficient should lie farther from 0, and nearer to it."""
        upper = np.triu(np.ones(part.correlation_difference.shape, dtype=bool), k=1)
        differences = np.where(upper, part.correlation_difference, np.nan)
        sides: tuple[list[str], list[str]] = [], []
        for flat in _worst(differences.ravel(), self._settings.correlation):
            first, second = divmod(flat, len(self._gauge.numbers))
            wanted = part.correlation_real[first, second]
            seen = part.correlation_synthetic[first, second]
            names = " and ".join(quoted(self._gauge.numbers[at].name) for at in (first, second))
            sides[int(abs(wanted) < abs(seen))].append(f"{names} {wanted:.2f} (was {seen:.2f})")
        return sides

    def _shares(self, part: Comparison) -> list[str]:
        """Return, for each feature that is off, the value whose share is farthest off."""
        items = []
        gaps = np.abs(part.share_real - part.share_synthetic)
        ends = [*self._gauge.starts[1:], len(gaps)]
        for group in _worst(part.total_variation, self._settings.ks):
            start = self._gauge.starts[group]
            slot = start + int(gaps[start : ends[group]].argmax())
            wanted, seen = part.share_real[slot], part.share_synthetic[slot]
            name = self._gauge.groups[group].name
            value = self._gauge.slots[slot][1]
            shown = "" if value is None else self._codes.encode(name, value)
            items.append(f"{quoted(name)} {quoted(shown)} {wanted:.2f} (was {seen:.2f})")
        return items


def _worst(differences: Floats, threshold: float) -> list[int]:
    """Return the places above the threshold, largest difference first, ties in order."""
    above = np.flatnonzero(differences > threshold)  # NaN is above nothing
    return [int(at) for at in above[np.argsort(-differences[above], kind="stable")]]


def _moment(
    column: Column, wanted: float, seen: float, words: Callable[[Column, float], str]
) -> str:
    """Return an item, or nothing where both figures read the same."""
    target, was = words(column, float(wanted)), words(column, float(seen))
    return item_text(quoted(column.name), target, was) if target != was else ""


def item_text(name: str, target: str, was: str) -> str:
    """Return an item of an entry: what, the wanted figure and, where it differs, the one seen."""
    return f"{name} {target} (was {was})" if target != was else f"{name} {target}"


def place_text(column: Column, value: float) -> str:
    """Return a mean in the column's unit and precision; a date for a datetime column."""
    if column.kind == "datetime":
        return column.encode(value)
    return figure_text(value, column.decimals + 1)


def spread_text(column: Column, value: float) -> str:
    """Return a standard deviation in the column's unit; in days for a datetime column."""
    if column.kind == "datetime":
        return f"{figure_text(value / DAY_S, 1)} days"
    return figure_text(value, column.decimals + 1)


def figure_text(value: float, decimals: int) -> str:
    """Return a number with these decimals at most, and no more digits than mean something."""
    if not math.isfinite(value) or abs(value) >= 1e15:
        return f"{value:.{_SIGNIFICANT}g}"
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    places = max(0, min(decimals, _SIGNIFICANT - 1 - magnitude))
    return f"{round(value, places) + 0.0:.{places}f}"
