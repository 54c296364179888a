"""Everything in this process: for one table, for tests, and where no cluster is wanted."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from rddg_ray.config import EndpointSettings
from rddg_ray.exchange import Endpoint
from rddg_ray.llm.budget import LocalLedger
from rddg_ray.llm.handover import HandoverEndpoint
from rddg_ray.llm.journal import spent
from rddg_ray.llm.limiter import LocalPacer
from rddg_ray.runtime.chains import (
    ChainOutcome,
    ChainSpec,
    ChainWork,
    build_study,
    run_chain,
)
from rddg_ray.runtime.executor import ChainFailure, ChainProgress, Item, OnProgress, Result
from rddg_ray.runtime.failing import stops_run
from rddg_ray.runtime.leaving import LeavableEndpoint
from rddg_ray.runtime.opening import CallPlan, check_client, open_endpoint
from rddg_ray.runtime.replaying import replayed
from rddg_ray.runtime.sharing import prepare_models
from rddg_ray.runtime.traffic import traffic_of
from rddg_ray.runtime.watching import WatchedEndpoint

Value = TypeVar("Value")

_LOOK_EVERY_S = 0.5


def check_endpoint(settings: EndpointSettings) -> None:
    """Find out, without a call, whether the settings lead to an endpoint.

    Raises:
        ConfigError: If the address, the key or the recordings cannot be used here.
    """
    _run_coroutine(check_client(settings))


def with_absolute_paths(settings: EndpointSettings) -> EndpointSettings:
    """Return the settings with paths as this process reads them: Ray's have another home."""
    paths = {
        name: path.expanduser().absolute()
        for name in ("api_key_file", "replay_path")
        if (path := getattr(settings, name)) is not None
    }
    return settings.model_copy(update=paths)


async def run_all(
    work: ChainWork,
    endpoint: Endpoint,
    load: Callable[[str, str], object],
    on_progress: Callable[[Mapping[str, ChainProgress]], None],
    should_stop: Callable[[], bool] = lambda: False,
    *,
    on_fatal: Callable[[], None] = lambda: None,
) -> tuple[list[ChainOutcome], list[ChainFailure]]:
    """Run chains side by side in one event loop; see `Executor.run_chains`.

    Args:
        work: Which chains.
        endpoint: Where their prompts go.
        load: Called with the data set and the name of a chain before it starts.
        on_progress: Called with the progress of every chain so far.
        should_stop: Asked before each round.
        on_fatal: Called when a chain failed of what stops all; no further round starts then.
    """
    progress: dict[str, ChainProgress] = {}
    failures: list[ChainFailure] = []

    def note(spec: ChainSpec, **changes: int) -> None:
        key = f"{spec.dataset}/{spec.name}"
        progress[key] = replace(progress.get(key, ChainProgress()), **changes)
        on_progress(progress)

    def is_over() -> bool:
        return should_stop() or any(stops_run(failure.error) for failure in failures)

    async def one(spec: ChainSpec) -> ChainOutcome:
        load(spec.dataset, spec.name)
        table = work.tables[spec.dataset]
        # In a thread, so that calls of other chains in this loop go on meanwhile.
        await asyncio.to_thread(prepare_models, table, spec.method, work.settings.generation)
        study = build_study(spec, table, work.coreset(spec), work.settings)
        return await run_chain(
            spec,
            study,
            endpoint,
            lambda state, _: note(
                spec,
                rounds=state.round,
                n_accepted=sum(state.counts.values()),
                n_rejects=sum(len(batch.rejects) for batch in state.rejected),
                n_calls=state.n_calls,
            ),
            is_over,
        )

    async def noted(spec: ChainSpec) -> ChainOutcome | None:
        try:
            return await one(spec)
        except Exception as error:  # noqa: BLE001 - told to whoever asked, in words or as it is
            failures.append(ChainFailure(spec, error))
            if stops_run(error):
                on_fatal()
            return None

    results = await asyncio.gather(*map(noted, work.specs), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result  # An interrupt is the user's word, not a chain's failure.
    return [result for result in results if isinstance(result, ChainOutcome)], failures


async def _watched(work: Coroutine[Any, Any, Value], look: Callable[[], None]) -> Value:
    """Await some work and look at it twice a second, and once when it has ended."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            look()

    watcher = asyncio.create_task(watch())
    try:
        return await work
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher  # What went wrong with looking is told.
        look()


def _run_coroutine(work: Coroutine[Any, Any, Value]) -> Value:
    """Run a coroutine to its end, also where a loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1, thread_name_prefix="rddg-chains") as pool:
        return pool.submit(asyncio.run, work).result()


class LocalExecutor:
    """Runs work in this process, one thing at a time, calls side by side."""

    def __init__(self) -> None:
        self._is_draining = False

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, use_gpu: bool = False
    ) -> Iterator[Result]:
        """Yield the result of each item, in order."""
        del use_gpu  # The function itself picks the device here.
        return map(function, items)

    def check_endpoint(self, plan: CallPlan) -> None:
        """Find out, without a call, whether calls can be made here; see `Executor`."""
        check_endpoint(plan.settings)

    def run_chains(
        self, work: ChainWork, on_progress: OnProgress
    ) -> tuple[list[ChainOutcome], list[ChainFailure]]:
        """Run every chain in one event loop; see `Executor`."""
        told: dict[str, ChainProgress] = {}
        is_lost = threading.Event()

        def should_stop() -> bool:
            return self._is_draining or is_lost.is_set()

        async def all_chains() -> tuple[list[ChainOutcome], list[ChainFailure]]:
            settings = work.settings.endpoint
            ledger = LocalLedger(settings.budget, spent(work.journal))
            pacer = LocalPacer.of(settings)
            writer = f"local-e{work.epoch}"
            plan = CallPlan(settings, work.journal, work.fingerprint, work.epoch)
            watched: list[WatchedEndpoint] = []

            def watch(client: Endpoint) -> Endpoint:
                watched.append(WatchedEndpoint(client))
                return watched[0]

            whole, journal = open_endpoint(plan, writer, ledger, pacer, stack, watch=watch)
            endpoint = LeavableEndpoint(HandoverEndpoint(whole), watched[0])

            def look() -> None:
                if should_stop():
                    endpoint.leave()
                traffic = traffic_of(pacer.snapshot(), ledger.snapshot(), settings.budget)
                on_progress(told, traffic)

            async with aclosing(endpoint):
                chains = run_all(
                    work, endpoint, journal.load, told.update, should_stop, on_fatal=is_lost.set
                )
                return await _watched(chains, look)

        with ExitStack() as stack:
            return _run_coroutine(all_chains())

    def drain(self) -> None:
        """Ask every chain to stop before its next round; see `Executor`."""
        self._is_draining = True  # One store, so that a signal's handler may do it too.

    def gather(self, work: ChainWork, folders: Mapping[str, Path]) -> None:
        """Replay chains one after another; see `Executor`."""
        for kind, frame in replayed(work, work.specs).items():
            if len(frame):
                frame.to_parquet(folders[kind] / "part-00000.parquet", index=False)

    def fit(
        self,
        function: Callable[[Any, Any], Sequence[Mapping[str, Any]]],
        groups: Sequence[Any],
        data: Mapping[str, Any],
    ) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Yield the records of each group; see `Executor`."""
        return (function(group, data) for group in groups)

    def close(self) -> None:
        """Nothing was started."""
