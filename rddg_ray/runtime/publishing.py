"""From replies on record to published rows."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rddg_ray.errors import StoreError
from rddg_ray.runtime.chains import (
    ChainOutcome,
    ChainSpec,
    ChainWork,
    build_study,
    outcome_of,
)
from rddg_ray.runtime.executor import Executor
from rddg_ray.runtime.progress import Progress
from rddg_ray.runtime.replaying import kinds_of, replay_chain
from rddg_ray.runtime.store import RunDirectory, entry_key

_CHAINS_A_TASK = 8


def key_of(spec: ChainSpec) -> str:
    """Return a chain's name within its run."""
    return f"{spec.dataset}/{spec.name}"


def published(store: RunDirectory) -> dict[str, ChainOutcome]:
    """Return what became of the chains whose rows are published, by `dataset/chain`."""
    records = store.manifest().get("chains", {})
    return {key: ChainOutcome.from_record(entry["outcome"]) for key, entry in records.items()}


def outcomes_on_record(
    work: ChainWork, specs: Sequence[ChainSpec], executor: Executor
) -> list[ChainOutcome]:
    """Return how far chains came that failed, from their replies on record.

    Raises:
        StoreError: If the replies on record are not those that the chains ask for.
    """
    return [
        outcome
        for outcomes in executor.map(_on_record, list(_in_parts(work, specs)))
        for outcome in outcomes
    ]


def _in_parts(work: ChainWork, specs: Sequence[ChainSpec]) -> Iterator[ChainWork]:
    for dataset in dict.fromkeys(spec.dataset for spec in specs):
        mine = [spec for spec in specs if spec.dataset == dataset]
        for start in range(0, len(mine), _CHAINS_A_TASK):
            part = mine[start : start + _CHAINS_A_TASK]
            rounds = {spec.name: sys.maxsize for spec in part}
            tables = {dataset: work.tables[dataset]}
            yield replace(work, specs=part, tables=tables, rounds=rounds)


def _on_record(work: ChainWork) -> list[ChainOutcome]:
    outcomes = []
    for spec in work.specs:
        study = build_study(spec, work.tables[spec.dataset], work.coreset(spec), work.settings)
        outcome = outcome_of(spec, study, replay_chain(work, spec, study))
        # What failed may have been lost after its last reply: then it has ended like any other.
        has_ended = outcome.ended_because != "stopped"
        outcomes.append(outcome if has_ended else replace(outcome, ended_because="failed"))
    return outcomes


def gather(
    work: ChainWork,
    made: Mapping[str, ChainOutcome],
    store: RunDirectory,
    executor: Executor,
    progress: Progress,
) -> None:
    """Replay every chain of each (table, method) that has new ones, verify, publish.

    Args:
        work: What the chains ran with.
        made: Chains that went on, by `dataset/chain`.
        store: The run directory.
        executor: Replays.
        progress: Told of each (table, method).

    Raises:
        StoreError: If a replay gives other rows than the chain said.
    """
    known = published(store)
    todo = {_part(outcome) for outcome in made.values()}
    # Chains of earlier starts too, of generator states that are not asked for today: what is
    # published of a table and method is replaced as a whole.
    # In one order, whichever of them came first.
    everything = sorted(
        {**known, **made}.values(), key=lambda o: (o.spec.generator_state, o.spec.index)
    )
    parts = {part: [o for o in everything if _part(o) == part] for part in todo}
    for n_done, ((dataset, method), outcomes) in enumerate(sorted(parts.items())):
        progress.update("gather", n_done, len(parts))
        specs = [outcome.spec for outcome in outcomes]
        mine = replace(
            work,
            specs=specs,
            tables={dataset: work.tables[dataset]},
            rounds={outcome.spec.name: outcome.rounds for outcome in outcomes},
            # A chain's calibration takes as much room as a thousand rows; some chains tell.
            recorded=frozenset([s.name for s in specs[: work.settings.recorded_chains]]),
        )
        staged = {kind: store.staging(kind) for kind in kinds_of(method)}
        executor.gather(mine, staged)
        wanted = _wanted(outcomes, mine.recorded)
        key = entry_key(dataset, method)
        files = {k: _checked(store, k, key, folder, wanted[k]) for k, folder in staged.items()}
        for kind, verified in files.items():
            store.publish(kind, key, verified)
        store.record_chains({key_of(o.spec): {"outcome": asdict(o)} for o in outcomes})
    if parts:
        progress.update("gather", len(parts), len(parts))


def _part(outcome: ChainOutcome) -> tuple[str, str]:
    return (outcome.spec.dataset, outcome.spec.method)


def _wanted(outcomes: Sequence[ChainOutcome], recorded: Collection[str]) -> dict[str, int]:
    """Return how many rows of each kind chains said they made; rounds for `calibration`."""
    told = [o.n_calibrated_rounds for o in outcomes if o.spec.name in recorded]
    return {
        "rows": sum(outcome.n_accepted for outcome in outcomes),
        "rejects": sum(sum(outcome.rejects.values()) for outcome in outcomes),
        "records": len(outcomes),
        "calibration": sum(told),
    }


def _checked(store: RunDirectory, kind: str, key: str, staged: Path, wanted: int) -> list[Path]:
    """Return staged files once they hold as much as the chains said."""
    files = sorted(staged.rglob("*.parquet"))
    found = _n_rounds(files) if kind == "calibration" else _n_rows(files)
    what = "rounds of calibration" if kind == "calibration" else kind
    if found != wanted:
        raise StoreError(
            f"{store.path}: gathering {key} gave {found} {what}, the chains said {wanted}; "
            "nothing was published. If the journal was changed from outside, start a new run "
            "directory; otherwise the same command tries again"
        )
    return files


def _n_rows(files: Sequence[Path]) -> int:
    return sum(pq.read_metadata(file).num_rows for file in files)


def _n_rounds(files: Sequence[Path]) -> int:
    """Return over how many rounds of how many chains the rows of files go."""
    names = ["rddg_chain", "rddg_round"]
    parts = [pq.read_table(file, columns=names).group_by(names).aggregate([]) for file in files]
    return pa.concat_tables(parts).group_by(names).aggregate([]).num_rows if parts else 0
