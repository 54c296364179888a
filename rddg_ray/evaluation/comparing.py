"""Runs side by side: the same table and method, measured in several run directories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.errors import DataError
from rddg_ray.evaluation.readings import ALL
from rddg_ray.evaluation.report.reading_tables import SHORT_LIKENESS, SHORT_PRIVACY, of_whole
from rddg_ray.evaluation.summary import in_order, summarise

UTILITY_METRICS = ("f1", "balanced_accuracy", "sensitivity", "specificity", "pr_auc")
COST_METRICS = ("accepted_rows", "tokens_per_row", "usd_per_1000_rows")
COLUMNS = (
    "family", "dataset", "method", "metric", "run", "value", "difference", "low", "high",
    "ceiling",
)  # fmt: skip
"""Columns of `Comparison.figures`."""

_NOT_A_SETTING = ("name", "output")


@dataclass(frozen=True)
class RunFigures:
    """What a run directory says.

    Attributes:
        name: As it is called beside the others.
        fits: Rows of `fits.fit_cell`.
        fidelity: Rows of `readings.FIGURE_COLUMNS`; may be empty.
        privacy: Likewise.
        usage: Columns `dataset`, `method` and some of `COST_METRICS`; may be empty.
        settings: Values by dotted key, nothing secret; empty for a folder without settings.
    """

    name: str
    fits: pd.DataFrame
    fidelity: pd.DataFrame = field(default_factory=pd.DataFrame)
    privacy: pd.DataFrame = field(default_factory=pd.DataFrame)
    usage: pd.DataFrame = field(default_factory=pd.DataFrame)
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        names: The runs; differences are to the first one that has the figure.
        figures: One row a family (utility, fidelity, privacy, cost), dataset, method, metric and
            run; see `COLUMNS`. Shares, or the figure's own unit. `low` and `high` bound the
            difference in 95% of bootstrap draws of the test rows, where those are the same.
        settings: One row a setting that differs: `key`, and a column a run.
        notes: What the reader should know, in sentences.
    """

    names: tuple[str, ...]
    figures: pd.DataFrame
    settings: pd.DataFrame
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON: no NaN, nothing but text, numbers and None."""
        return {
            "runs": list(self.names),
            "figures": _plain(self.figures),
            "settings": _plain(self.settings),
            "notes": list(self.notes),
        }


def compare_runs(runs: Sequence[RunFigures]) -> Comparison:
    """Set runs side by side on the tables and methods that at least two of them have.

    Args:
        runs: At least two, by different names.

    Raises:
        DataError: If no two of them share a table and a method; says what each has.
    """
    pairs = _shared(runs)
    if not pairs:
        said = "; ".join(f"{run.name} has {_said(run)}" for run in runs)
        raise DataError(f"these runs share no table and method: {said}")
    notes: list[str] = []
    rows: list[dict[str, Any]] = []
    for dataset, method in pairs:
        rows += _utility(runs, dataset, method, notes)
        rows += _readings(runs, dataset, method)
        rows += _costs(runs, dataset, method)
    notes += [
        f"{run.name} has no fidelity and privacy figures; rddg report writes those of a run with "
        "generated rows."
        for run in runs
        if not len(run.fidelity)
    ]
    return Comparison(
        tuple(run.name for run in runs),
        pd.DataFrame(rows, columns=list(COLUMNS)),
        _settings(runs),
        tuple(dict.fromkeys(notes)),
    )


def _has(run: RunFigures) -> set[tuple[str, str]]:
    return set(zip(run.fits["dataset"], run.fits["method"], strict=True))


def _shared(runs: Sequence[RunFigures]) -> list[tuple[str, str]]:
    """Return (table, method) pairs of two runs or more, tables and methods in their order."""
    counts: dict[tuple[str, str], int] = {}
    for run in runs:
        for pair in _has(run):
            counts[pair] = counts.get(pair, 0) + 1
    datasets = list(dict.fromkeys(d for run in runs for d in run.fits["dataset"]))
    methods = in_order(method for _, method in sorted(counts))
    return [(d, m) for d in datasets for m in methods if counts.get((d, m), 0) > 1]


def _said(run: RunFigures) -> str:
    by_dataset: dict[str, list[str]] = {}
    for dataset, method in sorted(_has(run)):
        by_dataset.setdefault(dataset, []).append(method)
    return ", ".join(f"{d} ({', '.join(in_order(ms))})" for d, ms in by_dataset.items()) or "none"


def _of(frame: pd.DataFrame, dataset: str, method: str) -> pd.DataFrame:
    if not len(frame):
        return frame
    return frame[(frame["dataset"] == dataset) & (frame["method"] == method)]


def _utility(
    runs: Sequence[RunFigures], dataset: str, method: str, notes: list[str]
) -> list[dict[str, Any]]:
    # Each run takes the place of a method, so that differences are paired as anywhere else.
    parts = {run.name: _of(run.fits, dataset, method) for run in runs}
    parts = {name: part.assign(method=name) for name, part in parts.items() if len(part)}
    fine = pd.concat([part[part["error"].isna()] for part in parts.values()])
    if fine["truth"].nunique() > 1:
        notes.append(
            f"{dataset}: the runs have different test rows, so that its differences mix methods "
            "and test rows, and have no interval."
        )
        summary = pd.concat([summarise(part, reference=name) for name, part in parts.items()])
        summary = summary.assign(difference=np.nan)
    else:
        summary = summarise(pd.concat(parts.values()), reference=next(iter(parts)))
    rows = []
    for metric in UTILITY_METRICS:
        cells = summary[summary["metric"] == metric].set_index("method")
        values = {name: float(cells.loc[name, "mean"]) for name in parts}
        found = _rows("utility", dataset, method, metric, values)
        for row in found[1:]:
            cell = cells.loc[row["run"]]
            if not np.isnan(cell["difference"]):
                row |= {name: float(cell[name]) for name in ("difference", "low", "high")}
        rows += found
    return rows


def _rows(
    family: str, dataset: str, method: str, metric: str, values: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return a row a run, each with its difference to the first one."""
    first = next(iter(values.values()))
    place = {"family": family, "dataset": dataset, "method": method, "metric": metric}
    blank = dict.fromkeys(("difference", "low", "high", "ceiling"), np.nan)
    return [
        place | blank | {"run": name, "value": value}
        | ({"difference": value - first} if number else {})
        for number, (name, value) in enumerate(values.items())
    ]  # fmt: skip


