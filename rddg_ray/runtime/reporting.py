"""The report page of a run, from what the run directory holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from rddg_ray.config import RunSettings, TableSettings, settings_from
from rddg_ray.errors import StoreError
from rddg_ray.evaluation.files import read_fits
from rddg_ray.evaluation.methods.extras import skipped
from rddg_ray.evaluation.report.context import ReportContext
from rddg_ray.evaluation.report.page import write_report
from rddg_ray.exchange import Usage
from rddg_ray.llm.budget import Prices
from rddg_ray.runtime.chains import ENDED_BECAUSE, ChainOutcome
from rddg_ray.runtime.making import making_records
from rddg_ray.runtime.published import grid_rows
from rddg_ray.runtime.store import RunDirectory
from rddg_ray.runtime.tables import PreparedTable, prepare
from rddg_ray.table import Table


def write_run_report(
    store: RunDirectory,
    settings: RunSettings,
    prepared: Mapping[str, PreparedTable],
    outcomes: Sequence[ChainOutcome],
    fits: pd.DataFrame,
) -> Path:
    """Write `report/` of a run and return the page's path.

    Args:
        store: The run directory, whose published rows are shown.
        settings: What was run.
        prepared: Training and test rows by data set.
        outcomes: What became of each chain.
        fits: One row a fit.
    """
    models = sorted({outcome.model for outcome in outcomes if outcome.model})
    endpoint = settings.endpoint
    context = ReportContext(
        title=f"rddg_ray: {settings.name}",
        fits=fits,
        datasets=grid_rows(settings, prepared, store),
        model=", ".join(models),
        endpoint=endpoint.base_url or f"{endpoint.kind} on this machine",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        rejects=_rejects(outcomes),
        shortfalls=_shortfalls(outcomes),
        usage=_usage(outcomes, Prices.from_settings(endpoint.budget)),
        settings=settings.model_dump(mode="json"),
        versions=store.read_run()["versions"],
        notes=tuple(_notes(settings, prepared)),
        making=making_records(
            store,
            n_recorded=settings.recorded_chains,
            allow_copies=settings.generation.allow_copies,
        ),
        shown=_shown(store, settings, prepared),
    )
    return write_report(store.path, context)


def rewrite_report(directory: Path) -> Path:
    """Write the report of a finished run again, from its settings, tables, rows and fits.

    Raises:
        StoreError: If the directory holds no run, or one that has not finished.
        DataError: If a table cannot be read any more.
    """
    store = RunDirectory(directory)
    run = store.read_run()
    settings = settings_from(run["settings"], source=str(directory / "run.json"))
    settings = settings.model_copy(update={"output": directory})
    known = store.manifest().get("chains", {})
    outcomes = [ChainOutcome.from_record(entry["outcome"]) for entry in known.values()]
    if not (directory / "evaluation" / "fits").is_dir():
        raise StoreError(
            f"{directory}: this run has not been evaluated, so there is nothing to report; "
            "run `rddg run` with its settings until it finishes"
        )
    prepared = {entry.label: prepare(entry) for entry in settings.tables}
    store.check_tables({name: rows.train for name, rows in prepared.items()})
    fits = read_fits(directory)
    wanted = fits["dataset"].isin(list(prepared)) & fits["method"].isin(list(settings.methods))
    return write_run_report(store, settings, prepared, outcomes, fits[wanted])


def _shown(
    store: RunDirectory, settings: RunSettings, prepared: Mapping[str, PreparedTable]
) -> dict[str, dict[tuple[str, int], Table]]:
    """Return the rows that prompts showed to explain each table, as the coreset's file says."""
    path = store.path / "coreset" / "chosen.parquet"
    if not path.is_file():
        return {}
    chosen = pd.read_parquet(path)
    shown: dict[str, dict[tuple[str, int], Table]] = {}
    for (dataset, method), rows in chosen.groupby(["dataset", "method"], sort=False):
        if dataset not in prepared:
            continue
        train = prepared[dataset].train
        table = train.take(np.flatnonzero(train.frame.index.isin(rows["row_id"])))
        for state in settings.generator_states:
            shown.setdefault(dataset, {})[method, state] = table
    return shown


def _rejects(outcomes: Sequence[ChainOutcome]) -> pd.DataFrame:
    rows = [
        (outcome.spec.dataset, outcome.spec.method, reason, count)
        for outcome in outcomes
        for reason, count in outcome.rejects.items()
    ]
    frame = pd.DataFrame(rows, columns=["dataset", "method", "reason", "n"])
    return frame.groupby(["dataset", "method", "reason"], sort=False, as_index=False)["n"].sum()


def _shortfalls(outcomes: Sequence[ChainOutcome]) -> pd.DataFrame:
    names = ["dataset", "method", "generator_state", "class", "wanted", "made", "why"]
    rows = []
    for outcome in outcomes:
        spec = outcome.spec
        for label in outcome.shortfall:
            made = outcome.accepted.get(label, 0)
            why = ENDED_BECAUSE[outcome.ended_because]
            rows.append((spec.dataset, spec.method, spec.generator_state, label,
                         spec.targets[label], made, why))  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def _usage(outcomes: Sequence[ChainOutcome], prices: Prices | None) -> pd.DataFrame:
    """Return calls, tokens and money of each table and method, in all and an accepted row."""
    used: dict[tuple[str, str], Usage] = {}
    n_accepted: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        key = outcome.spec.dataset, outcome.spec.method
        used[key] = used.get(key, Usage()) + outcome.usage
        n_accepted[key] += outcome.n_accepted
    rows = []
    for key, usage in used.items():
        n_rows = n_accepted[key]
        tokens = usage.prompt_tokens + usage.completion_tokens
        row = {"dataset": key[0], "method": key[1], **asdict(usage), "accepted_rows": n_rows}
        row["tokens_per_row"] = round(tokens / n_rows, 1) if n_rows else None
        if prices is not None:
            usd = prices.cost_usd(usage)
            row["usd_per_1000_rows"] = round(1000 * usd / n_rows, 4) if n_rows else None
        rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["dataset", "method"])


def _notes(settings: RunSettings, prepared: Mapping[str, PreparedTable]) -> list[str]:
    notes = [note for entry in settings.tables if (note := _note(entry))]
    notes += [f"{reason}." for reason in skipped(settings.methods).values()]
    for name, rows in prepared.items():
        notes += [
            f"{name}: column {column!r} was not shown or learned ({reason})."
            for column, reason in rows.train.left_out.items()
        ]
    return notes


def _note(entry: TableSettings) -> str:
    if entry.imbalance_ratio is None:
        return ""
    return (
        f"{entry.label}: training rows were dropped until the largest class was "
        f"{entry.imbalance_ratio:g} times the rarest; test rows are as they were."
    )
