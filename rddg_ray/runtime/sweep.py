"""A sweep: one run after another, finished ones skipped, and the paper's tables from them all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rddg_ray.config import RunSettings
from rddg_ray.errors import BudgetError, DataError
from rddg_ray.evaluation.methods.extras import skipped
from rddg_ray.evaluation.paper_tables import COLUMNS, own_figures, table_of, to_markdown
from rddg_ray.runtime.executor import Executor
from rddg_ray.runtime.pipeline import RunResult
from rddg_ray.runtime.pipeline import run as run_pipeline
from rddg_ray.runtime.progress import Progress, SilentProgress
from rddg_ray.runtime.store import RunDirectory
from rddg_ray.runtime.sweep_costs import costs_of
from rddg_ray.runtime.sweep_plan import Unit, plan, run_settings, table_settings
from rddg_ray.runtime.sweep_record import FinishedRun
from rddg_ray.runtime.sweep_settings import SweepSettings
from rddg_ray.runtime.tables import prepare

_CAPS = {"max_cost_usd": "most_usd", "max_calls": "n_calls", "max_tokens": ""}


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came to.

    Attributes:
        tables: The paper's tables that were asked for, by number; see `paper_tables.table_of`.
        folder: Where they lie as CSV and Markdown files.
        n_run: Runs done by this start.
        n_kept: Runs that were finished before.
        lines: What was skipped, fell short or failed, in sentences.
    """

    tables: Mapping[int, pd.DataFrame]
    folder: Path
    n_run: int
    n_kept: int
    lines: tuple[str, ...]