def _readings(runs: Sequence[RunFigures], dataset: str, method: str) -> list[dict[str, Any]]:
    rows = []
    for family, metrics in (("fidelity", SHORT_LIKENESS), ("privacy", SHORT_PRIVACY)):
        cells: dict[str, dict[str, dict[str, float]]] = {}
        for run in runs:
            mine = _of(getattr(run, family), dataset, method)
            if len(mine):
                whole = of_whole(mine, ALL)
                cells[run.name] = whole.set_index("metric").to_dict("index")
        for metric in metrics:
            known = {name: found[metric] for name, found in cells.items() if metric in found}
            if not known:
                continue
            values = {name: float(cell["value"]) for name, cell in known.items()}
            rows += [
                row | {"ceiling": float(known[row["run"]]["ceiling"])}
                for row in _rows(family, dataset, method, metric, values)
            ]
    return rows


def _costs(runs: Sequence[RunFigures], dataset: str, method: str) -> list[dict[str, Any]]:
    used = {run.name: _of(run.usage, dataset, method) for run in runs}
    rows = []
    for metric in COST_METRICS:
        values = {
            name: float(frame[metric].iloc[0])
            for name, frame in used.items()
            if len(frame) and metric in frame and not pd.isna(frame[metric].iloc[0])
        }
        if values:
            rows += _rows("cost", dataset, method, metric, values)
    return rows


def _settings(runs: Sequence[RunFigures]) -> pd.DataFrame:
    told = [run for run in runs if run.settings]
    keys = list(dict.fromkeys(key for run in told for key in run.settings))
    rows = [
        {"key": key, **{run.name: run.settings.get(key, "") for run in told}}
        for key in keys
        if key not in _NOT_A_SETTING and len({run.settings.get(key) for run in told}) > 1
    ]
    return pd.DataFrame(rows, columns=["key", *(run.name for run in told)])


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(k): None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
        for row in frame.to_dict("records")
    ]
