"""Everything in this process: for one table, for tests, and where no cluster is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from rddg_ray.config import EndpointSettings
from rddg_ray.exchange import Endpoint
from rddg_ray.llm.budget import Ledger, LocalLedger
from rddg_ray.llm.connection import connect
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.llm.journal import Journal, lease_fence, spent
from rddg_ray.llm.limiter import LocalPacer, Pacer
from rddg_ray.llm.stack import stacked
from rddg_ray.runtime.chains import (
    ChainOutcome,
    ChainSpec,
    ChainWork,
    build_study,
    replayed_rows,
    run_chain,
)
from rddg_ray.runtime.executor import ChainProgress, Item, OnProgress, Result

Value = TypeVar("Value")


def open_endpoint(
    work: ChainWork, writer: str, ledger: Ledger, pacer: Pacer, stack: ExitStack
) -> tuple[Endpoint, Journal]:
    """Return this process's endpoint with every wrapper around it, and its journal.

    Args:
        work: Names the endpoint, the folder of replies and the epoch.
        writer: Name of this process's journal file, and of its owner at the ledger.
        ledger: The run's.
        pacer: The run's.
        stack: Stops an embedded server that is started here, and closes the journal.
    """
    settings = work.settings.endpoint
    client = _client(settings, stack)
    journal = Journal(
        work.journal,
        writer,
        work.fingerprint,
        possibly_paid_twice=settings.journal.possibly_paid_twice,
        fence=lease_fence(work.journal.parent, work.epoch),
    )
    stack.callback(journal.close)
    return stacked(client, settings, journal, ledger, pacer=pacer, owner=writer), journal


def _client(settings: EndpointSettings, stack: ExitStack) -> Endpoint:
    """Connect to the endpoint; an embedded one without an address is started first."""
    if settings.kind == "embedded" and settings.base_url is None:
        server = stack.enter_context(serve_in_thread(settings.embedded))
        settings = settings.model_copy(update={"base_url": server.base_url})
    return connect(settings)


def check_endpoint(settings: EndpointSettings) -> None:
    """Find out, without a call, whether the settings lead to an endpoint.

    Raises:
        ConfigError: If the address, the key or the recordings cannot be used here.
    """
    if settings.kind != "embedded" or settings.base_url is not None:
        _run_coroutine(connect(settings).aclose())


def with_absolute_paths(settings: EndpointSettings) -> EndpointSettings:
    """Return the settings with paths as this process reads them: Ray's have another home."""
    paths = {
        name: path.expanduser().absolute()
        for name in ("api_key_file", "replay_path")
        if (path := getattr(settings, name)) is not None
    }
    return settings.model_copy(update=paths)


async def run_all(
    work: ChainWork, endpoint: Endpoint, journal: Journal, on_progress: OnProgress
) -> tuple[list[ChainOutcome], list[Exception]]:
    """Run chains side by side in one event loop; see `Executor.run_chains`."""
    progress: dict[str, ChainProgress] = {}

    def note(spec: ChainSpec, **changes: int) -> None:
        key = f"{spec.dataset}/{spec.name}"
        progress[key] = replace(progress.get(key, ChainProgress()), **changes)
        on_progress(progress)

    async def one(spec: ChainSpec) -> ChainOutcome:
        journal.load(spec.dataset, spec.name)
        study = build_study(spec, work.tables[spec.dataset], work.coreset(spec), work.settings)
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
        )

    results = await asyncio.gather(*map(one, work.specs), return_exceptions=True)
    failures = [result for result in results if isinstance(result, Exception)]
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            raise result  # An interrupt is the user's word, not a chain's failure.
    return [result for result in results if isinstance(result, ChainOutcome)], failures


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

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, use_gpu: bool = False
    ) -> Iterator[Result]:
        """Yield the result of each item, in order."""
        del use_gpu  # The function itself picks the device here.
        return map(function, items)

    def run_chains(
        self, work: ChainWork, on_progress: OnProgress
    ) -> tuple[list[ChainOutcome], list[Exception]]:
        """Run every chain in one event loop; see `Executor`."""

        async def all_chains() -> tuple[list[ChainOutcome], list[Exception]]:
            settings = work.settings.endpoint
            ledger = LocalLedger(settings.budget, spent(work.journal))
            pacer = LocalPacer(settings.limits)
            writer = f"local-e{work.epoch}"
            endpoint, journal = open_endpoint(work, writer, ledger, pacer, stack)
            async with aclosing(endpoint):
                return await run_all(work, endpoint, journal, on_progress)

        with ExitStack() as stack:
            return _run_coroutine(all_chains())

    def gather(self, work: ChainWork, rows: Path, rejects: Path) -> None:
        """Replay chains one after another; see `Executor`."""
        for folder, frame in zip((rows, rejects), replayed_rows(work, work.specs), strict=True):
            if len(frame):
                frame.to_parquet(folder / "part-00000.parquet", index=False)

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
