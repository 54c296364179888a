"""Work on a Ray cluster: tasks, actors that host chains, and a driver that supervises them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, RayActorError, RayTaskError

from rddg_ray.errors import RddgError
from rddg_ray.runtime.blocks import fit_groups, gather_rows
from rddg_ray.runtime.callers import landing_s
from rddg_ray.runtime.chains import ChainOutcome, ChainSpec, ChainWork
from rddg_ray.runtime.executor import (
    ChainFailure,
    ChainProgress,
    Item,
    LostChainError,
    OnProgress,
    Result,
    Traffic,
)
from rddg_ray.runtime.failing import stops_run
from rddg_ray.runtime.finding import end_callers, find_callers
from rddg_ray.runtime.hosts import ChainHost
from rddg_ray.runtime.limits import start_limiter
from rddg_ray.runtime.local import with_absolute_paths
from rddg_ray.runtime.opening import CallPlan
from rddg_ray.runtime.remote import CallerLostError
from rddg_ray.runtime.restarts import Restarts
from rddg_ray.runtime.traffic import traffic_of

_POLL_S = 0.5
_PARTING_S = 5.0
_GPU_SHARE = 0.25


class RayExecutor:
    """Runs work on the Ray that this process is connected to."""

    def __init__(self) -> None:
        self._hosts: list[Any] = []
        self._limiter: Any = None
        self._plan: CallPlan | None = None
        self._is_draining = False

    @property
    def hosts(self) -> list[Any]:
        """Return the actors that host chains at the moment."""
        return list(self._hosts)

    @property
    def callers(self) -> list[Any]:
        """Return the actors that make calls at the moment, one for each node with chains."""
        return [] if self._plan is None else [f.actor for f in find_callers(self._plan.run)]

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
    ) -> tuple[list[ChainOutcome], list[ChainFailure]]:
        """Spread chains over actors; see `Executor`. A lost actor's chains are started again.

        Callers that an earlier driver of the run left are drained first: what they have in
        flight is on record before it could be asked for again.
        """
        tables = {name: ray.put(table) for name, table in work.tables.items()}
        self._plan = plan = _plan_of(work)
        end_callers(find_callers(plan.run), landing_s(plan))
        try:
            self._limiter = start_limiter(plan)
            bare = replace(work, specs=(), tables={}, coresets={})
            n_hosts = min(len(work.specs), _n_cpus())
            self._hosts = [ChainHost.remote(bare, plan) for _ in range(n_hosts)]
            return self._supervise(work, tables, on_progress)
        finally:
            self.close()

    def _supervise(
        self, work: ChainWork, tables: Mapping[str, Any], on_progress: OnProgress
    ) -> tuple[list[ChainOutcome], list[ChainFailure]]:
        restarts = Restarts()
        due_s = dict.fromkeys(range(len(work.specs)), 0.0)
        pending: dict[Any, int] = {}
        outcomes: dict[int, ChainOutcome] = {}
        failures: list[ChainFailure] = []
        told: dict[str, ChainProgress] = {}
        while pending or due_s:
            for position in [at for at, when_s in due_s.items() if when_s <= time.monotonic()]:
                del due_s[position]
                started = self._start(work, tables, position, restarts.starts[position])
                pending[started] = position
                restarts.starts[position] += 1
            for reference in _ended(pending):
                position = pending.pop(reference)
                try:
                    outcomes[position] = _get(reference)
                except (RayActorError, ActorUnschedulableError, CallerLostError) as error:
                    self._forfeit()
                    spec = work.specs[position]
                    pause_s = restarts.pause_s(position, _rounds(spec, told))
                    if pause_s is None:
                        failures.append(ChainFailure(spec, _lost(spec, error)))
                    else:
                        # Its actor, or another one, may need a moment to come back.
                        due_s[position] = time.monotonic() + pause_s
                except (RddgError, RayTaskError) as error:
                    failures.append(ChainFailure(work.specs[position], error))
                    if stops_run(error):
                        self.drain()
            self._drain_hosts()
            progress, traffic = self._progress()
            told.update(progress)
            on_progress(progress, traffic)
        return [outcomes[position] for position in sorted(outcomes)], failures

    def _start(
        self, work: ChainWork, tables: Mapping[str, Any], position: int, n_starts: int
    ) -> Any:
        spec = work.specs[position]
        # Started again, a chain goes to the next actor: its own may have no node to restart on.
        host = self._hosts[(position + n_starts) % len(self._hosts)]
        if self._is_draining:
            host.drain.remote()
        table = [tables[spec.dataset]]
        return host.run.remote(spec, table, list(work.coreset(spec)), n_starts)

    def _drain_hosts(self) -> None:
        if self._is_draining:
            # Every time: one that was restarted since has forgotten.
            for host in self._hosts:
                host.drain.remote()

    def _forfeit(self) -> None:
        """Have what lost nodes had reserved counted as spent, for nobody will settle it."""
        self._limiter.lost.remote([n["NodeID"] for n in ray.nodes() if not n["Alive"]])

    def _progress(self) -> tuple[dict[str, ChainProgress], Traffic | None]:
        merged: dict[str, ChainProgress] = {}
        snapshots = self._limiter.snapshots.remote()
        waiting = [*(host.progress.remote() for host in self._hosts), snapshots]
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=_POLL_S)
        traffic = None
        for reference in ready:
            try:
                told = ray.get(reference)
            except RayActorError:
                continue  # It restarts; its chains report again.
            if reference == snapshots:
                pacer, ledger = told
                traffic = traffic_of(pacer, ledger, ledger.caps)
                continue
            for key, chain in told.items():
                # A chain that went to another actor is known to both.
                merged[key] = max(chain, merged.get(key, chain), key=lambda one: one.rounds)
        return merged, traffic

    def gather(self, work: ChainWork, rows: Path, rejects: Path) -> None:
        """Replay chains with Ray Data, some in each block; see `Executor`."""
        gather_rows(work, rows, rejects, _n_cpus())

    def fit(
        self,
        function: Callable[[Any, Any], Sequence[Mapping[str, Any]]],
        groups: Sequence[Any],
        data: Mapping[str, Any],
    ) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Yield the records of each group, one block of Ray Data a group; see `Executor`."""
        return fit_groups(function, groups, data)

    def drain(self) -> None:
        """Ask every chain to stop before its next round; see `Executor`."""
        # One store, so that a signal's handler may do it too; the loop that supervises tells.
        self._is_draining = True

    def close(self) -> None:
        """End the actors; calling twice is harmless.

        Where calls are in flight, as after an interrupt, their Callers are given a few seconds;
        on a cluster that stays up they then end by themselves once the replies are on record.
        """
        for host in self._hosts:
            ray.kill(host)
        if self._plan is not None:
            end_callers(find_callers(self._plan.run), landing_s(self._plan), wait_s=_PARTING_S)
        if self._limiter is not None:
            ray.kill(self._limiter)
        self._hosts, self._limiter, self._plan = [], None, None


