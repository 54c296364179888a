"""Every data set by its name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rddg_ray.datasets.bundled import BUNDLED, load_bundled
from rddg_ray.datasets.catalog import CATALOG, load_file_set
from rddg_ray.datasets.fetch import Origin
from rddg_ray.datasets.generators import consumer, estate, health, social
from rddg_ray.datasets.imbalance import class_order, induce_imbalance
from rddg_ray.datasets.record import Dataset, DatasetInfo, Recipe, Split, rarest_class
from rddg_ray.errors import ConfigError


@dataclass(frozen=True)
class GeneratedSet:
    """A data set that this package generates.

    Attributes:
        info: What can be said without generating.
        generate: From `n_rows` and `random_state` to the rows.
        descriptions: Column to its meaning.
    """

    info: DatasetInfo
    generate: Callable[[int, int], pd.DataFrame]
    descriptions: dict[str, str]


def _generated(
    name: str,
    generate: Callable[[int, int], pd.DataFrame],
    target: str,
    classes: dict[str, int],
    descriptions: dict[str, str],
) -> GeneratedSet:
    info = DatasetInfo(name, "generated", sum(classes.values()), target, dict(classes))
    return GeneratedSet(info, generate, descriptions)


_GENERATED_SETS = (
    _generated(
        "consumer_behavior",
        consumer.consumer_behavior,
        consumer.TARGET,
        consumer.CLASSES,
        consumer.DESCRIPTIONS,
    ),
    _generated(
        "health_metrics",
        health.health_metrics,
        health.TARGET,
        health.CLASSES,
        health.DESCRIPTIONS,
    ),
    _generated(
        "real_estate", estate.real_estate, estate.TARGET, estate.CLASSES, estate.DESCRIPTIONS
    ),
    _generated(
        "social_network",
        social.social_network,
        social.TARGET,
        social.CLASSES,
        social.DESCRIPTIONS,
    ),
)

GENERATED: dict[str, GeneratedSet] = {entry.info.name: entry for entry in _GENERATED_SETS}
"""Name to the set."""


def names() -> list[DatasetInfo]:
    """Return every data set that `load` knows.

    Returns:
        Generated sets first, then scikit-learn's, then those read from files.
    """
    generated = [entry.info for entry in GENERATED.values()]
    bundled = [entry.info for entry in BUNDLED.values()]
    return generated + bundled + [entry.info for entry in CATALOG.values()]


def info(name: str) -> DatasetInfo:
    """Return what can be said of a data set without loading it.

    Args:
        name: Its name; case does not matter, and `-` or space stand for `_`.

    Returns:
        The data set's entry.

    Raises:
        ConfigError: If there is no such set; lists those there are.
    """
    known = {entry.name: entry for entry in names()}
    wanted = name.strip().lower().replace("-", "_").replace(" ", "_")
    if wanted in known:
        return known[wanted]
    close = difflib.get_close_matches(wanted, known, n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise ConfigError(f"no data set {name!r}.{hint} There are: {', '.join(known)}")


def load(
    name: str,
    *,
    path: str | PathLike[str] | None = None,
    url: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    recipe: Recipe = "authors",
    random_state: int = 0,
    imbalance_ratio: float | None = None,
    rare_class: str | None = None,
) -> Dataset:
    """Load a data set by name.

    Args:
        name: One of `names()`.
        path: For sets read from files: the file, or the folder that holds the files.
        url: For sets read from files: URL (http, https, file) of the file, or of the folder if
            it ends in `/`. The download is checked by hash and kept in the cache.
        cache_dir: Folder for downloads; by default the platform's cache folder.
        recipe: For sets read from files: `authors` for the rows as the paper used them, `raw`
            for those of the file. Other sets have one form.
        random_state: Seed of a generated set and of the rows dropped for imbalance.
        imbalance_ratio: Drop rows until the rarest class is this many times rarer than the
            most frequent (`imbalance.induce_imbalance`); None to keep all rows.
        rare_class: The class to make, or to call, the rare one; by default the one with fewest
            rows.

    Returns:
        The data set. With `imbalance_ratio` the authors' split is what is left of it.

    Raises:
        ConfigError: If the name or the recipe is not known, `path` or `url` is given for a set
            that is not read from files, or a number is out of range.
        DataError: If a file is absent or not the right one, `rare_class` is not a class, or the
            ratio cannot be reached.
    """
    entry = info(name)
    origin = Origin(
        path=None if path is None else Path(path).expanduser(),
        url=url,
        cache_dir=None if cache_dir is None else Path(cache_dir).expanduser(),
    )
    dataset = _load_whole(entry, origin, recipe, random_state)
    if imbalance_ratio is not None:
        dataset = _imbalanced(dataset, imbalance_ratio, random_state, rare_class)
    if rare_class is not None:
        last = class_order(dataset.frame[dataset.target], rare_class)[-1]
        dataset = replace(dataset, rare_class=str(last))
    return dataset


def _load_whole(entry: DatasetInfo, origin: Origin, recipe: Recipe, random_state: int) -> Dataset:
    if recipe not in get_args(Recipe):
        raise ConfigError(f"recipe={recipe!r}: choose one of {', '.join(get_args(Recipe))}")
    if entry.name in CATALOG:
        return load_file_set(CATALOG[entry.name], origin, recipe)
    if origin.path is not None or origin.url is not None:
        raise ConfigError(
            f"data set {entry.name!r} is {entry.kind}, not read from a file; give neither path "
            f"nor url"
        )
    if entry.name in BUNDLED:
        return load_bundled(BUNDLED[entry.name])
    generated = GENERATED[entry.name]
    frame = generated.generate(entry.rows, random_state)
    rarest = rarest_class(frame[entry.target])
    return Dataset(entry.name, frame, entry.target, dict(generated.descriptions), rarest)


def _imbalanced(
    dataset: Dataset, ratio: float, random_state: int, rare_class: str | None
) -> Dataset:
    kept = induce_imbalance(dataset.frame, dataset.target, ratio, random_state, rare_class)
    frame = dataset.frame.iloc[kept].reset_index(drop=True)
    split = None if dataset.split is None else _remaining(dataset.split, kept)
    return replace(
        dataset, frame=frame, split=split, rare_class=rarest_class(frame[dataset.target])
    )


def _remaining(split: Split, kept: NDArray[np.int64]) -> Split:
    """Return the split as positions among the kept rows, without the dropped ones."""
    train, test = (np.searchsorted(kept, part[np.isin(part, kept)]) for part in split)
    return train, test
