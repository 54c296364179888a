"""Small tables with known properties, and the authors' splits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rddg_ray.reading import read_frame
from rddg_ray.table import Table, conform, from_frame

MakeTable = Callable[..., Table]


def separable(n_rows: int, random_state: int, rare_share: float = 0.2) -> pd.DataFrame:
    """Return rows whose class follows from `size` and `colour`, rare class `yes`."""
    rng = np.random.default_rng(random_state)
    rare = np.arange(n_rows) < round(rare_share * n_rows)
    return pd.DataFrame(
        {
            "size": np.round(rng.normal(np.where(rare, 3.0, 0.0), 1.0), 3),
            "weight": np.round(rng.normal(10.0, 2.0, n_rows), 2),
            "colour": np.where(rare, rng.choice(["red", "blue"], n_rows), "green"),
            "owned": rng.choice(["t", "f"], n_rows),
            "bought": np.where(rare, "yes", "no"),
        }
    )


@pytest.fixture(scope="session")
def train() -> Table:
    return from_frame(separable(200, 0), "bought", name="toy")


@pytest.fixture(scope="session")
def test_rows(train: Table) -> Table:
    return conform(separable(80, 1), train, name="test")


def join_authors_split(folder: Path, part: str) -> pd.DataFrame:
    """Return features and target of one side of a published split, without its index."""
    frame = read_frame(folder / f"X_{part}.csv").drop(columns="index", errors="ignore")
    target = read_frame(folder / f"y_{part}.csv")
    return frame.assign(**{name: target[name] for name in target.columns if name != "index"})


@pytest.fixture(scope="session")
def join() -> Callable[[Path, str], pd.DataFrame]:
    return join_authors_split


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., pd.DataFrame]:
    return separable
