"""Rows for a table in memory, in one call."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from rddg_ray.config import RunSettings, SynthesisSettings, TableSettings
from rddg_ray.exchange import Usage
from rddg_ray.runtime.chains import PROVENANCE
from rddg_ray.runtime.executor import Executor
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.pipeline import RunResult, generate_rows
from rddg_ray.runtime.progress import Progress
from rddg_ray.runtime.spending import Spending
from rddg_ray.runtime.store import RunDirectory, content_sha256
from rddg_ray.table import Table


@dataclass(frozen=True)
class Result:
    """What `generate` came to.

    Attributes:
        rows: Accepted rows with the table's columns, in its types, shape `(n_rows, n_columns)`.
        provenance: Where each row comes from: chain, round, prompt, place in the reply, model.
        rejects: Refused rows: reason, detail, raw text and where each comes from.
        usage: Calls and tokens.
        shortfall: Rows lacking by class; empty where the target was reached.
        ended_because: Why each chain ended, by its name.
        relations: The model's analysis, by chain.
        rules: The model's rules, by chain.
        spending: What all starts of the run spent, in all and a row.
        wall_s: Seconds that this start took.
    """

    rows: pd.DataFrame
    provenance: pd.DataFrame
    rejects: pd.DataFrame
    usage: Usage
    shortfall: Mapping[str, int]
    ended_because: Mapping[str, str]
    relations: Mapping[str, str]
    rules: Mapping[str, str]
    spending: Spending = field(default_factory=Spending)
    wall_s: float = 0.0


def generate(
    table: Table,
    settings: SynthesisSettings | None = None,
    *,
    run_dir: Path | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Result:
    """Generate rows for the rare classes of a table.

    Args:
        table: Every row may be shown to the endpoint, so hold test rows out first.
        settings: Method, endpoint and how many rows; by default the embedded sampler (a
            statistical sampler, not a language model) raises every class to the largest.
        run_dir: Keeps every reply, so that the same call again asks nothing twice. A temporary
            folder by default: then nothing is kept.
        executor: Where work is done; this process by default.
        progress: Told of every step.

    Raises:
        RddgError: See its subclasses. With a `run_dir`, calling again goes on.
    """
    settings = settings or SynthesisSettings()
    executor = executor or LocalExecutor()
    if run_dir is not None:
        return _generate(table, settings, run_dir, executor, progress)
    with tempfile.TemporaryDirectory(prefix="rddg-") as folder:
        return _generate(table, settings, Path(folder), executor, progress)


def _generate(
    table: Table,
    settings: SynthesisSettings,
    run_dir: Path,
    executor: Executor,
    progress: Progress | None,
) -> Result:
    run = run_settings(table, settings, run_dir)
    return _result(
        generate_rows(run, {table.name: table}, executor, progress), table, settings.method
    )


def run_folder(table: Table, settings: SynthesisSettings) -> str:
    """Return a name for the run directory of this table under these settings.

    The same rows and settings get the same name, so that the same call goes on; others start
    anew. Limits that a chain may go on under do not count.
    """
    fingerprint = run_settings(table, settings, Path()).fingerprint()
    content = hashlib.sha256((fingerprint + content_sha256(table)).encode()).hexdigest()
    return f"{quote(table.name, safe=' ')}-{content[:8]}"


def run_settings(table: Table, settings: SynthesisSettings, run_dir: Path) -> RunSettings:
    """Return the settings of the run that generates rows for one table in memory."""
    return RunSettings(
        output=run_dir,
        random_state=settings.random_state,
        tables=(TableSettings(name=table.name, path=table.name, target=table.target),),
        methods=(settings.method,),
        coreset=settings.coreset,
        generation=settings.generation,
        endpoint=settings.endpoint,
    )


def _result(made: RunResult, table: Table, method: str) -> Result:
    store = RunDirectory(made.path)
    found = store.read_published("rows", table.name, method)
    if found is None or not len(found):
        found = table.to_output(table.frame.iloc[:0])
    columns = list(table.schema.names)
    shortfall: dict[str, int] = {}
    for outcome in made.outcomes:
        for label, count in outcome.shortfall.items():
            shortfall[label] = shortfall.get(label, 0) + count
    rejects = store.read_published("rejects", table.name, method)
    return Result(
        rows=found[columns],
        provenance=found[[name for name in found.columns if name not in columns]],
        rejects=pd.DataFrame(columns=["reason", "detail", "text", *PROVENANCE])
        if rejects is None or not len(rejects)
        else rejects,
        usage=made.usage,
        shortfall=shortfall,
        ended_because={outcome.spec.name: outcome.ended_because for outcome in made.outcomes},
        relations={outcome.spec.name: outcome.relations for outcome in made.outcomes},
        rules={outcome.spec.name: outcome.rules for outcome in made.outcomes},
        spending=made.spending,
        wall_s=made.wall_s,
    )
