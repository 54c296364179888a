"""From table settings to training and test rows."""

from __future__ import annotations

from dataclasses import dataclass

from rddg_ray.config import TableSettings
from rddg_ray.datasets import Dataset, load
from rddg_ray.datasets.imbalance import induce_imbalance
from rddg_ray.errors import ConfigError
from rddg_ray.reading import read_frame, read_metadata, read_table
from rddg_ray.table import Table, conform, from_frame, split


@dataclass(frozen=True)
class PreparedTable:
    """The rows of one data set of a run.

    Attributes:
        train: The only rows that anything is learned, shown or synthesised from.
        test: Held-out rows under the training schema.
    """

    train: Table
    test: Table


def prepare(settings: TableSettings) -> PreparedTable:
    """Load, split and, if asked, make imbalanced; the same settings give the same rows.

    Raises:
        ConfigError: If a setting does not fit the data set.
        DataError: If the table cannot be used.
    """
    if settings.dataset is not None:
        train, test = _from_catalog(settings)
    else:
        train, test = _from_files(settings)
    if settings.imbalance_ratio is not None:
        kept = induce_imbalance(
            train.frame[train.target],
            None,
            settings.imbalance_ratio,
            settings.split_random_state,
            train.rare_class,
        )
        train = train.take(kept).narrowed()
    return PreparedTable(train, train.with_frame(test.frame))


def whole_table(settings: TableSettings) -> Table:
    """Return all rows of a table without a split."""
    if settings.dataset is not None:
        return _catalog_table(settings)[0]
    return read_table(
        str(settings.path),
        str(settings.target),
        metadata=settings.metadata,
        missing_values=settings.missing_values,
        name=settings.label,
        rare_class=settings.rare_class,
    )


def _from_files(settings: TableSettings) -> tuple[Table, Table]:
    table = whole_table(settings)
    if settings.test_path is None:
        return _split(table, settings)
    test = conform(
        read_frame(settings.test_path),
        table,
        name=settings.test_path,
        missing_values=settings.missing_values,
    )
    return table, test


def _from_catalog(settings: TableSettings) -> tuple[Table, Table]:
    table, dataset = _catalog_table(settings)
    if settings.split == "random":
        return _split(table, settings)
    if dataset.split is None:
        raise ConfigError(
            f"tables.{settings.label}: the authors' split of {settings.dataset!r} is not known; "
            "set split: random"
        )
    train_positions, test_positions = dataset.split
    train = table.take(train_positions).narrowed()
    return train, train.with_frame(table.take(test_positions).frame)


def _catalog_table(settings: TableSettings) -> tuple[Table, Dataset]:
    dataset = load(
        str(settings.dataset), path=settings.path, url=settings.url, rare_class=settings.rare_class
    )
    if settings.target not in (None, dataset.target):
        raise ConfigError(
            f"tables.{settings.label}: target is {dataset.target!r} in the catalog, "
            f"not {settings.target!r}; leave it out"
        )
    table = from_frame(
        dataset.frame,
        dataset.target,
        name=settings.label,
        descriptions=dataset.descriptions,
        metadata=read_metadata(settings.metadata) if settings.metadata else None,
        missing_values=(),
        rare_class=settings.rare_class,
    )
    return table, dataset


def _split(table: Table, settings: TableSettings) -> tuple[Table, Table]:
    return split(
        table,
        settings.test_share,
        settings.split_random_state,
        keep_duplicates_together=settings.keep_duplicates_together,
    )
