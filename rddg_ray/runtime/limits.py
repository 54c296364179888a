"""Pacing and budget of a whole cluster, in one actor."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rddg_ray.config import EndpointSettings
from rddg_ray.errors import TransientLLMError
from rddg_ray.exchange import RateHeaders
from rddg_ray.llm.budget import LedgerSnapshot, LocalLedger
from rddg_ray.llm.journal import spent
from rddg_ray.llm.limiter import LocalPacer, PacerSnapshot
from rddg_ray.llm.spending import Amount
from rddg_ray.runtime.opening import CallPlan

NAMESPACE = "rddg-ray"
"""Where the names of this package's actors live."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CallingProcess:
    """A process that makes calls, as it tells the Limiter with all that it asks.

    Attributes:
        name: Its own, which is its journal's too.
        node: Id of its node, where one such process makes calls at a time.
        started_s: When it started, by its node's clock that never goes back.
    """

    name: str
    node: str
    started_s: float


class _Limiter:
    """The actor: one pacer and one ledger for every process that makes calls.

    After a restart the ledger is what the journals say was spent, and the pacer learns anew; who
    makes calls, and how many it has in flight, each process tells with what it asks for. It ends
    with the driver, by which Callers know that theirs is gone.
    """

    def __init__(self, settings: EndpointSettings, journal: Path) -> None:
        self._pacer = LocalPacer.of(settings)
        self._ledger = LocalLedger(settings.budget, spent(journal))
        self._processes: dict[str, CallingProcess] = {}
        self._n_reserved: Counter[str] = Counter()

    async def enter(self, process: CallingProcess) -> bool:
        """Note which process makes calls on a node; one that started earlier there is gone.

        Returns:
            Whether it is the latest one there. Another one gets no turn and no money any more.
        """
        known = self._processes.get(process.node, process)
        if known.started_s > process.started_s:
            return False
        if known != process:
            await self.lost([process.node])
        self._processes[process.node] = process
        return True

    async def lost(self, nodes: Iterable[str]) -> None:
        """Note that nobody makes calls on these nodes any more.

        What was reserved there counts as spent, and what was in flight as ended.
        """
        for node in nodes:
            process = self._processes.pop(node, None)
            if process is not None:
                self._ledger.forfeit(process.name)
                self._pacer.drop(process.name)
                del self._n_reserved[process.name]

    async def process_id(self) -> int:
        """Return the id of the process that keeps the limits."""
        return os.getpid()

    async def is_there(self) -> bool:
        """Return True; whom this does not answer has no driver any more."""
        return True

    async def snapshots(self) -> tuple[PacerSnapshot, LedgerSnapshot]:
        """Return what is known of the limits and what was spent."""
        return self._pacer.snapshot(), self._ledger.snapshot()

    async def pace(
        self, estimates: Sequence[int], process: CallingProcess, n_held: int
    ) -> tuple[Sequence[float], PacerSnapshot]:
        """See `LocalPacer.reserve`; with what is known now."""
        delays: Sequence[float] = []
        if await self.enter(process):
            delays = await self._pacer.reserve(estimates, process.name, n_held)
        return delays, self._pacer.snapshot()

    async def paced(self, estimate: int, used: int, limits: RateHeaders | None, owner: str) -> None:
        """See `Pacer.settle`."""
        await self._pacer.settle(estimate, used, limits, owner)

    async def refused(
        self, retry_after_s: float | None, limits: RateHeaders | None, estimate: int, owner: str
    ) -> None:
        """See `Pacer.refused`."""
        await self._pacer.refused(retry_after_s, limits, estimate, owner)

    async def reserve(self, amount: Amount, process: CallingProcess) -> bool:
        """See `Ledger.reserve`."""
        if not await self.enter(process):
            return False
        is_reserved = await self._ledger.reserve(amount, process.name)
        self._n_reserved[process.name] += amount.n_calls * is_reserved
        return is_reserved

    async def settle(self, reserved: Amount, used: Amount, owner: str) -> None:
        """See `Ledger.settle`; a reservation from before a restart is not there to be given back.

        What it used may then be counted twice, since the journals told of the attempt already.
        """
        if self._n_reserved[owner] < reserved.n_calls:
            reserved = Amount()
        self._n_reserved[owner] -= reserved.n_calls
        await self._ledger.settle(reserved, used, owner)


# A repeated reservation only errs on the safe side, so its methods may be tried again.
Limiter: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=3)(_Limiter)


def start_limiter(plan: CallPlan) -> Any:
    """Start the Limiter of a run's start, on this process's node, and return its handle."""
    # Elsewhere it could be lost with a node while the driver, whom it serves, lives on.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"name": _name(plan), "namespace": NAMESPACE, "scheduling_strategy": here}
    return Limiter.options(**options).remote(plan.settings, plan.journal)


def find_limiter(plan: CallPlan) -> Any:
    """Return the handle of the Limiter of a run's start.

    Raises:
        TransientLLMError: If it has ended, with its driver.
    """
    # By name: a handle among an actor's arguments keeps it from being restarted once whoever
    # made it is gone.
    try:
        return ray.get_actor(_name(plan), NAMESPACE)
    except ValueError as error:
        raise TransientLLMError("the actor that paces this run's calls has ended") from error


def _name(plan: CallPlan) -> str:
    return f"limiter-{plan.run}-e{plan.epoch}"


class RemotePacer:
    """The actor's pacer (a `Pacer`), for one process."""

    def __init__(self, limiter: Any, settings: EndpointSettings, process: CallingProcess) -> None:
        self._limiter = limiter
        self._process = process
        self._n_held = 0
        self._last = LocalPacer.of(settings).snapshot()

    async def reserve(self, estimates: Sequence[int]) -> Sequence[float]:
        """See `Pacer`."""
        asked = self._limiter.pace.remote(list(estimates), self._process, self._n_held)
        delays, self._last = await asked
        self._n_held += len(delays)
        return list(delays)

    async def settle(self, estimate: int, used: int, limits: RateHeaders | None) -> None:
        """See `Pacer`."""
        self._n_held -= 1
        await self._limiter.paced.remote(estimate, used, limits, self._process.name)

    async def refused(
        self, retry_after_s: float | None, limits: RateHeaders | None, estimate: int
    ) -> None:
        """See `Pacer`."""
        self._n_held -= 1
        name = self._process.name
        await self._limiter.refused.remote(retry_after_s, limits, estimate, name)

    def snapshot(self) -> PacerSnapshot:
        """Return what was known at the last reservation."""
        return self._last


class RemoteLedger:
    """The actor's ledger (a `Ledger`), for one process, which is the owner of all it reserves."""

    def __init__(self, limiter: Any, process: CallingProcess) -> None:
        self._limiter = limiter
        self._process = process

    async def reserve(self, amount: Amount, owner: str = "") -> bool:
        """See `Ledger`."""
        del owner
        return bool(await self._limiter.reserve.remote(amount, self._process))

    async def settle(self, reserved: Amount, used: Amount, owner: str = "") -> None:
        """See `Ledger`."""
        del owner
        try:
            await self._limiter.settle.remote(reserved, used, self._process.name)
        except RayActorError as error:
            # The driver is gone; the reply must not be lost for that, and the journal has it all.
            _logger.warning("the ledger did not take a report: %s", error)
