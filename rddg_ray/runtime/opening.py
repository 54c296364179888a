"""The endpoint of a process that makes calls, with every wrapper around it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rddg_ray.config import EndpointSettings

if TYPE_CHECKING:
    from rddg_ray.exchange import Endpoint
    from rddg_ray.llm.budget import Ledger
    from rddg_ray.llm.journal import Journal
    from rddg_ray.llm.limiter import Pacer


@dataclass(frozen=True)
class CallPlan:
    """What a process needs to make a run's calls; small, and free of keys.

    Attributes:
        settings: The endpoint.
        journal: Folder of replies, below the run directory.
        fingerprint: Of the run's settings; part of every call's key.
        epoch: Of this start of the run.
    """

    settings: EndpointSettings
    journal: Path
    fingerprint: str
    epoch: int

    @property
    def run(self) -> str:
        """Return what tells this run from others on one cluster, as 16 hexadecimal digits."""
        parts = str(self.journal.absolute()), self.fingerprint
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def open_endpoint(
    plan: CallPlan,
    writer: str,
    ledger: Ledger,
    pacer: Pacer,
    stack: ExitStack,
    *,
    watch: Callable[[Endpoint], Endpoint] = lambda client: client,
    may_send: Callable[[], bool] = lambda: True,
) -> tuple[Endpoint, Journal]:
    """Return this process's endpoint with every wrapper around it, and its journal.

    Args:
        plan: Names the endpoint, the folder of replies and the epoch.
        writer: Name of this process's journal file, and of its owner at the ledger.
        ledger: The run's.
        pacer: The run's.
        stack: Stops an embedded server that is started here, and closes the journal.
        watch: Wraps the bare client.
        may_send: Asked before each attempt, besides the lease.

    Raises:
        ConfigError: If the address, the key or the recordings cannot be used here.
        StoreError: If the journal's file cannot be opened.
    """
    from rddg_ray.llm.journal import Journal, lease_fence
    from rddg_ray.llm.stack import stacked

    settings = plan.settings
    client = watch(open_client(settings, stack))
    is_ours = lease_fence(plan.journal.parent, plan.epoch)
    journal = Journal(
        plan.journal,
        writer,
        plan.fingerprint,
        possibly_paid_twice=settings.journal.possibly_paid_twice,
        fence=lambda: may_send() and is_ours(),
    )
    stack.callback(journal.close)
    return stacked(client, settings, journal, ledger, pacer=pacer, owner=writer), journal


async def check_client(settings: EndpointSettings) -> None:
    """Find out, without a call, whether the settings lead to an endpoint.

    Raises:
        ConfigError: If the address, the key or the recordings cannot be used here.
    """
    from rddg_ray.llm.connection import connect

    if settings.kind != "embedded" or settings.base_url is not None:
        await connect(settings).aclose()


def open_client(settings: EndpointSettings, stack: ExitStack) -> Endpoint:
    """Connect to the endpoint; an embedded one without an address is started first.

    Raises:
        ConfigError: If the address, the key or the recordings cannot be used here.
    """
    from rddg_ray.llm.connection import connect
    from rddg_ray.llm.embedded import serve_in_thread

    if settings.kind == "embedded" and settings.base_url is None:
        server = stack.enter_context(serve_in_thread(settings.embedded))
        settings = settings.model_copy(update={"base_url": server.base_url})
    return connect(settings)
