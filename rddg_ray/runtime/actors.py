"""Work on a Ray cluster: tasks, actors that host chains, and a driver that supervises them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from rddg_ray.errors import ConfigError
from rddg_ray.runtime.blocks import fit_groups, gather_chains
from rddg_ray.runtime.callers import landing_s
from rddg_ray.runtime.chains import ChainOutcome, ChainWork
from rddg_ray.runtime.executor import ChainFailure, Item, OnProgress, Result
from rddg_ray.runtime.finding import check_callers, end_callers, find_callers
from rddg_ray.runtime.hosts import start_hosts
from rddg_ray.runtime.limits import start_limiter
from rddg_ray.runtime.local import with_absolute_paths
from rddg_ray.runtime.opening import CallPlan
from rddg_ray.runtime.supervising import Supervision, result_of

_PARTING_S = 5.0
_GPU_SHARE = 0.25
_CHECK_S = 60.0


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
        return (result_of(reference) for reference in references)

    def check_endpoint(self, plan: CallPlan) -> None:
        """Find out whether calls can be made on every node that may get chains; see `Executor`."""
        for address, error in check_callers(plan, _CHECK_S).items():
            if isinstance(error, ConfigError) and _n_nodes() > 1:
                raise ConfigError(f"on node {address}: {error}")
            raise error

    def run_chains(
        self, work: ChainWork, on_progress: OnProgress
    ) -> tuple[list[ChainOutcome], list[ChainFailure]]:
        """Spread chains over actors; see `Executor`. A lost actor's chains are started again.

        Callers that an earlier driver of the run left are drained first: what they have in
        flight is on record before it could be asked for again.
        """
        self._plan = plan = _plan_of(work)
        end_callers(find_callers(plan.run), landing_s(plan))
        try:
            self._limiter = start_limiter(plan)
            self._hosts = start_hosts(min(len(work.specs), _n_cpus()), work, plan)
            supervision = Supervision(
                work, self._hosts, self._limiter, lambda: self._is_draining, self.drain
            )
            return supervision.run(on_progress)
        finally:
            self.close()

    def gather(self, work: ChainWork, folders: Mapping[str, Path]) -> None:
        """Replay chains with Ray Data, some in each block; see `Executor`."""
        gather_chains(work, folders, _n_cpus())

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
    endpoint = with_absolute_paths(work.settings.endpoint)
    return CallPlan(endpoint, work.journal, work.fingerprint, work.epoch)


def _n_cpus() -> int:
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _n_nodes() -> int:
    """Return how many nodes can host chains."""
    return max(1, sum(bool(n["Alive"]) and "CPU" in n["Resources"] for n in ray.nodes()))
