"""The chains of a run: run, gathered and published, also where some fail or all are stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rddg_ray.config import RunSettings
from rddg_ray.llm.budget import Prices
from rddg_ray.runtime.chains import ChainOutcome, ChainWork, list_chains
from rddg_ray.runtime.coresets import coresets, write_coreset
from rddg_ray.runtime.executor import ChainFailure, Executor
from rddg_ray.runtime.failing import (
    failure_lines,
    is_doubtful,
    published_line,
    stops_run,
    told,
    worst,
)
from rddg_ray.runtime.local import with_absolute_paths
from rddg_ray.runtime.opening import CallPlan
from rddg_ray.runtime.progress import Progress, RowFigures
from rddg_ray.runtime.publishing import gather, key_of, outcomes_on_record, published
from rddg_ray.runtime.spending import Spending, spending_of
from rddg_ray.runtime.stopping import StoppedError
from rddg_ray.runtime.store import RunDirectory
from rddg_ray.table import Table

_CUT_OFF = frozenset({"stopped", "failed"})


def generate_chains(
    settings: RunSettings,
    tables: Mapping[str, Table],
    store: RunDirectory,
    executor: Executor,
    progress: Progress,
) -> list[ChainOutcome]:
    """Run the chains that are not finished, publish what they made, return all that was asked for.

    Raises:
        StoppedError: If they were drained on request.
        RddgError: What the user must act on, once the rows of all chains are published; where
            the run directory or the program is in doubt, none are.
    """
    specs = list_chains(settings, tables)
    known = published(store)
    todo = [spec for spec in specs if not _is_finished(known.get(key_of(spec)))]
    if todo:
        # What is wrong with the key or the address should not be found out after an hour.
        endpoint = with_absolute_paths(settings.endpoint)
        executor.check_endpoint(
            CallPlan(endpoint, store.journal, settings.fingerprint(), store.epoch)
        )
        progress.update("coresets", 0, len(tables))
        chosen = coresets(tables, settings, store.path / "coreset", executor)
        write_coreset(store.path / "coreset", tables, chosen)
        progress.update("coresets", len(tables), len(tables))
        work = ChainWork(todo, tables, chosen, settings, store.journal, store.epoch)
        _run_and_publish(work, store, executor, progress)
        known = published(store)
    return [known[key_of(spec)] for spec in specs]


def _run_and_publish(
    work: ChainWork, store: RunDirectory, executor: Executor, progress: Progress
) -> None:
    """Run chains and publish what they made, also where some failed or all were stopped."""
    has_prices = Prices.from_settings(work.settings.endpoint.budget) is not None
    ended, failures = executor.run_chains(work, RowFigures(work.specs, progress, has_prices))
    if any(is_doubtful(failure.error) for failure in failures):
        raise told(worst(failures), failure_lines(failures, len(work.specs)))
    ended += outcomes_on_record(work, [failure.spec for failure in failures], executor)
    known = published(store)
    made = {key_of(o.spec): o for o in ended if _went_on(o, known.get(key_of(o.spec)))}
    gather(work, made, store, executor, progress)
    if failures or _was_drained(ended):
        lines = failure_lines(failures, len(work.specs))
        raise told(_reason(failures, ended), [*lines, _kept(work, store)])


def _reason(failures: Sequence[ChainFailure], ended: Sequence[ChainOutcome]) -> Exception:
    # What stops a run by itself drains it, too; what one chain failed of is not what stopped it.
    own = any(stops_run(failure.error) for failure in failures)
    return StoppedError("stopped") if _was_drained(ended) and not own else worst(failures)


def _kept(work: ChainWork, store: RunDirectory) -> str:
    outcomes = list(published(store).values())
    record_spending(work.settings, store)
    return published_line(outcomes)


def record_spending(settings: RunSettings, store: RunDirectory) -> Spending:
    """Put into the manifest what all starts of the run spent, and return it."""
    outcomes = published(store).values()
    spending = spending_of(store.journal, settings.endpoint.budget, outcomes)
    if outcomes:
        store.record_spending(asdict(spending))
    return spending


def _is_finished(outcome: ChainOutcome | None) -> bool:
    # A chain that fell short may go on today: its limits may be others. Replies on record are
    # not asked for again.
    return outcome is not None and not outcome.shortfall


def _went_on(now: ChainOutcome, before: ChainOutcome | None) -> bool:
    # Limits below those of an earlier start take no row away.
    if before is None:
        return now.rounds > 0 or now.ended_because not in _CUT_OFF
    has_ended = before.ended_because in _CUT_OFF and now.ended_because not in _CUT_OFF
    return now.rounds > before.rounds or (now.rounds == before.rounds and has_ended)


def _was_drained(outcomes: Sequence[ChainOutcome]) -> bool:
    return any(outcome.ended_because == "stopped" for outcome in outcomes)
