"""What the report page is told; it reads nothing by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from rddg_ray.config import BASELINE_METHODS, GENERATIVE_METHODS
from rddg_ray.evaluation.fits import DatasetRows
from rddg_ray.evaluation.report.making import MakingRecords
from rddg_ray.table import Table

EMBEDDED_MODEL = "embedded-sampler"
_SECRETIVE = ("api_key", "token", "secret", "password")


@dataclass(frozen=True)
class ReportContext:
    """A run as the report shows it.

    Attributes:
        title: Heading of the page.
        fits: One row a fit; see `fits.fit_cell`. May be empty where nothing was evaluated.
        datasets: Rows by name of the table, as the grid had them.
        model: Name of the model that wrote rows, or empty where none did.
        endpoint: Where it was asked; user, key and query of a URL are never shown.
        created: When the run ended, as text.
        rejects: Columns `dataset`, `method`, `reason`, `n`.
        shortfalls: Columns `dataset`, `method`, `generator_state`, `class`, `wanted`, `made`,
            `why`.
        usage: Columns `dataset`, `method`, `n_calls`, `prompt_tokens`, `completion_tokens`,
            `cached_tokens`, `accepted_rows`, `tokens_per_row`, with prices `usd_per_1000_rows`.
        settings: Settings of the run, nested plain values.
        versions: Package versions by name.
        notes: Sentences the reader should know.
        making: What chains put on record beside their rows.
        shown: Training rows that prompts showed to explain the table, by name of the table and
            then by method and generator state.
    """

    title: str
    fits: pd.DataFrame
    datasets: Mapping[str, DatasetRows]
    model: str = ""
    endpoint: str = ""
    created: str = ""
    rejects: pd.DataFrame = field(default_factory=pd.DataFrame)
    shortfalls: pd.DataFrame = field(default_factory=pd.DataFrame)
    usage: pd.DataFrame = field(default_factory=pd.DataFrame)
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    making: MakingRecords = field(default_factory=MakingRecords)
    shown: Mapping[str, Mapping[tuple[str, int], Table]] = field(default_factory=dict)

    @property
    def is_embedded(self) -> bool:
        """Return whether rows were made by the embedded sampler, not by a language model."""
        return self.model == EMBEDDED_MODEL


def headline(methods: Mapping[tuple[str, int], Any] | list[str]) -> str | None:
    """Return the method a report speaks of first: rddg, another generative one, any file's."""
    names = [key if isinstance(key, str) else key[0] for key in methods]
    rest = [name for name in names if name not in BASELINE_METHODS]
    return next((name for name in GENERATIVE_METHODS if name in rest), rest[0] if rest else None)


def host_of(endpoint: str) -> str:
    """Return host and port of a URL, without user, key, path or query; a plain name as it is."""
    if "//" not in endpoint:
        return endpoint.split("?", maxsplit=1)[0].rpartition("@")[2]
    return urlsplit(endpoint).netloc.rpartition("@")[2]


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as `("a.b", "value")` pairs, with nothing that could be a key."""
    pairs: list[tuple[str, str]] = []
    for name, value in settings.items():
        label = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            pairs += flat_settings(value, f"{label}.")
        elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
            for position, item in enumerate(value):
                inner = item if isinstance(item, Mapping) else {"": item}
                pairs += flat_settings(inner, f"{label}[{position}].")
        else:
            pairs.append((label, _shown(str(name), value)))
    return pairs


def _shown(name: str, value: Any) -> str:
    if any(word in name.lower() for word in _SECRETIVE) and isinstance(value, str):
        return "set, not shown"
    if isinstance(value, str) and "://" in value:
        return host_of(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)
