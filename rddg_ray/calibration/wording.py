"""Controls in words: what the next rows of a class should come to, in the columns' own units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rddg_ray.calibration.summaries import Summaries
from rddg_ray.calibration.summary import Summary
from rddg_ray.codes import Codes
from rddg_ray.feedback import (
    DAY_S,
    MEANS,
    SHAPES,
    SHARES,
    SPREADS,
    STRONGER,
    WEAKER,
    item_text,
    place_text,
    spread_text,
)
from rddg_ray.measuring import Gauge
from rddg_ray.prompts import quoted

_ENTRIES = (MEANS, SPREADS, STRONGER, WEAKER, SHAPES, SHARES)


@dataclass(frozen=True, slots=True)
class Saying:
    """A control and the level it starts from, both as words tell them.

    Attributes:
        at: Place of the summary among `Summaries.items`.
        control: Value to aim at, in the summary's scale.
        seen: Value that the rows come to without it, likewise.
    """

    at: int
    control: float
    seen: float


@dataclass(frozen=True, slots=True)
class Shape:
    """A column whose distribution is off in no way that a figure names.

    Attributes:
        label: The class.
        name: The column.
        statistic: Kolmogorov-Smirnov statistic of the batch.
    """

    label: str
    name: str
    statistic: float


class ControlWriter:
    """Writes controls, in the words of `FeedbackWriter` but with controls for targets."""

    def __init__(
        self,
        summaries: Summaries,
        gauge: Gauge,
        codes: Codes,
        class_name: Callable[[str], str],
    ) -> None:
        """Prepare a table; the arguments are those of `FeedbackWriter`."""
        self._summaries = summaries
        self._columns = {column.name: column for column in gauge.numbers}
        self._numbers = {column.name: at for at, column in enumerate(gauge.numbers)}
        self._places = {label: at for at, label in enumerate(gauge.classes)}
        self._classes = gauge.classes
        self._codes = codes
        self._class_name = class_name

    def as_read(self, at: int, value: float) -> float:
        """Return the value of a summary that a reader of its figure takes from it.

        Figures are rounded; what was asked is what was written.
        """
        summary = self._summaries.items[at]
        text = self._figure(summary, value)
        if summary.kind == "correlation":
            return float(np.arctanh(float(text)))
        if summary.kind == "share":
            return float(np.arcsin(np.sqrt(float(text))))
        column = self._columns[summary.names[0]]
        if summary.kind == "mean":
            centre, scale = self._standard(summary)
            read = column.decode(text) if column.kind == "datetime" else float(text)
            return (float(read or 0.0) - centre) / scale
        number = DAY_S * float(text.removesuffix(" days")) if "days" in text else float(text)
        # A spread that is written as 0 is still one on the log scale.
        return float(np.log(number / self._standard(summary)[1])) if number > 0 else value

    def write(self, sayings: Sequence[Saying], shapes: Sequence[Shape] = ()) -> str:
        """Return the report, without a final newline; empty where nothing is to be said."""
        lines: list[str] = []
        for label in self._classes:
            mine = [s for s in sayings if self._summaries.items[s.at].label == label]
            entries = self._entries(mine, [shape for shape in shapes if shape.label == label])
            if entries:
                lines += [f"Class {self._class_name(label)}:", *entries]
        return "\n".join(lines)

    def _entries(self, sayings: Sequence[Saying], shapes: Sequence[Shape]) -> list[str]:
        items: dict[str, list[str]] = {entry: [] for entry in _ENTRIES}
        for saying in sayings:
            summary = self._summaries.items[saying.at]
            figures = [self._figure(summary, value) for value in (saying.control, saying.seen)]
            items[_entry(summary, saying)].append(item_text(self._what(summary), *figures))
        items[SHAPES] = [f"{quoted(shape.name)} {shape.statistic:.2f}" for shape in shapes]
        return [f"- {entry}: {'; '.join(found)}" for entry, found in items.items() if found]

    def _what(self, summary: Summary) -> str:
        names = [quoted(name) for name in summary.names]
        if summary.kind != "share":
            return " and ".join(names)
        value = summary.values[0]
        shown = "" if value is None else self._codes.encode(summary.names[0], value)
        return f"{names[0]} {quoted(shown)}"

    def _figure(self, summary: Summary, value: float) -> str:
        """Return a summary's value as it is written, back from the stabilised scale."""
        if summary.kind == "correlation":
            return f"{np.tanh(value) + 0.0:.2f}"
        if summary.kind == "share":
            return f"{np.sin(np.clip(value, 0.0, np.pi / 2)) ** 2:.2f}"
        column = self._columns[summary.names[0]]
        centre, scale = self._standard(summary)
        if summary.kind == "mean":
            return place_text(column, float(centre + scale * value))
        return spread_text(column, float(scale * np.exp(value)))

    def _standard(self, summary: Summary) -> tuple[float, float]:
        part = self._summaries.classes[self._places[summary.label]]
        at = self._numbers[summary.names[0]]
        return float(part.centre[at]), float(part.scale[at])


def _entry(summary: Summary, saying: Saying) -> str:
    if summary.kind == "correlation":
        return STRONGER if abs(saying.control) >= abs(saying.seen) else WEAKER
    return {"mean": MEANS, "std": SPREADS, "share": SHARES}[summary.kind]
