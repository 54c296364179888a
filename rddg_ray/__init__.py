"""Rows for the rare classes of a table, written by a language model under measured feedback.

The names below are imported when first used, so that `import rddg_ray` is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rddg_ray.config import EndpointSettings as EndpointSettings
    from rddg_ray.config import GenerationSettings as GenerationSettings
    from rddg_ray.config import RunSettings as RunSettings
    from rddg_ray.config import SynthesisSettings as SynthesisSettings
    from rddg_ray.errors import ConfigError as ConfigError
    from rddg_ray.errors import DataError as DataError
    from rddg_ray.errors import LLMError as LLMError
    from rddg_ray.errors import RddgError as RddgError
    from rddg_ray.errors import StoreError as StoreError
    from rddg_ray.reading import read_table as read_table
    from rddg_ray.runtime.api import Result as Result
    from rddg_ray.runtime.api import generate as generate
    from rddg_ray.sampler import RDDGSampler as RDDGSampler
    from rddg_ray.table import Table as Table
    from rddg_ray.table import from_frame as from_frame

_HOMES = {
    "ConfigError": "errors",
    "DataError": "errors",
    "EndpointSettings": "config",
    "GenerationSettings": "config",
    "LLMError": "errors",
    "RDDGSampler": "sampler",
    "RddgError": "errors",
    "Result": "runtime.api",
    "RunSettings": "config",
    "StoreError": "errors",
    "SynthesisSettings": "config",
    "Table": "table",
    "from_frame": "table",
    "generate": "runtime.api",
    "read_table": "reading",
}

__all__ = [
    "ConfigError",
    "DataError",
    "EndpointSettings",
    "GenerationSettings",
    "LLMError",
    "RDDGSampler",
    "RddgError",
    "Result",
    "RunSettings",
    "StoreError",
    "SynthesisSettings",
    "Table",
    "from_frame",
    "generate",
    "read_table",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
