"""Fixtures every part of the test suite may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with real tables and recordings, or skip where it is absent."""
    root = Path(__file__).resolve().parents[1]
    path = Path(os.environ.get("RDDG_SHARED", root.parent / "shared"))
    if not (path / "data").is_dir():
        pytest.skip("no folder of real tables beside the project (RDDG_SHARED)")
    return path
