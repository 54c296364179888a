"""The actors that host chains."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray

from rddg_ray.runtime.callers import Chain
from rddg_ray.runtime.chains import ChainOutcome, ChainSpec, ChainWork
from rddg_ray.runtime.executor import ChainProgress
from rddg_ray.runtime.local import run_all
from rddg_ray.runtime.opening import CallPlan
from rddg_ray.runtime.remote import RemoteEndpoint
from rddg_ray.runtime.store import check_visible

_SPARE_CALLS = 1_000
"""Methods of a host that may be under way besides chains, those left by lost starts included."""


class _ChainHost:
    """An actor that hosts chains, each with its own state, in one event loop.

    It holds no key and makes no call itself. A restart loses nothing: chains start over from the
    journal, and calls in flight go on in the Caller. Its methods are never retried by Ray.

    Args:
        work: The run, without tables and chains.
        plan: The run's calls.
    """

    def __init__(self, work: ChainWork, plan: CallPlan) -> None:
        self._work = work
        self._plan = plan
        self._endpoint: RemoteEndpoint | None = None
        self._tables: dict[str, Any] = {}
        self._progress: dict[str, ChainProgress] = {}
        self._running: Counter[Chain] = Counter()
        self._is_draining = False

    async def run(
        self, spec: ChainSpec, table: Sequence[Any], coreset: Sequence[int], n_starts: int = 0
    ) -> ChainOutcome:
        """Run one chain to its end; many calls of this run side by side.

        Args:
            spec: Which chain.
            table: A reference to the training rows in a list, so that chains share one copy.
            coreset: Positions of the rows shown for relations.
            n_starts: How often the chain was started before, here or elsewhere.
        """
        chain = spec.dataset, spec.name
        # By this the driver knows that the chain was begun; what an earlier start told is over.
        self._progress["/".join(chain)] = ChainProgress()
        self._running[chain] += 1
        try:
            return await self._run(spec, table, coreset, n_starts)
        finally:
            self._running[chain] -= 1

    async def _run(
        self, spec: ChainSpec, table: Sequence[Any], coreset: Sequence[int], n_starts: int
    ) -> ChainOutcome:
        # Not in the constructor: an error there would reach the driver as the actor's death.
        if self._endpoint is None:
            # For the Caller too, which is on the same node and leaner without.
            check_visible(self._plan.journal.parent)
            self._endpoint = RemoteEndpoint(self._plan)
        if n_starts:
            await self._endpoint.take_over(spec.dataset, spec.name)
        if spec.dataset not in self._tables:
            self._tables[spec.dataset] = await table[0]
        key = (spec.dataset, spec.method)
        work = replace(self._work, specs=[spec], tables=self._tables, coresets={key: coreset})
        endpoint = self._endpoint
        outcomes, failures = await run_all(
            work, endpoint, endpoint.load, self._progress.update, lambda: self._should_stop(spec)
        )
        if failures:
            raise failures[0].error
        await endpoint.forget(spec.dataset, spec.name)
        return outcomes[0]

    def _should_stop(self, spec: ChainSpec) -> bool:
        """Return whether a chain should stop; what is on record is replayed all the same."""
        if not self._is_draining or self._endpoint is None:
            return self._is_draining
        done = self._progress.get(f"{spec.dataset}/{spec.name}", ChainProgress())
        return not self._endpoint.knows(spec.call(done.rounds, 0))

    async def progress(self) -> dict[str, ChainProgress]:
        """Return how far each chain of this host is."""
        return dict(self._progress)

    async def drain(self) -> None:
        """Ask every chain of this host to stop before its next round, those to come too.

        Their calls in flight are awaited; those that wait for their turn are given up.
        """
        self._is_draining = True
        if self._endpoint is not None:
            await self._endpoint.leave([chain for chain, n in self._running.items() if n])

    async def process_id(self) -> int:
        """Return the id of the process that hosts the chains."""
        return os.getpid()


ChainHost: Any = ray.remote(max_restarts=-1, max_task_retries=0, num_cpus=1)(_ChainHost)


def start_hosts(n_hosts: int, work: ChainWork, plan: CallPlan) -> list[Any]:
    """Start actors for a run's chains and return their handles; each may get all the chains."""
    bare = replace(work, specs=(), tables={}, coresets={})
    # Ray's own bound is 1,000, and a method that waits behind it could not be asked to stop.
    host = ChainHost.options(max_concurrency=len(work.specs) + _SPARE_CALLS)
    return [host.remote(bare, plan) for _ in range(n_hosts)]
