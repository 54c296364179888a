"""What a summary is, and what is found of it in some rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rddg_ray.measuring import Floats

Kind = Literal["mean", "std", "correlation", "share"]


@dataclass(frozen=True, slots=True)
class Summary:
    """One summary.

    Attributes:
        label: The class it is about.
        kind: What it measures.
        names: The column; both for a correlation.
        values: Categories whose share it is, None for the missing cell: one, or several that
            are pooled. Empty for the other kinds.
    """

    label: str
    kind: Kind
    names: tuple[str, ...]
    values: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Observation:
    """The summaries of some rows, all of shape `(n_summaries,)`.

    Attributes:
        deviation: What was found, less what as many real rows give on average; 0 where it is
            not defined.
        variance: Its variance over batches of real rows; infinite where it is not defined.
        n_rows: Known values that it rests on.
    """

    deviation: Floats
    variance: Floats
    n_rows: Floats
