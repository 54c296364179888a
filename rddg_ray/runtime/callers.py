"""The actors that make a run's calls: one a node, and the only holders of a key."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Collection
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import ray
from ray.exceptions import ActorDiedError, RayActorError

from rddg_ray.config import EndpointSettings
from rddg_ray.errors import ConfigError, RddgError, TransientLLMError
from rddg_ray.exchange import CallId, Completion, Prompt
from rddg_ray.llm.keys import resolve_key, scrubbed
from rddg_ray.runtime.leaving import LeavableEndpoint
from rddg_ray.runtime.limits import CallingProcess, RemoteLedger, RemotePacer, find_limiter
from rddg_ray.runtime.opening import CallPlan, check_client, open_endpoint
from rddg_ray.runtime.watching import WatchedEndpoint

if TYPE_CHECKING:
    from rddg_ray.exchange import Endpoint
    from rddg_ray.llm.journal import Journal

_logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 2.0
_LOOKS = 2
_DOUBTFUL_LOOKS = 60
_LANDING_LOOK_S = 0.02
MARGIN_S = 5.0
"""Seconds that whoever waits for calls in flight adds to their own time-out."""


Chain = tuple[str, str]
"""A chain's data set and name."""


class CallerEndedError(TransientLLMError):
    """The Caller takes no more calls: its driver is gone or has ended the run's calls."""


class _Caller:
    """The actor: the whole stack around one client, for all chains of its node.

    Errors are returned, not raised. Ray would keep a raised one's text, with all it was caused
    by, where its state API and logs show it; and the constructor fails for nothing, because what
    it raised would reach others as this actor's death.

    It outlives its driver, so that replies on their way are recorded; it ends by itself once the
    driver is gone (with which the Limiter goes) and nothing is in flight.

    Args:
        plan: The run's calls.
        node: Id of this node, which is also its place at the Limiter.
    """

    def __init__(self, plan: CallPlan, node: str) -> None:
        self._plan = plan
        self._node = node
        # After a restart the former process may live for a moment: each has a file of its own.
        self._writer = f"caller-{node[:12]}-e{plan.epoch}-{uuid.uuid4().hex[:8]}"
        self._process = CallingProcess(self._writer, node, time.monotonic())
        self._stack = ExitStack()
        self._watched: WatchedEndpoint | None = None
        self._endpoint: LeavableEndpoint | None = None
        self._opening: asyncio.Task[tuple[LeavableEndpoint, Journal]] | None = None
        self._given_up: set[Chain] = set()
        self._is_ending = False
        # Not at the first call: a restart after the driver's death may never see one.
        self._watchman = asyncio.get_running_loop().create_task(self._end_when_alone())

    async def complete(self, prompt: Prompt, call: CallId | None) -> Completion | Exception:
        """Return a reply that is on record, or the error; see `Endpoint.complete`."""
        if self._is_ending:
            return _ended()
        try:
            endpoint, _ = await self._open()
            return await endpoint.complete(prompt, call)
        except RddgError as error:
            return error
        except RayActorError:
            return TransientLLMError("the actor that paces this run's calls is lost")
        except asyncio.CancelledError:
            if not self._is_ending:
                raise
            return _ended()
        except Exception as error:  # noqa: BLE001 - raised where the chain runs, without its chain
            return told_safely(error, self._plan.settings)

    async def check(self) -> Exception | None:
        """Find out, without a call, what is wrong with the key, the address or the recordings.

        Returns:
            The error, or None. The journal and the Limiter need not be there for it.
        """
        try:
            await check_client(self._plan.settings)
        except RddgError as error:
            return error
        except Exception as error:  # noqa: BLE001 - raised in the driver, without its chain
            return told_safely(error, self._plan.settings)
        return None

    async def leave(self, chains: Collection[Chain]) -> None:
        """Give up the calls of these chains that wait for their turn; those in flight land.

        Whoever asked a call that is given up gets a `CallLeftError`.
        """
        if self._endpoint is not None:
            self._endpoint.leave(chains)

    async def take(self, chain: Chain) -> None:
        """Serve a chain that may have been elsewhere: what others recorded of it is read anew."""
        self._given_up.discard(chain)
        if journal := await self._journal():
            journal.take(*chain)

    async def forget(self, chain: Chain) -> None:
        """Free the memory that a chain which ended took."""
        if journal := await self._journal():
            journal.forget(*chain)

    async def give_up(self, chain: Chain, timeout_s: float) -> bool:
        """Send nothing more of a chain that goes on elsewhere, and wait for what is in flight.

        Returns:
            Whether nothing of it is in flight any more.
        """
        self._given_up.add(chain)
        if journal := await self._journal():
            journal.give_up(*chain)
        return await self._landing([chain], timeout_s)

    async def drain(self, timeout_s: float) -> int:
        """Take no new call, let those in flight end and be recorded, and close.

        Args:
            timeout_s: Seconds to wait for replies at most.

        Returns:
            How many calls were in flight nevertheless.
        """
        self._is_ending = True
        await self._landing(None, timeout_s)
        n_left = 0 if self._watched is None else len(self._watched.calls)
        if self._opening is not None:
            with contextlib.suppress(Exception):  # what could not be opened needs no closing
                endpoint, _ = await self._opening
                await endpoint.aclose()
        self._stack.close()
        return n_left

    async def process_id(self) -> int:
        """Return the id of the process that makes the calls."""
        return os.getpid()

    async def _journal(self) -> Journal | None:
        if self._opening is None or self._is_ending:
            return None
        with contextlib.suppress(Exception):  # told to whoever makes a call
            return (await asyncio.shield(self._opening))[1]
        return None

    async def _open(self) -> tuple[LeavableEndpoint, Journal]:
        failed = self._opening is not None and self._opening.done() and self._opening.exception()
        if self._opening is None or failed:
            self._opening = asyncio.create_task(self._opened())
        return await asyncio.shield(self._opening)

    async def _opened(self) -> tuple[LeavableEndpoint, Journal]:
        limiter = find_limiter(self._plan)
        # First of all: what the process before this one reserved is not coming back.
        await limiter.enter.remote(self._process)
        try:
            endpoint, journal = open_endpoint(
                self._plan,
                self._writer,
                RemoteLedger(limiter, self._process),
                RemotePacer(limiter, self._plan.settings, self._process),
                self._stack,
                watch=self._watch,
                may_send=lambda: not self._is_ending,
            )
        except RddgError:
            self._stack.close()
            raise
        for chain in self._given_up:
            journal.give_up(*chain)
        self._endpoint = LeavableEndpoint(endpoint, cast(WatchedEndpoint, self._watched))
        return self._endpoint, journal

    def _watch(self, client: Endpoint) -> WatchedEndpoint:
        self._watched = WatchedEndpoint(client)
        return self._watched

    async def _landing(self, chains: Collection[Chain] | None, timeout_s: float) -> bool:
        """Wait until no call (of these chains) is in flight; return whether that is so."""
        until_s = time.monotonic() + timeout_s
        while self._watched is not None and self._watched.is_flying(chains):
            if time.monotonic() >= until_s:
                return False
            await asyncio.sleep(_LANDING_LOOK_S)
        return True

    async def _end_when_alone(self) -> None:
        await until_gone(self._ask_limiter, _LOOK_EVERY_S)
        try:
            await self.drain(self._plan.settings.timeout_s + MARGIN_S)
        finally:
            ray.kill(ray.get_runtime_context().current_actor, no_restart=True)

    async def _ask_limiter(self) -> None:
        # With it the former process is known to be gone, though no call may ever come here.
        await find_limiter(self._plan).enter.remote(self._process)


