"""The real classification sets that come with scikit-learn, under readable names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.datasets.record import Dataset, DatasetInfo, rarest_class

_LICENCE = "bundled with scikit-learn (BSD-3-Clause); data from the UCI repository, CC BY 4.0"
_UCI = "https://archive.ics.uci.edu/dataset"
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class BundledSet:
    """One of scikit-learn's own data sets.

    Attributes:
        info: What can be said without loading.
        loader: Name of the function in `sklearn.datasets`.
        classes: Our names of the classes, in the order of scikit-learn's codes.
        target_text: Description of the target column.
        describe: From scikit-learn's column name to a description.
    """

    info: DatasetInfo
    loader: str
    classes: tuple[str, ...]
    target_text: str
    describe: Callable[[str], str]


def column_name(name: str) -> str:
    """Return a scikit-learn column name as lower-case words joined by underscores.

    Args:
        name: Such as `sepal length (cm)`.

    Returns:
        Such as `sepal_length_cm`.
    """
    return re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")


def load_bundled(entry: BundledSet) -> Dataset:
    """Load one of scikit-learn's data sets; opens no connection.

    Args:
        entry: Which set.

    Returns:
        The data set; columns of whole numbers are integers, classes are words.
    """
    from sklearn import datasets  # heavy, so only where a bundled set is asked for

    bunch: Any = getattr(datasets, entry.loader)(as_frame=True)
    frame = bunch.data.rename(columns=column_name)
    whole = [name for name in frame.columns if (frame[name] % 1 == 0).all()]
    frame = frame.astype(dict.fromkeys(whole, np.int64))
    target = entry.info.target
    frame[target] = np.array(entry.classes)[bunch.target.to_numpy()]
    descriptions = {column_name(name): entry.describe(name) for name in bunch.data.columns}
    return Dataset(
        name=entry.info.name,
        frame=pd.DataFrame(frame),
        target=target,
        descriptions={**descriptions, target: entry.target_text},
        rare_class=rarest_class(frame[target]),
    )


def _describe_nuclei(name: str) -> str:
    if name.startswith("mean "):
        return f"Mean {name.removeprefix('mean ')} of the cell nuclei in the image"
    if name.startswith("worst "):
        feature = name.removeprefix("worst ")
        return f"Mean of the three largest values of the {feature} of the cell nuclei"
    return f"Standard error of the {name.removesuffix(' error')} of the cell nuclei"


def _describe_pixel(name: str) -> str:
    _, row, column = name.split("_")
    return f"Ink in row {row}, column {column} of the 8 x 8 image, 0 (none) to 16 (full)"


def _describe_wine(name: str) -> str:
    return f"{name.replace('_', ' ').capitalize()} of the wine, from a chemical analysis"


def _describe_iris(name: str) -> str:
    return f"{name.removesuffix(' (cm)').capitalize()} in centimetres"


BUNDLED: dict[str, BundledSet] = {
    "breast_cancer": BundledSet(
        DatasetInfo(
            "breast_cancer",
            "bundled",
            569,
            "diagnosis",
            {"benign": 357, "malignant": 212},
            f"{_UCI}/17/breast+cancer+wisconsin+diagnostic",
            _LICENCE,
        ),
        "load_breast_cancer",
        ("malignant", "benign"),
        "Diagnosis of the breast mass: malignant or benign",
        _describe_nuclei,
    ),
    "wine": BundledSet(
        DatasetInfo(
            "wine",
            "bundled",
            178,
            "cultivar",
            {"cultivar_1": 59, "cultivar_2": 71, "cultivar_3": 48},
            f"{_UCI}/109/wine",
            _LICENCE,
        ),
        "load_wine",
        ("cultivar_1", "cultivar_2", "cultivar_3"),
        "Cultivar that the wine was made from: one of three of the same region",
        _describe_wine,
    ),
    "iris": BundledSet(
        DatasetInfo(
            "iris",
            "bundled",
            150,
            "species",
            {"setosa": 50, "versicolor": 50, "virginica": 50},
            f"{_UCI}/53/iris",
            _LICENCE,
        ),
        "load_iris",
        ("setosa", "versicolor", "virginica"),
        "Species of the iris: setosa, versicolor or virginica",
        _describe_iris,
    ),
    "digits": BundledSet(
        DatasetInfo(
            "digits",
            "bundled",
            1797,
            "digit",
            dict(zip(_DIGITS, (178, 182, 177, 183, 181, 182, 181, 179, 174, 180), strict=True)),
            f"{_UCI}/80/optical+recognition+of+handwritten+digits",
            _LICENCE,
        ),
        "load_digits",
        _DIGITS,
        "The digit that was written, as a word from zero to nine",
        _describe_pixel,
    ),
}
"""Name to the set."""
