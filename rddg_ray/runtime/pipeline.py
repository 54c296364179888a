"""A whole run: tables, coresets, chains, rows on disk, the classifier grid, the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from rddg_ray.config import RunSettings
from rddg_ray.errors import PermanentLLMError, RddgError, StoreError
from rddg_ray.evaluation.cells import SourceKey
from rddg_ray.evaluation.fits import GridData
from rddg_ray.exchange import Usage
from rddg_ray.runtime.chains import ChainOutcome, ChainSpec, ChainWork, list_chains
from rddg_ray.runtime.coresets import coresets, write_coreset
from rddg_ray.runtime.executor import ChainProgress, Executor
from rddg_ray.runtime.grid import run_grid
from rddg_ray.runtime.local import check_endpoint, with_absolute_paths
from rddg_ray.runtime.progress import Progress, SilentProgress
from rddg_ray.runtime.published import grid_rows
from rddg_ray.runtime.reporting import write_run_report
from rddg_ray.runtime.store import RunDirectory, content_sha256, entry_key
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
    """

    path: Path
    outcomes: tuple[ChainOutcome, ...]
    fits: pd.DataFrame
    report: Path | None
    left_out: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

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


def run(settings: RunSettings, executor: Executor, progress: Progress | None = None) -> RunResult:
    """Do everything the settings ask for and that is not done yet.

    Args:
        settings: The run. Its `output` directory is started, or gone on with.
        executor: Where work is done; rows and figures do not depend on it.
        progress: Told of every step.

    Raises:
        RddgError: What stops the run, after the chains under way have ended and what they
            were answered is on record.
    """
    progress = progress or SilentProgress()
    prepared = {entry.label: prepare(entry) for entry in settings.tables}
    tables = {name: rows.train for name, rows in prepared.items()}
    with closing(RunDirectory(settings.output)) as store, closing(executor):
        store.open(settings, tables)
        outcomes = _generate(settings, tables, store, executor, progress)
        fits = _evaluate(settings, prepared, store, executor, progress)
        report = write_run_report(store, settings, prepared, outcomes, fits)
        progress.update("report", 1, 1)
    left_out = {name: rows.train.left_out for name, rows in prepared.items()}
    return RunResult(store.path, tuple(outcomes), fits, report, left_out)


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
    with closing(RunDirectory(settings.output)) as store, closing(executor):
        store.open(settings, tables)
        outcomes = _generate(settings, tables, store, executor, progress or SilentProgress())
    return RunResult(store.path, tuple(outcomes), pd.DataFrame(), None)


def _generate(
    settings: RunSettings,
    tables: Mapping[str, Table],
    store: RunDirectory,
    executor: Executor,
    progress: Progress,
) -> list[ChainOutcome]:
    specs = list_chains(settings, tables)
    known = _published(store)
    todo = [spec for spec in specs if not _is_finished(known.get(_key(spec)))]
    if todo:
        # What is wrong with the key or the address should not be found out after an hour.
        list(executor.map(check_endpoint, [with_absolute_paths(settings.endpoint)]))
        chosen = coresets(tables, settings, store.path / "coreset", executor)
        write_coreset(store.path / "coreset", tables, chosen)
        progress.update("coresets", len(tables), len(tables))
        work = ChainWork(todo, tables, chosen, settings, store.journal, store.epoch)
        ended, failures = executor.run_chains(work, _Chains(todo, progress))
        if failures:
            raise _worst(failures)
        made = {_key(o.spec): o for o in ended if _went_on(o, known.get(_key(o.spec)))}
        _gather(work, made, store, executor, progress)
        known.update(made)
    return [known[_key(spec)] for spec in specs]


def _is_finished(outcome: ChainOutcome | None) -> bool:
    # A chain that fell short may go on today: its limits may be others. Replies on record are
    # not asked for again.
    return outcome is not None and not outcome.shortfall


def _went_on(now: ChainOutcome, before: ChainOutcome | None) -> bool:
    # Limits below those of an earlier start take no row away.
    return before is None or now.rounds > before.rounds


