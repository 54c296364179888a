"""What a sweep keeps of a finished run, so that the next start passes over it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from rddg_ray.runtime.store import write_json, write_parquet


class FinishedRun:
    """A finished run's figures under `finished/` of a sweep.

    Args:
        output: The sweep's folder.
        name: The run's.
    """

    def __init__(self, output: Path, name: str) -> None:
        """Name the files; nothing is touched."""
        self._figures = output / "finished" / f"{name}.parquet"
        self._said = output / "finished" / f"{name}.json"

    def read(self, unit_id: str) -> tuple[pd.DataFrame, list[str]] | None:
        """Return figures and sentences; None where the run has not finished as it is told now."""
        if not (self._said.is_file() and self._figures.is_file()):
            return None
        record = json.loads(self._said.read_text(encoding="utf-8"))
        if record["unit"] != unit_id:
            return None
        return pd.read_parquet(self._figures), list(record["lines"])

    def write(
        self, unit_id: str, figures: pd.DataFrame, lines: list[str]
    ) -> tuple[pd.DataFrame, list[str]]:
        """Keep them; the file that says so comes last."""
        self._said.unlink(missing_ok=True)
        write_parquet(figures, self._figures)
        write_json(self._said, {"unit": unit_id, "lines": lines})
        return figures, lines
