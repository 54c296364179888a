"""Real data sets that are files: where they come from and how they are read.

None is shipped. The hash decides whether a file is the right one: copies of these sets on the
web are often altered without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pandas as pd

from rddg_ray.datasets import descriptions, recipes
from rddg_ray.datasets.fetch import Origin, Source, SourceFile, read_files
from rddg_ray.datasets.record import Dataset, DatasetInfo, Recipe, Split, rarest_class
from rddg_ray.errors import DataError

Reader: TypeAlias = Callable[[Sequence[bytes], Recipe], tuple[pd.DataFrame, Split | None]]


@dataclass(frozen=True)
class FileSet:
    """A data set that is one file or several.

    Attributes:
        info: What can be said without loading; rows and classes are those of the `authors`
            recipe.
        source: The files, in the order that `read` takes them, and where they come from.
        read: From their bytes to the rows and the authors' split.
        descriptions: Column of the `authors` recipe to its meaning.
    """

    info: DatasetInfo
    source: Source
    read: Reader
    descriptions: dict[str, str]


def load_file_set(entry: FileSet, origin: Origin, recipe: Recipe) -> Dataset:
    """Load a catalogued data set from its files.

    Args:
        entry: Which set.
        origin: Where the files are.
        recipe: `authors` for the rows as the paper used them; `raw` for the rows as they are in
            the file, with missing tokens read as missing.

    Returns:
        The data set.

    Raises:
        ConfigError: If `origin` is contradictory or its URL of no known kind.
        DataError: If a file is absent, cannot be downloaded, or has another hash.
    """
    info = entry.info
    files = read_files(entry.source, origin)
    frame, split = entry.read(files, recipe)
    if recipe == "authors":
        _check_counts(info, frame)
    return Dataset(
        name=info.name,
        frame=frame,
        target=info.target,
        descriptions=describe(entry.descriptions, frame.columns),
        rare_class=rarest_class(frame[info.target]),
        split=split,
    )


def describe(texts: dict[str, str], columns: Sequence[str]) -> dict[str, str]:
    """Return the description of each column, whatever way its name is spelled.

    Args:
        texts: Column name to description.
        columns: Column names, which may differ in case and in `_`, `-` or space.

    Returns:
        Column to description, for the columns that have one.
    """

    def plain(name: str) -> str:
        return name.lower().replace("-", "_").replace(" ", "_")

    by_plain_name = {plain(name): text for name, text in texts.items()}
    return {name: by_plain_name[plain(name)] for name in columns if plain(name) in by_plain_name}


def _check_counts(info: DatasetInfo, frame: pd.DataFrame) -> None:
    # The hash fixes the bytes; this holds the reading of them, whatever pandas is installed.
    found = {str(name): int(n) for name, n in frame[info.target].value_counts().items()}
    if found != info.classes:
        raise DataError(
            f"data set {info.name!r}: column {info.target!r} reads as {found}, expected "
            f"{info.classes}; the installed pandas reads the file in another way"
        )


def _file_set(info: DatasetInfo, read: Reader, texts: dict[str, str]) -> FileSet:
    files = tuple(SourceFile(name, sha256) for name, sha256 in info.files.items())
    return FileSet(info, Source(info.name, files, info.homepage), read, texts)


_CC_BY = "CC BY 4.0 (UCI Machine Learning Repository)"

_SETS = (
    _file_set(
        DatasetInfo(
            name="sick",
            kind="file",
            rows=3711,
            target="Class",
            classes={"negative": 3480, "sick": 231},
            homepage="https://www.openml.org/d/38",
            licence=f"{_CC_BY}, as part of Thyroid Disease, "
            "https://archive.ics.uci.edu/dataset/102/thyroid+disease",
            files={"sick.csv": "1a36641d3a5df5c7ee06f5ccd26cd75de742c34888b23d7b1abcdb0fcfffa0bd"},
        ),
        recipes.read_sick,
        descriptions.SICK,
    ),
    _file_set(
        DatasetInfo(
            name="thyroid",
            kind="file",
            rows=383,
            target="Recurred",
            classes={"No": 275, "Yes": 108},
            homepage="https://archive.ics.uci.edu/dataset/915/"
            "differentiated+thyroid+cancer+recurrence",
            licence=_CC_BY,
            files={
                "Thyroid_Diff.csv": (
                    "9b8d6954b03dae9acc6fb2cd73592d0a43f7d0f57db2bba4e9b1790ced1bd577"
                )
            },
        ),
        recipes.read_thyroid,
        descriptions.THYROID,
    ),
    _file_set(
        DatasetInfo(
            name="travel",
            kind="file",
            rows=894,
            target="Target",
            classes={"0": 678, "1": 216},
            homepage="https://www.kaggle.com/datasets/tejashvi14/"
            "tour-travels-customer-churn-prediction",
            licence="as stated on the homepage",
            files={
                "Customertravel.csv": (
                    "536c05fe45b66312706c8f07ad572dd96ccd0ac20e952995f0127eb63a42fd4b"
                )
            },
        ),
        recipes.read_travel,
        descriptions.TRAVEL,
    ),
    _file_set(
        DatasetInfo(
            name="heloc",
            kind="file",
            rows=10_459,
            target="RiskPerformance",
            classes={"Bad": 5459, "Good": 5000},
            homepage="https://community.fico.com/s/explainable-machine-learning-challenge",
            licence="under a data-use agreement with FICO: accept it on the homepage; the file "
            "must not be passed on",
            files={
                "heloc_dataset_v1.csv": (
                    "abdb86f415228b6754dcdee791feaf25bb73a9147f1742cf09c9a2dd54308a93"
                )
            },
        ),
        recipes.read_heloc,
        descriptions.HELOC,
    ),
    _file_set(
        DatasetInfo(
            name="segmentation",
            kind="file",
            rows=2310,
            target="class",
            classes=dict.fromkeys(
                ("BRICKFACE", "SKY", "FOLIAGE", "CEMENT", "WINDOW", "PATH", "GRASS"), 330
            ),
            homepage="https://archive.ics.uci.edu/dataset/50/image+segmentation",
            licence=_CC_BY,
            files={
                "segmentation.data": (
                    "b4226a708f25d44fbbe4eae36f0d66326bc46393534c2a0d2b9267ae1302002f"
                ),
                "segmentation.test": (
                    "3b5aa7c3559fdc3a165e97d321809b81292084adfc112645e250d90321203685"
                ),
            },
        ),
        recipes.read_segmentation,
        descriptions.SEGMENTATION,
    ),
    _file_set(
        DatasetInfo(
            name="credit_g",
            kind="file",
            rows=1000,
            target="class",
            classes={"good": 700, "bad": 300},
            homepage="https://www.openml.org/d/31",
            licence=f"{_CC_BY}, as Statlog (German Credit Data), "
            "https://archive.ics.uci.edu/dataset/144/statlog+german+credit+data",
            files={
                "credit-g.csv": "806408f5167cc048919542e67b256a9f691943d925ec87ec948c10ca27f88a05"
            },
        ),
        recipes.read_credit_g,
        descriptions.CREDIT_G,
    ),
)

CATALOG: dict[str, FileSet] = {entry.info.name: entry for entry in _SETS}
"""Name to the set."""
