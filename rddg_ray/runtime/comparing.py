"""Run directories read for a comparison, and where one is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rddg_ray.errors import ConfigError, StoreError
from rddg_ray.evaluation.comparing import Comparison, RunFigures, compare_runs
from rddg_ray.evaluation.comparing_text import to_markdown
from rddg_ray.evaluation.files import read_fits
from rddg_ray.evaluation.report.context import flat_settings
from rddg_ray.runtime.store import RunDirectory

_FORMATS = (".md", ".csv")


def compare_directories(directories: Sequence[Path]) -> Comparison:
    """Set run directories, or folders of `rddg evaluate`, side by side.

    Args:
        directories: At least two.

    Raises:
        ConfigError: If there are fewer than two, or one is named twice.
        DataError: If one has no fits, or no two share a table and a method.
        StoreError: If a file of a directory cannot be read.
    """
    whole = [directory.resolve() for directory in directories]
    if len(whole) < 2:
        raise ConfigError(f"compare: {len(whole)} directory is given; give two or more")
    if repeated := [str(path) for path in directories if whole.count(path.resolve()) > 1]:
        raise ConfigError(f"compare: {repeated[0]} is given twice")
    return compare_runs(
        [
            read_figures(path, name)
            for path, name in zip(directories, _names(directories), strict=True)
        ]
    )


def _names(directories: Sequence[Path]) -> list[str]:
    """Return the folders' names, or their paths where two have one name."""
    names = [directory.resolve().name for directory in directories]
    return [
        str(directory) if names.count(name) > 1 else name
        for directory, name in zip(directories, names, strict=True)
    ]


def read_figures(directory: Path, name: str) -> RunFigures:
    """Return what a directory says of its run.

    Fidelity, privacy and costs are those of its report.

    Args:
        directory: Of `rddg run` or `rddg evaluate`.
        name: What to call it.

    Raises:
        DataError: If it has no fits.
        StoreError: If a file cannot be read.
    """
    fits = read_fits(directory)
    settings: dict[str, str] = {}
    if (directory / "run.json").is_file():
        told = RunDirectory(directory).read_run().get("settings", {})
        settings = dict(flat_settings(told))
    tables = {part: _table(directory, part) for part in ("fidelity", "privacy", "usage")}
    return RunFigures(name, fits, settings=settings, **tables)


def _table(directory: Path, name: str) -> pd.DataFrame:
    path = directory / "report" / "tables" / f"{name}.csv"
    if not path.is_file():
        return pd.DataFrame()
    try:
        return pd.read_csv(path, dtype={"dataset": "str", "method": "str"})
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read: {error}; run rddg report again") from error


def check_out(out: Path) -> None:
    """Find out before the work whether a comparison can be written there.

    Raises:
        ConfigError: If the name ends in no known format.
    """
    if out.suffix.lower() not in _FORMATS:
        raise ConfigError(f"--out {out}: expected a name that ends in {' or '.join(_FORMATS)}")


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """Write a comparison as Markdown, or its figures as CSV.

    Raises:
        ConfigError: As `check_out`.
        StoreError: If the file cannot be written.
    """
    check_out(out)
    is_csv = out.suffix.lower() == ".csv"
    text = comparison.figures.to_csv(index=False) if is_csv else to_markdown(comparison)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{out}: cannot be written: {error}") from error
    return out