# Its methods are never tried again by Ray itself, which could not know what was paid for.
Caller: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0)(_Caller)


def _ended() -> CallerEndedError:
    return CallerEndedError("this process makes no more calls of the run", reached=False)


async def until_gone(ask: Callable[[], Awaitable[object]], every_s: float) -> None:
    """Return once the driver is gone.

    Nothing that goes wrong with looking ends the watch, for then a detached actor would stay for
    ever: what is not understood is tried again, and for two minutes on end means the same.

    Args:
        ask: Raises `ActorDiedError` or `TransientLLMError` where the Limiter has ended.
        every_s: Seconds between looks.
    """
    n_gone = n_doubtful = 0
    while n_gone < _LOOKS and n_doubtful < _DOUBTFUL_LOOKS:
        await asyncio.sleep(every_s)
        try:
            await ask()
        except (ActorDiedError, TransientLLMError):
            n_gone += 1
            continue
        except RayActorError:
            pass  # It restarts, or is out of reach for a moment.
        except Exception as error:  # noqa: BLE001 - see above
            n_doubtful += 1
            _logger.warning("the Limiter could not be asked: %s", type(error).__name__)
            continue
        n_gone = n_doubtful = 0


def told_safely(error: Exception, settings: EndpointSettings) -> RuntimeError:
    """Return what may be told of an error that nobody foresaw: where and what, but not the key.

    Args:
        error: Caught in the process that holds the key.
        settings: Lead to the key.
    """
    key = None
    with contextlib.suppress(ConfigError):  # there is none to be told
        key = resolve_key(settings)
    # Places in the code, but no chain of causes: those may hold a request, and so its key.
    places = "".join(traceback.format_tb(error.__traceback__))
    text = f"{type(error).__name__} in the Caller: {error}\n{places}"
    return RuntimeError(scrubbed(text, key))


def landing_s(plan: CallPlan) -> float:
    """Return the seconds after which no call that is in flight now still can be."""
    return plan.settings.timeout_s + MARGIN_S
