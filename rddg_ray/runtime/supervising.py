"""A run's chains on actors: placed, watched, and started again where they were lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, RayActorError, RayTaskError

from rddg_ray.errors import RddgError
from rddg_ray.runtime.chains import ChainOutcome, ChainSpec, ChainWork
from rddg_ray.runtime.executor import (
    ChainFailure,
    ChainProgress,
    LostChainError,
    OnProgress,
    Traffic,
)
from rddg_ray.runtime.failing import stops_run
from rddg_ray.runtime.placement import Placement
from rddg_ray.runtime.remote import CallerLostError
from rddg_ray.runtime.restarts import Restarts
from rddg_ray.runtime.traffic import traffic_of

_POLL_S = 0.5


class Supervision:
    """Runs chains on hosts to their ends, whatever becomes of the hosts.

    Args:
        work: Which chains.
        hosts: Handles of `ChainHost` actors.
        limiter: Handle of the run's Limiter.
        is_draining: Whether chains should stop before their next round.
        on_fatal: Called when a chain failed of what stops all.
    """

    def __init__(
        self,
        work: ChainWork,
        hosts: Sequence[Any],
        limiter: Any,
        is_draining: Callable[[], bool],
        on_fatal: Callable[[], None],
    ) -> None:
        self._work = work
        self._hosts = hosts
        self._limiter = limiter
        self._is_draining = is_draining
        self._on_fatal = on_fatal
        self._tables = {name: ray.put(table) for name, table in work.tables.items()}
        self._positions = {_key(spec): position for position, spec in enumerate(work.specs)}
        self._placement = Placement(len(hosts))
        self._restarts = Restarts()
        self._due_s = dict.fromkeys(range(len(work.specs)), 0.0)
        self._pending: dict[Any, int] = {}
        self._asked: dict[Any, int] = {}
        self._outcomes: dict[int, ChainOutcome] = {}
        self._failures: list[ChainFailure] = []
        self._told: dict[str, ChainProgress] = {}

    def run(self, on_progress: OnProgress) -> tuple[list[ChainOutcome], list[ChainFailure]]:
        """Return what became of the chains that ended, in order, and why others did not."""
        while self._pending or self._due_s:
            for position in [p for p, at_s in self._due_s.items() if at_s <= time.monotonic()]:
                self._start(position)
            for reference in self._ended():
                self._take(reference)
            self._drain()
            progress, traffic = self._progress()
            self._told.update(progress)
            on_progress(progress, traffic)
        return [self._outcomes[position] for position in sorted(self._outcomes)], self._failures

    def _start(self, position: int) -> None:
        """Start a chain where a host can take it; otherwise it is tried again soon."""
        spec, at = self._work.specs[position], self._placement.put(position)
        if at is None:
            if self._placement.is_hopeless:
                del self._due_s[position]
                self._fail(spec, _lost(spec, "no machine is left to run it"))
            return
        del self._due_s[position]
        host, n_starts = self._hosts[at], self._restarts.starts[position]
        if self._is_draining():
            host.drain.remote()
        table, coreset = [self._tables[spec.dataset]], list(self._work.coreset(spec))
        self._pending[host.run.remote(spec, table, coreset, n_starts)] = position
        self._restarts.starts[position] += 1

    def _ended(self) -> list[Any]:
        if not self._pending:
            time.sleep(_POLL_S)
            return []
        waiting = list(self._pending)
        ended, _ = ray.wait(waiting, num_returns=len(waiting), timeout=_POLL_S)
        return list(ended)

    def _take(self, reference: Any) -> None:
        """Take a chain's outcome, or its failure, or have it started again."""
        position = self._pending.pop(reference)
        at, is_begun = self._placement.end(position)
        try:
            self._outcomes[position] = result_of(reference)
        except CallerLostError as error:
            self._lose(position, error)
        except (RayActorError, ActorUnschedulableError) as error:
            self._placement.silent(at)
            self._lose(position, error, refused_by=None if is_begun else at)
        except (RddgError, RayTaskError) as error:
            self._fail(self._work.specs[position], error)

    def _lose(self, position: int, error: Exception, refused_by: int | None = None) -> None:
        # What lost nodes had reserved counts as spent, for nobody will settle it.
        self._limiter.lost.remote([n["NodeID"] for n in ray.nodes() if not n["Alive"]])
        spec = self._work.specs[position]
        rounds = self._told.get(_key(spec), ChainProgress()).rounds
        pause_s = self._restarts.pause_s(position, rounds, refused_by=refused_by)
        if pause_s is None:
            self._fail(spec, _lost(spec, f"its actor is lost again and again: {error}"))
        else:
            # Its actor, or another one, may need a moment to come back.
            self._due_s[position] = time.monotonic() + pause_s

    def _fail(self, spec: ChainSpec, error: Exception) -> None:
        self._failures.append(ChainFailure(spec, error))
        if stops_run(error):
            self._on_fatal()

    def _drain(self) -> None:
        if self._is_draining():
            # Every time: one that was restarted since has forgotten.
            for host in self._hosts:
                host.drain.remote()

    def _progress(self) -> tuple[dict[str, ChainProgress], Traffic | None]:
        # A host that is slow to answer is not asked again before it has.
        for at in set(range(len(self._hosts))) - set(self._asked.values()):
            self._asked[self._hosts[at].progress.remote()] = at
        snapshots = self._limiter.snapshots.remote()
        waiting = [*self._asked, snapshots]
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=_POLL_S)
        merged: dict[str, ChainProgress] = {}
        for reference in ready:
            if reference != snapshots:
                for key, chain in self._heard(reference).items():
                    # A chain that went to another actor is known to both.
                    merged[key] = max(chain, merged.get(key, chain), key=lambda one: one.rounds)
        return merged, _traffic(snapshots) if snapshots in ready else None

    def _heard(self, reference: Any) -> dict[str, ChainProgress]:
        at = self._asked.pop(reference)
        try:
            told: dict[str, ChainProgress] = ray.get(reference)
        except (RayActorError, ActorUnschedulableError):
            self._placement.silent(at)
            return {}  # It restarts; its chains report again.
        self._placement.heard(at, [self._positions[key] for key in told])
        return told


def result_of(reference: Any) -> Any:
    """Return what a task or method returned.

    Raises:
        RddgError: What it raised, without Ray's wrapper.
        RayTaskError: What else it raised.
    """
    try:
        return ray.get(reference)
    except RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, RddgError) else error) from None


def _traffic(snapshots: Any) -> Traffic | None:
    try:
        pacer, ledger = ray.get(snapshots)
    except RayActorError:
        return None  # It restarts.
    return traffic_of(pacer, ledger, ledger.caps)


def _key(spec: ChainSpec) -> str:
    return f"{spec.dataset}/{spec.name}"


def _lost(spec: ChainSpec, why: str) -> LostChainError:
    return LostChainError(f"chain {spec.name!r} of {spec.dataset}: {why}")
