"""Work on a Ray cluster: tasks, actors that host chains, Ray Data for gathering and the grid."""

from __future__ import annotations

import io
import math
import os
import pickle
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.exceptions import RayActorError, RayTaskError

from rddg_ray.errors import RddgError, StoreError
from rddg_ray.exchange import Endpoint
from rddg_ray.llm.journal import Journal
from rddg_ray.runtime.chains import ChainOutcome, ChainSpec, ChainWork, replayed_rows
from rddg_ray.runtime.executor import ChainProgress, Item, OnProgress, Result
from rddg_ray.runtime.limits import Limiter, RemoteLedger, RemotePacer
from rddg_ray.runtime.local import open_endpoint, run_all, with_absolute_paths
from rddg_ray.runtime.store import check_visible

_POLL_S = 0.5
_MAX_STARTS = 6
_FIRST_PAUSE_S = 1.0
_GPU_SHARE = 0.25
_BLOCKS_PER_CPU = 2


class _ChainHost:
    """An actor that hosts chains, each with its own state, in one event loop.

    A restart loses nothing but the call in flight: chains start over from the journal. Its
    methods are never retried by Ray itself, which could not know what was paid for.
    """

    def __init__(self, work: ChainWork, place: str, limiter: Any) -> None:
        self._work = work
        self._place = place
        # After a restart the former process may live for a moment: each has a file of its own.
        self._writer = f"{place}-{uuid.uuid4().hex[:8]}"
        self._limiter = limiter
        self._stack = ExitStack()
        self._opened: tuple[Endpoint, Journal] | None = None
        self._tables: dict[str, Any] = {}
        self._progress: dict[str, ChainProgress] = {}

    async def run(
        self, spec: ChainSpec, table: Sequence[Any], coreset: Sequence[int]
    ) -> ChainOutcome:
        """Run one chain to its end; many calls of this run side by side.

        Args:
            spec: Which chain.
            table: A reference to the training rows in a list, so that chains share one copy.
            coreset: Positions of the rows shown for relations.
        """
        endpoint, journal = await self._open()
        if spec.dataset not in self._tables:
            self._tables[spec.dataset] = await table[0]
        key = (spec.dataset, spec.method)
        work = replace(self._work, specs=[spec], tables=self._tables, coresets={key: coreset})
        outcomes, failures = await run_all(work, endpoint, journal, self._progress.update)
        if failures:
            raise failures[0]
        return outcomes[0]

    async def _open(self) -> tuple[Endpoint, Journal]:
        # Not in the constructor: an error there would reach the driver as the actor's death.
        if self._opened is None:
            check_visible(self._work.journal.parent)
            ledger = RemoteLedger(self._limiter)
            pacer = RemotePacer(self._limiter, self._work.settings.endpoint)
            self._opened = open_endpoint(self._work, self._writer, ledger, pacer, self._stack)
            await self._limiter.enter.remote(self._place, self._writer)
        return self._opened

    async def progress(self) -> dict[str, ChainProgress]:
        """Return how far each chain of this host is."""
        return dict(self._progress)

    async def process_id(self) -> int:
        """Return the id of the process that hosts the chains."""
        return os.getpid()


ChainHost: Any = ray.remote(max_restarts=-1, max_task_retries=0, num_cpus=1)(_ChainHost)


