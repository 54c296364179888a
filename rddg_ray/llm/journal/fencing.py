"""A driver that was replaced sends no more."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

_LEASE = "LEASE"


def lease_fence(run_directory: Path, epoch: int) -> Callable[[], bool]:
    """Return a function that tells whether the run is still this epoch's.

    It reads the run directory's LEASE, which each new driver signs with a higher epoch. A
    lease that cannot be read, as in the moment of its signing, changes nothing: the answer is
    what it was before.

    Args:
        run_directory: The run's directory.
        epoch: Of the driver that started this process.
    """
    path = run_directory / _LEASE
    last = epoch

    def is_ours() -> bool:
        nonlocal last
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            last = max(last, int(json.loads(path.read_bytes())["epoch"]))
        return last <= epoch

    return is_ours
