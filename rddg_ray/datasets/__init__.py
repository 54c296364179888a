"""Data sets of the paper and others, by name: `names()` lists them, `load(name)` loads one."""

from __future__ import annotations

from rddg_ray.datasets.imbalance import induce_imbalance
from rddg_ray.datasets.record import Dataset, DatasetInfo
from rddg_ray.datasets.registry import info, load, names

__all__ = ["Dataset", "DatasetInfo", "induce_imbalance", "info", "load", "names"]
