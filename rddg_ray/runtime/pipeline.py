"""A whole run: tables, coresets, chains, rows on disk, the classifier grid, the report."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from rddg_ray.config import BASELINE_METHODS, RunSettings
from rddg_ray.evaluation.cells import SourceKey
from rddg_ray.evaluation.fits import GridData
from rddg_ray.exchange import Usage
from rddg_ray.runtime.chains import ChainOutcome, list_chains
from rddg_ray.runtime.executor import Executor
from rddg_ray.runtime.failing import told
from rddg_ray.runtime.generating import generate_chains, record_spending
from rddg_ray.runtime.grid import run_grid
from rddg_ray.runtime.progress import Progress, SilentProgress
from rddg_ray.runtime.published import grid_rows
from rddg_ray.runtime.reporting import write_run_report
from rddg_ray.runtime.spending import Spending
from rddg_ray.runtime.stopping import StoppedError
from rddg_ray.runtime.store import RunDirectory, content_sha256
from rddg_ray.runtime.tables import PreparedTable, prepare
from rddg_ray.table import Table


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        path: The run directory.
        outcomes: What became of each chain.
        fits: One row a fit; empty where nothing was evaluated.
        report: The page, or None where nothing was evaluated.
        left_out: Columns that are not shown or learned, and why, by data set.
        spending: What all starts of the run spent, in all and a row.
        wall_s: Seconds that this start took.
    """

    path: Path
    outcomes: tuple[ChainOutcome, ...]
    fits: pd.DataFrame
    report: Path | None
    left_out: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    spending: Spending = field(default_factory=Spending)
    wall_s: float = 0.0

    @property
    def shortfall(self) -> dict[str, dict[str, int]]:
        """Return lacking rows by class, by `dataset/chain`, of chains that lack any."""
        return {
            f"{outcome.spec.dataset}/{outcome.spec.name}": dict(outcome.shortfall)
            for outcome in self.outcomes
            if outcome.shortfall
        }

    @property
    def usage(self) -> Usage:
        """Return calls and tokens over all chains."""
        return sum((outcome.usage for outcome in self.outcomes), Usage())


def run(
    settings: RunSettings,
    executor: Executor,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Do everything the settings ask for and that is not done yet.

    Args:
        settings: The run. Its `output` directory is started, or gone on with.
        executor: Where work is done; rows and figures do not depend on it.
        progress: Told of every step.
        should_stop: Asked between fits; `executor.drain` stops chains.

    Raises:
        StoppedError: If it was asked to stop and did, with rows so far published.
        RddgError: What stops the run, after the chains under way have ended, what they were
            answered is on record, and what they made of it is published. Its notes say in words
            what failed and what is published. Where the run directory is in doubt nothing is.
    """
    began_s = time.monotonic()
    progress = progress or SilentProgress()
    prepared = {entry.label: prepare(entry) for entry in settings.tables}
    tables = {name: rows.train for name, rows in prepared.items()}
    list_chains(settings, tables)  # a rule or count that does not fit leaves no run behind
    with closing(RunDirectory(settings.output)) as store, closing(executor):
        store.open(settings, tables)
        outcomes = generate_chains(settings, tables, store, executor, progress)
        spending = record_spending(settings, store)

        def on_fits(n_done: int, n_fits: int) -> None:
            progress.update("classifiers", n_done, n_fits)
            # What is fitted is on disk already.
            if n_done < n_fits and should_stop():
                raise told(StoppedError("stopped"), [f"{n_done} of {n_fits} fits are kept"])

        fits = _evaluate(settings, prepared, store, executor, on_fits)
        progress.update("report", 0, 1)
        report = write_run_report(store, settings, prepared, outcomes, fits)
        progress.update("report", 1, 1)
    left_out = {name: rows.train.left_out for name, rows in prepared.items()}
    wall_s = time.monotonic() - began_s
    return RunResult(store.path, tuple(outcomes), fits, report, left_out, spending, wall_s)


def generate_rows(
    settings: RunSettings,
    tables: Mapping[str, Table],
    executor: Executor,
    progress: Progress | None = None,
) -> RunResult:
    """Generate the rows of a run and evaluate nothing.

    Args:
        settings: The run; its tables name those given.
        tables: All rows of each may be shown and learned from, by data set.
        executor: Where work is done.
        progress: Told of every step.

    Raises:
        RddgError: As `run`.
    """
    began_s = time.monotonic()
    list_chains(settings, tables)  # as in `run`
    with closing(RunDirectory(settings.output)) as store, closing(executor):
        store.open(settings, tables)
        outcomes = generate_chains(settings, tables, store, executor, progress or SilentProgress())
        spending = record_spending(settings, store)
    wall_s = time.monotonic() - began_s
    return RunResult(
        store.path, tuple(outcomes), pd.DataFrame(), None, spending=spending, wall_s=wall_s
    )


def _evaluate(
    settings: RunSettings,
    prepared: Mapping[str, PreparedTable],
    store: RunDirectory,
    executor: Executor,
    on_progress: Callable[[int, int], None],
) -> pd.DataFrame:
    told = settings.evaluation
    data = {
        name: GridData(
            {name: rows},
            told.protocol,
            told.max_synthetic_rows,
            told.baseline_rows,
            told.threshold_metric,
            told.tuning,
        )
        for name, rows in grid_rows(settings, prepared, store).items()
    }
    return run_grid(
        data,
        methods=settings.methods,
        generator_states=settings.generator_states,
        settings=settings.evaluation,
        rows_ids=_rows_ids(settings, prepared, store),
        folder=store.path / "evaluation" / "fits",
        executor=executor,
        on_progress=on_progress,
    )


def _follows_generated(method: str, settings: RunSettings) -> bool:
    """Return whether a baseline's rows depend on the generated ones beside it."""
    is_same = settings.evaluation.baseline_rows == "same" and method in BASELINE_METHODS
    return is_same or method == "copies_only"


def _rows_ids(
    settings: RunSettings, prepared: Mapping[str, PreparedTable], store: RunDirectory
) -> dict[SourceKey, str]:
    """Name the rows of each (table, method, generator state), by content.

    Synthetic rows follow from the training rows, the settings, and how far each chain went.
    """
    ids: dict[SourceKey, str] = {}
    for name, rows in prepared.items():
        real = [settings.fingerprint(), content_sha256(rows.train), content_sha256(rows.test)]
        for method in settings.methods:
            for state in (0, *settings.generator_states):
                made = store.made_by(name, method, state)
                if _follows_generated(method, settings):
                    made = {m: store.made_by(name, m, state) for m in settings.methods}
                content = json.dumps([real, made], sort_keys=True)
                ids[name, method, state] = hashlib.sha256(content.encode()).hexdigest()[:16]
    return ids