def _plan_of(work: ChainWork) -> CallPlan:
    """Return what Callers need; each node that may get chains has a share of the calls at once."""
    endpoint = with_absolute_paths(work.settings.endpoint)
    if endpoint.max_concurrency is not None:
        n_callers = min(len(work.specs), _n_nodes())
        each = math.ceil(endpoint.max_concurrency / n_callers)
        endpoint = endpoint.model_copy(update={"max_concurrency": each})
    return CallPlan(endpoint, work.journal, work.fingerprint, work.epoch)


def _get(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, RddgError) else error) from None


def _n_cpus() -> int:
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _n_nodes() -> int:
    """Return how many nodes can host chains."""
    return max(1, sum(bool(n["Alive"]) and "CPU" in n["Resources"] for n in ray.nodes()))


def _ended(pending: Mapping[Any, int]) -> list[Any]:
    if not pending:
        time.sleep(_POLL_S)
        return []
    ended, _ = ray.wait(list(pending), num_returns=len(pending), timeout=_POLL_S)
    return list(ended)


def _rounds(spec: ChainSpec, told: Mapping[str, ChainProgress]) -> int:
    return told.get(f"{spec.dataset}/{spec.name}", ChainProgress()).rounds


def _lost(spec: ChainSpec, error: Exception) -> LostChainError:
    return LostChainError(
        f"chain {spec.name!r} of {spec.dataset}: its actor is lost again and again: {error}"
    )