class RayExecutor:
    """Runs work on the Ray that this process is connected to."""

    def __init__(self) -> None:
        self._hosts: list[Any] = []
        self._limiter: Any = None

    @property
    def hosts(self) -> list[Any]:
        """Return the actors that host chains at the moment."""
        return list(self._hosts)

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, use_gpu: bool = False
    ) -> Iterator[Result]:
        """Yield the result of each item, in order; one task each, on a share of a GPU if any."""
        has_gpu = use_gpu and ray.cluster_resources().get("GPU", 0) > 0
        task = ray.remote(num_cpus=1, num_gpus=_GPU_SHARE if has_gpu else 0)(function)
        references = [task.remote(item) for item in items]
        return (_get(reference) for reference in references)

    def run_chains(
        self, work: ChainWork, on_progress: OnProgress
    ) -> tuple[list[ChainOutcome], list[Exception]]:
        """Spread chains over actors; see `Executor`. A lost actor's chains are started again."""
        tables = {name: ray.put(table) for name, table in work.tables.items()}
        self._hosts = self._start_hosts(work)
        try:
            return self._supervise(work, tables, on_progress)
        finally:
            self.close()

    def _start_hosts(self, work: ChainWork) -> list[Any]:
        n_hosts = min(len(work.specs), _n_cpus())
        endpoint = with_absolute_paths(work.settings.endpoint)
        each = math.ceil(endpoint.max_concurrency / n_hosts)
        settings = work.settings.model_copy(
            update={"endpoint": endpoint.model_copy(update={"max_concurrency": each})}
        )
        # Paths made absolute above would change the fingerprint, which is set already.
        bare = replace(work, specs=(), tables={}, coresets={}, settings=settings)
        self._limiter = Limiter.remote(settings.endpoint, work.journal)
        return [
            ChainHost.remote(bare, f"host{number}-e{work.epoch}", self._limiter)
            for number in range(n_hosts)
        ]

    def _supervise(
        self, work: ChainWork, tables: Mapping[str, Any], on_progress: OnProgress
    ) -> tuple[list[ChainOutcome], list[Exception]]:
        starts: Counter[int] = Counter()
        due_s = dict.fromkeys(range(len(work.specs)), 0.0)
        pending: dict[Any, int] = {}
        outcomes: dict[int, ChainOutcome] = {}
        failures: list[Exception] = []
        while pending or due_s:
            for position in [at for at, when_s in due_s.items() if when_s <= time.monotonic()]:
                del due_s[position]
                pending[self._start(work, tables, position, starts[position])] = position
                starts[position] += 1
            for reference in _ended(pending):
                position = pending.pop(reference)
                try:
                    outcomes[position] = _get(reference)
                except RayActorError as error:
                    if starts[position] == _MAX_STARTS:
                        failures.append(_lost(work.specs[position], error))
                    else:
                        # Its actor, or another one, may need a moment to come back.
                        pause_s = _FIRST_PAUSE_S * 2 ** (starts[position] - 1)
                        due_s[position] = time.monotonic() + pause_s
                except (RddgError, RayTaskError) as error:
                    failures.append(error)
            on_progress(self._progress())
        return [outcomes[position] for position in sorted(outcomes)], failures

    def _start(
        self, work: ChainWork, tables: Mapping[str, Any], position: int, n_starts: int
    ) -> Any:
        spec = work.specs[position]
        # Started again, a chain goes to the next actor: its own may have no node to restart on.
        host = self._hosts[(position + n_starts) % len(self._hosts)]
        return host.run.remote(spec, [tables[spec.dataset]], list(work.coreset(spec)))

    def _progress(self) -> dict[str, ChainProgress]:
        merged: dict[str, ChainProgress] = {}
        waiting = [host.progress.remote() for host in self._hosts]
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=_POLL_S)
        for reference in ready:
            try:
                merged.update(ray.get(reference))
            except RayActorError:
                continue  # It restarts; its chains report again.
        return merged

    def gather(self, work: ChainWork, rows: Path, rejects: Path) -> None:
        """Replay chains with Ray Data, some in each block; see `Executor`."""
        n_blocks = min(len(work.specs), _BLOCKS_PER_CPU * _n_cpus())
        parts = [list(part) for part in np.array_split(np.arange(len(work.specs)), n_blocks)]
        tables = {name: ray.put(table) for name, table in work.tables.items()}
        bare = replace(work, tables={})

        def replay(batch: dict[str, Any]) -> pa.Table:
            [number] = batch["part"]
            whole = replace(bare, tables={name: ray.get(ref) for name, ref in tables.items()})
            frames = replayed_rows(whole, [bare.specs[at] for at in parts[int(number)]])
            return pa.table({"rows": [_to_ipc(frames[0])], "rejects": [_to_ipc(frames[1])]})

        numbers = [{"part": number} for number in range(n_blocks)]
        with _in_order():
            replayed = (
                ray.data.from_items(numbers, override_num_blocks=n_blocks)
                .map_batches(replay, batch_size=1, num_cpus=0.5)
                .materialize()
            )
            # Rows and rejects come of one replay, and have a schema each.
            for column, folder in (("rows", rows), ("rejects", rejects)):
                replayed.map_batches(
                    _from_ipc, batch_size=1, batch_format="pyarrow",
                    fn_kwargs={"column": column}, num_cpus=0.5,
                ).write_parquet(str(folder))  # fmt: skip

    def fit(
        self,
        function: Callable[[Any, Any], Sequence[Mapping[str, Any]]],
        groups: Sequence[Any],
        data: Mapping[str, Any],
    ) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Yield the records of each group, one block of Ray Data a group; see `Executor`."""
        if not groups:
            return
        shared = {key: ray.put(value) for key, value in data.items()}

        def fit_block(batch: dict[str, Any]) -> dict[str, list[bytes]]:
            [position] = batch["position"]
            try:
                outcome: Any = list(function(groups[int(position)], _Shared(shared)))
            except RddgError as error:
                # A Ray Data function's error loses its class on the way; a value keeps it.
                outcome = error
            return {"outcome": [pickle.dumps(outcome)]}

        positions = [{"position": position} for position in range(len(groups))]
        blocks = ray.data.from_items(positions, override_num_blocks=len(positions)).map_batches(
            fit_block, batch_size=1, num_cpus=1
        )
        for block in blocks.iter_batches(batch_size=1, prefetch_batches=0):
            [pickled] = block["outcome"]
            outcome = pickle.loads(pickled)
            if isinstance(outcome, RddgError):
                raise outcome
            yield outcome

    def close(self) -> None:
        """End the actors; calling twice is harmless."""
        for actor in (*self._hosts, *([] if self._limiter is None else [self._limiter])):
            ray.kill(actor)
        self._hosts, self._limiter = [], None


class _Shared(Mapping[str, Any]):
    """Values in the object store, fetched when first used."""

    def __init__(self, references: Mapping[str, Any]) -> None:
        self._references = references

    def __getitem__(self, key: str) -> Any:
        return ray.get(self._references[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._references)

    def __len__(self) -> int:
        return len(self._references)


def _get(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, RddgError) else error) from None


def _n_cpus() -> int:
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _ended(pending: Mapping[Any, int]) -> list[Any]:
    if not pending:
        time.sleep(_POLL_S)
        return []
    ended, _ = ray.wait(list(pending), num_returns=len(pending), timeout=_POLL_S)
    return list(ended)


@contextmanager
def _in_order() -> Iterator[None]:
    """Keep the blocks of data sets made meanwhile in order; files are named by it."""
    options = ray.data.DataContext.get_current().execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        yield
    finally:
        options.preserve_order = before


def _lost(spec: ChainSpec, error: Exception) -> StoreError:
    return StoreError(
        f"chain {spec.name!r} of {spec.dataset}: its actor was lost {_MAX_STARTS} times: {error}"
    )


def _to_ipc(frame: Any) -> bytes:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _from_ipc(batch: pa.Table, column: str) -> pa.Table:
    [blob] = batch.column(column).to_pylist()
    with pa.ipc.open_stream(blob) as reader:
        table: pa.Table = reader.read_all()
    return table
