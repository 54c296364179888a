"""What a data set is, before it becomes a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Kind: TypeAlias = Literal["generated", "bundled", "file"]
Recipe: TypeAlias = Literal["authors", "raw"]
Split: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Positions of the training rows and of the test rows, in the authors' order."""


@dataclass(frozen=True)
class DatasetInfo:
    """What can be said of a data set without loading it.

    Attributes:
        name: Name that `load` takes.
        kind: `generated` by this package, `bundled` with scikit-learn, or read from a `file`.
        rows: Number of rows as the paper uses it (generated sets: by default).
        target: Name of the target column.
        classes: Class to its number of rows.
        homepage: Page that describes the set and says where to get it; empty for generated.
        licence: Note on its licence; empty for generated.
        files: File name to the SHA-256 of its bytes; empty unless `kind` is `file`.
    """

    name: str
    kind: Kind
    rows: int
    target: str
    classes: dict[str, int]
    homepage: str = ""
    licence: str = ""
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory.

    Numbers are numbers, categories and classes are text, a missing value is missing.

    Attributes:
        name: Name that it was loaded by.
        frame: The rows, shape `(n_rows, n_attributes + 1)`, index 0 .. n_rows - 1.
        target: Name of the target column in `frame`.
        descriptions: Column to its meaning, with unit; not every column needs one.
        rare_class: The class with fewest rows, or the one asked for; None where several
            classes share the smallest count.
        split: The authors' split as positions in `frame`, or None where it is not known.
    """

    name: str
    frame: pd.DataFrame
    target: str
    descriptions: dict[str, str]
    rare_class: str | None = None
    split: Split | None = None


def rarest_class(labels: pd.Series) -> str | None:
    """Return the class with strictly fewest rows, or None where several share that count.

    Args:
        labels: One class a row, shape `(n_rows,)`.

    Returns:
        The class as text, or None.
    """
    counts = labels.value_counts()
    rarest = counts.index[counts == counts.min()]
    return str(rarest[0]) if len(rarest) == 1 else None