def run_sweep(
    settings: SweepSettings,
    new_executor: Callable[[], Executor],
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SweepResult:
    """Do every run of a sweep that is not done yet, and write the paper's tables.

    A data set that is not at hand is skipped with a line. Tables are written after every run, so
    that those of a sweep that was stopped hold what it has.

    Args:
        settings: The sweep.
        new_executor: Called for each run; the run closes what it gets.
        progress: Told of every step of every run.
        should_stop: Asked between fits.

    Raises:
        StoppedError: If it was asked to stop and did; the same call goes on.
        BudgetError: If the sweep's budget is used up.
        RddgError: What stops a run; see `pipeline.run`.
    """
    progress = progress or SilentProgress()
    units = plan(settings)
    absent = _absent(units, settings)
    lines = _skipped_methods(units)
    lines += [f"{name} is skipped: {reason}" for name, reason in absent.items()]
    for line in lines:
        progress.note(line)
    units = [unit for unit in units if unit.dataset not in absent]
    found: dict[str, pd.DataFrame] = {}
    n_run = 0
    for number, unit in enumerate(units, start=1):
        told = run_settings(unit, settings)
        record = FinishedRun(settings.output, unit.name)
        known = record.read(_unit_id(told))
        if known is None and (reason := _unusable(told)):
            lines.append(f"{unit.name} is skipped: {reason}")
            progress.note(lines[-1])
            continue
        if known is None:
            progress.note(f"run {number} of {len(units)}: {unit.name}")
            told = _within_budget(told, settings, units)
            result = run_pipeline(told, new_executor(), progress, should_stop)
            known = record.write(_unit_id(told), _figures(told, result), _said(unit, result))
            n_run += 1
        found[unit.name] = known[0]
        lines += known[1]
        _write_tables(settings, units, found, lines)
    tables = _write_tables(settings, units, found, lines)
    return SweepResult(tables, settings.output / "tables", n_run, len(found) - n_run, tuple(lines))


def _unusable(told: RunSettings) -> str:
    """Return why a run's table cannot be made, such as a ratio out of reach; empty if it can."""
    try:
        prepare(told.tables[0])
    except DataError as error:
        return str(error)
    return ""


def _skipped_methods(units: list[Unit]) -> list[str]:
    methods = dict.fromkeys(method for unit in units for method in unit.methods)
    return list(skipped(methods).values())


def _absent(units: list[Unit], settings: SweepSettings) -> dict[str, str]:
    """Return the data sets that cannot be had here, and why."""
    reasons: dict[str, str] = {}
    for unit in {unit.dataset: unit for unit in units}.values():
        entry = table_settings(unit, settings).model_copy(update={"imbalance_ratio": None})
        try:
            prepare(entry)
        except DataError as error:
            reasons[unit.dataset] = str(error)
    return reasons


def _unit_id(told: RunSettings) -> str:
    """Return the hash of all that a run's figures follow from."""
    content = {
        **told.row_settings(),
        "limits": told.generation.model_dump(mode="json"),
        "tables": [entry.model_dump(mode="json", exclude={"path", "url"}) for entry in told.tables],
        "methods": told.methods,
        "states": told.generator_states,
        "evaluation": told.evaluation.model_dump(mode="json"),
        # An extra method that was installed since is a reason to run again.
        "skipped": sorted(skipped(told.methods)),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _figures(told: RunSettings, result: RunResult) -> pd.DataFrame:
    dataset = told.tables[0].label
    costs = costs_of(
        RunDirectory(result.path).journal, dataset, told.generator_states, told.endpoint.budget
    )
    models = sorted({outcome.model for outcome in result.outcomes if outcome.model})
    return own_figures(result.fits, costs, ", ".join(models))


def _said(unit: Unit, result: RunResult) -> list[str]:
    lines = [
        f"{unit.name}: {name} fell short of {', '.join(f'{n} {c}' for c, n in lacking.items())}"
        for name, lacking in result.shortfall.items()
    ]
    failed = result.fits[result.fits["error"].notna()]
    for (method, error), rows in failed.groupby(["method", "error"], sort=False):
        lines.append(f"{unit.name}: {len(rows)} fits of {method} failed: {error}")
    return lines


def _within_budget(told: RunSettings, settings: SweepSettings, units: list[Unit]) -> RunSettings:
    """Return a run's settings with what the sweep's other runs have left of the budget."""
    budget = settings.endpoint.budget
    spent = [
        RunDirectory(settings.output / "runs" / unit.name).manifest().get("spending", {})
        for unit in units
        if run_settings(unit, settings).output != told.output
    ]
    left: dict[str, Any] = {}
    for cap, figure in _CAPS.items():
        most = getattr(budget, cap)
        if most is None:
            continue
        used = sum(_used(record, figure) for record in spent)
        if used >= most:
            raise BudgetError(
                f"endpoint.budget.{cap}: {used:g} of {most:g} is used by this sweep's runs; raise "
                "it to go on"
            )
        left[cap] = most - used if cap == "max_cost_usd" else int(most - used)
    endpoint = told.endpoint.model_copy(update={"budget": budget.model_copy(update=left)})
    return told.model_copy(update={"endpoint": endpoint})


def _used(record: Mapping[str, Any], figure: str) -> float:
    names = (figure,) if figure else ("prompt_tokens", "completion_tokens")
    return float(sum(record.get(name) or 0 for name in names))


def _write_tables(
    settings: SweepSettings,
    units: list[Unit],
    found: Mapping[str, pd.DataFrame],
    lines: list[str],
) -> dict[int, pd.DataFrame]:
    own = _placed(units, found)
    folder = settings.output / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[int, pd.DataFrame] = {}
    for number in sorted(settings.tables):
        tables[number] = table_of(number, own)
        _write(folder / f"table{number}.csv", tables[number].to_csv(index=False))
        _write(folder / f"table{number}.md", to_markdown(number, tables[number], lines))
    return tables


def _write(path: Path, text: str) -> None:
    staged = path.with_name(f".{path.name}.tmp")
    staged.write_text(text, encoding="utf-8")
    staged.replace(path)


def _placed(units: list[Unit], found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the figures of all runs in the tables they stand in."""
    parts = []
    for unit in units:
        if unit.name not in found:
            continue
        for place in unit.places:
            figures = found[unit.name]
            mine = figures[figures["method"].isin(list(place.methods))]
            parts.append(
                mine.assign(
                    table=place.table,
                    dataset=unit.dataset,
                    imbalance_ratio=unit.imbalance_ratio if place.table == 7 else None,
                    reference_rows=place.reference_rows,
                )
            )
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    numbers = {"imbalance_ratio": "float64", "reference_rows": "float64"}
    return pd.concat([part.astype(numbers) for part in parts], ignore_index=True)