class _Chains:
    """Turns the chains' progress into one line."""

    def __init__(self, specs: Sequence[ChainSpec], progress: Progress) -> None:
        self._total = sum(spec.n_target for spec in specs)
        self._progress = progress

    def __call__(self, chains: Mapping[str, ChainProgress]) -> None:
        self._progress.update(
            "rows",
            sum(chain.n_accepted for chain in chains.values()),
            self._total,
            refused=sum(chain.n_rejects for chain in chains.values()),
            calls=sum(chain.n_calls for chain in chains.values()),
            rounds=sum(chain.rounds for chain in chains.values()),
        )


def _worst(failures: Sequence[Exception]) -> Exception:
    """Return the failure that the user must act on: what waiting does not cure comes first."""
    return min(failures, key=_rank)


def _rank(failure: Exception) -> int:
    if not isinstance(failure, RddgError):
        return 0  # A mistake of ours, which must not hide behind a busy endpoint.
    return 1 if isinstance(failure, PermanentLLMError) else 2


def _key(spec: ChainSpec) -> str:
    return f"{spec.dataset}/{spec.name}"


def _published(store: RunDirectory) -> dict[str, ChainOutcome]:
    records = store.manifest().get("chains", {})
    return {key: ChainOutcome.from_record(entry["outcome"]) for key, entry in records.items()}


def _gather(
    work: ChainWork,
    made: Mapping[str, ChainOutcome],
    store: RunDirectory,
    executor: Executor,
    progress: Progress,
) -> None:
    """Replay every chain of each (table, method) that has new ones, verify, publish."""
    known = _published(store)
    todo = {_part(outcome) for outcome in made.values()}
    # Chains of earlier starts too, of generator states that are not asked for today: what is
    # published of a table and method is replaced as a whole.
    parts = {part: [o for o in {**known, **made}.values() if _part(o) == part] for part in todo}
    for n_done, (part, outcomes) in enumerate(sorted(parts.items()), start=1):
        dataset, method = part
        specs = [outcome.spec for outcome in outcomes]
        mine = replace(
            work,
            specs=specs,
            tables={dataset: work.tables[dataset]},
            rounds={outcome.spec.name: outcome.rounds for outcome in outcomes},
        )
        staged = {kind: store.staging(kind) for kind in ("rows", "rejects")}
        executor.gather(mine, staged["rows"], staged["rejects"])
        wanted = {
            "rows": sum(outcome.n_accepted for outcome in outcomes),
            "rejects": sum(sum(outcome.rejects.values()) for outcome in outcomes),
        }
        key = entry_key(dataset, method)
        files = {k: _checked(store, k, key, folder, wanted[k]) for k, folder in staged.items()}
        for kind, verified in files.items():
            store.publish(kind, key, verified)
        store.record_chains({_key(o.spec): {"outcome": asdict(o)} for o in outcomes})
        progress.update("gather", n_done, len(parts))


def _part(outcome: ChainOutcome) -> tuple[str, str]:
    return (outcome.spec.dataset, outcome.spec.method)


def _checked(store: RunDirectory, kind: str, key: str, staged: Path, n_rows: int) -> list[Path]:
    """Return staged files once they hold as many rows as the chains said."""
    files = sorted(staged.rglob("*.parquet"))
    found = sum(pq.read_metadata(file).num_rows for file in files)
    if found != n_rows:
        raise StoreError(
            f"{store.path}: gathering {key} gave {found} {kind}, the chains said {n_rows}; "
            "nothing was published. If the journal was changed from outside, start a new run "
            "directory; otherwise the same command tries again"
        )
    return files


def _evaluate(
    settings: RunSettings,
    prepared: Mapping[str, PreparedTable],
    store: RunDirectory,
    executor: Executor,
    progress: Progress,
) -> pd.DataFrame:
    limit = settings.evaluation.max_synthetic_rows
    data = {
        name: GridData({name: rows}, settings.evaluation.protocol, limit)
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
        on_progress=lambda done, total: progress.update("classifiers", done, total),
    )


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
                content = json.dumps([real, made], sort_keys=True)
                ids[name, method, state] = hashlib.sha256(content.encode()).hexdigest()[:16]
    return ids
