"""Pacing and budget of a whole cluster, in one actor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from rddg_ray.config import EndpointSettings
from rddg_ray.exchange import RateHeaders
from rddg_ray.llm.budget import LocalLedger
from rddg_ray.llm.journal import spent
from rddg_ray.llm.limiter import LocalPacer, PacerSnapshot
from rddg_ray.llm.spending import Amount


class _Limiter:
    """The actor: one pacer and one ledger for every process that makes calls.

    After a restart the ledger is what the journals say was spent, and the pacer learns anew.
    """

    def __init__(self, settings: EndpointSettings, journal: Path) -> None:
        self._pacer = LocalPacer(settings.limits)
        self._ledger = LocalLedger(settings.budget, spent(journal))
        self._owners: dict[str, str] = {}

    async def enter(self, place: str, owner: str) -> None:
        """Note which process makes calls in a place; the one before it there is gone."""
        before = self._owners.get(place)
        if before is not None and before != owner:
            self._ledger.forfeit(before)
        self._owners[place] = owner

    async def pace(self, estimates: Sequence[int]) -> tuple[Sequence[float], PacerSnapshot]:
        """See `Pacer.reserve`; with what is known now."""
        return await self._pacer.reserve(estimates), self._pacer.snapshot()

    async def paced(self, estimate: int, used: int, limits: RateHeaders | None) -> None:
        """See `Pacer.settle`."""
        await self._pacer.settle(estimate, used, limits)

    async def refused(
        self, retry_after_s: float | None, limits: RateHeaders | None, estimate: int
    ) -> None:
        """See `Pacer.refused`."""
        await self._pacer.refused(retry_after_s, limits, estimate)

    async def reserve(self, amount: Amount, owner: str) -> bool:
        """See `Ledger.reserve`."""
        return await self._ledger.reserve(amount, owner)

    async def settle(self, reserved: Amount, used: Amount, owner: str) -> None:
        """See `Ledger.settle`."""
        await self._ledger.settle(reserved, used, owner)


# A repeated reservation only errs on the safe side, so its methods may be tried again.
Limiter: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=3)(_Limiter)


class RemotePacer:
    """The actor's pacer (a `Pacer`)."""

    def __init__(self, limiter: Any, settings: EndpointSettings) -> None:
        self._limiter = limiter
        self._last = LocalPacer(settings.limits).snapshot()

    async def reserve(self, estimates: Sequence[int]) -> Sequence[float]:
        """See `Pacer`."""
        delays, self._last = await self._limiter.pace.remote(list(estimates))
        return list(delays)

    async def settle(self, estimate: int, used: int, limits: RateHeaders | None) -> None:
        """See `Pacer`."""
        await self._limiter.paced.remote(estimate, used, limits)

    async def refused(
        self, retry_after_s: float | None, limits: RateHeaders | None, estimate: int
    ) -> None:
        """See `Pacer`."""
        await self._limiter.refused.remote(retry_after_s, limits, estimate)

    def snapshot(self) -> PacerSnapshot:
        """Return what was known at the last reservation."""
        return self._last


class RemoteLedger:
    """The actor's ledger (a `Ledger`)."""

    def __init__(self, limiter: Any) -> None:
        self._limiter = limiter

    async def reserve(self, amount: Amount, owner: str = "") -> bool:
        """See `Ledger`."""
        return bool(await self._limiter.reserve.remote(amount, owner))

    async def settle(self, reserved: Amount, used: Amount, owner: str = "") -> None:
        """See `Ledger`."""
        await self._limiter.settle.remote(reserved, used, owner)
