"""Generators of other packages: adapters where they install, and what prevents the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from rddg_ray.errors import DataError
from rddg_ray.evaluation.encoding import Encoded

_DRAW_ROWS = 1000
_MOST_DRAWS = 100


@dataclass(frozen=True, slots=True)
class Extra:
    """A generator that this package does not bring along.

    Attributes:
        name: What it is called in settings and results.
        package: What provides it today, as pip names it; empty for none.
        module: What that package is imported as.
        licence: Of the package.
        prevents: Why there is no adapter; empty where there is one.
    """

    name: str
    package: str
    module: str
    licence: str
    prevents: str = ""


_LISTED = (
    Extra("ctgan", "ctgan", "ctgan", "BUSL-1.1: to compare with, not to build on"),
    Extra("tvae", "ctgan", "ctgan", "BUSL-1.1: to compare with, not to build on"),
    Extra("realtabformer", "realtabformer", "realtabformer", "MIT",
          "0.2.4 works with transformers 4.57 at most, pip resolves it with 5"),
    Extra("great", "be_great", "be_great", "MIT",
          "it fine-tunes a language model whose weights come from a model hub"),
    Extra("tabddpm", "", "", "",
          "no package of that name is released; its code is a research repository"),
    Extra("cdtd", "", "", "",
          "no package of that name is released; its code is a research repository"),
    Extra("ads_gan", "synthcity", "synthcity", "Apache-2.0",
          "synthcity needs torch below 2.3 and numpy below 2"),
)  # fmt: skip

EXTRAS: Mapping[str, Extra] = {extra.name: extra for extra in _LISTED}
"""Every optional generator, by its name in settings."""


def why_not(name: str) -> str:
    """Return in a sentence why an optional generator is skipped; empty where it can run."""
    extra = EXTRAS[name]
    bring = f"bring its rows as a synthetic file named {name}"
    if extra.prevents:
        package = f" (package {extra.package}, {extra.licence})" if extra.package else ""
        return f"{name} is skipped{package}: {extra.prevents}; {bring}"
    if find_spec(extra.module) is None:
        return (
            f"{name} is skipped: package {extra.package} ({extra.licence}) is not installed; "
            f"pip install {extra.package}, or {bring}"
        )
    return ""


def skipped(methods: Iterable[str]) -> dict[str, str]:
    """Return those of some methods that cannot run here, and why."""
    reasons = {method: why_not(method) for method in methods if method in EXTRAS}
    return {method: reason for method, reason in reasons.items() if reason}


def availability() -> list[dict[str, str]]:
    """Return a row for each optional generator: name, package, licence, and why it is skipped."""
    return [
        {
            "name": extra.name,
            "package": extra.package,
            "licence": extra.licence,
            "skipped": why_not(extra.name),
        }
        for extra in _LISTED
    ]


def ctgan_rows(
    data: Encoded, wanted: Mapping[int, int], random_state: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of CTGAN with its own settings (300 epochs), on the CPU."""
    model = import_module("ctgan").CTGAN(enable_gpu=False)
    return _drawn("ctgan", model, data, wanted, random_state)


def tvae_rows(
    data: Encoded, wanted: Mapping[int, int], random_state: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of TVAE with its own settings (300 epochs), on the CPU."""
    model = import_module("ctgan").TVAE(enable_gpu=False)
    return _drawn("tvae", model, data, wanted, random_state)


def _drawn(
    name: str, model: Any, data: Encoded, wanted: Mapping[int, int], random_state: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fit on all training rows, the class a column, and draw until each class has its rows.

    Neither model reads missing numbers, so they are filled with the training means first.
    """
    X, y = data.filled(data.X_train[: data.n_real]), data.y_train[: data.n_real]
    discrete = [*np.flatnonzero(data.is_categorical).tolist(), X.shape[1]]
    model.set_random_state(random_state)
    model.fit(np.column_stack([X, y]), discrete_columns=discrete)
    found: dict[int, list[np.ndarray]] = {code: [] for code in wanted}
    for _ in range(_MOST_DRAWS):
        rows = np.asarray(model.sample(_DRAW_ROWS), dtype=np.float64)
        for code, parts in found.items():
            parts.append(rows[rows[:, -1] == code, :-1])
        if all(sum(map(len, found[code])) >= number for code, number in wanted.items()):
            new = {code: np.concatenate(parts)[: wanted[code]] for code, parts in found.items()}
            codes = np.repeat(list(new), [len(rows) for rows in new.values()])
            return np.concatenate(list(new.values())), codes
    lacking = next(c for c, n in wanted.items() if sum(map(len, found[c])) < n)
    raise DataError(
        f"{name}: {_MOST_DRAWS * _DRAW_ROWS} drawn rows hold "
        f"{sum(map(len, found[lacking]))} of class {data.classes[lacking]!r}, "
        f"{wanted[lacking]} are wanted"
    )
