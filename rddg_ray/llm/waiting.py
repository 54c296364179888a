"""The calls of one process that wait for their turn."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections import deque
from collections.abc import Callable
from itertools import count, islice

from rddg_ray.llm.pacer import Pacer

_GATHER_S = 0.003
_ASK_AGAIN_S = (0.04, 0.12)
_MAX_ASKED = 512
_TOO_LATE_S = 0.25


class WaitingCalls:
    """Asks a pacer for all waiting calls together and gives each turn to the first in order.

    A turn belongs to no call until its moment comes; then the call of the lowest rank takes it,
    the longest waiting among equals, and with it the turn's estimate: over all calls, what was
    reserved stays the same.

    Args:
        pacer: Who says when.
    """

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._waiting: list[tuple[int, int, asyncio.Future[int]]] = []
        self._numbers = count()
        self._unasked: deque[Callable[[], int]] = deque()
        self._timers: set[asyncio.TimerHandle] = set()
        self._asking: asyncio.Task[None] | None = None
        self._returns: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._shift_s = 0.0

    async def turn(self, rank: int, estimate: Callable[[], int]) -> int:
        """Wait for a turn; return the tokens that are reserved for it.

        Args:
            rank: Lower goes first.
            estimate: Returns the tokens of the call; called when the pacer is asked, since more
                is known by then.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._numbers), future))
        self._want(estimate)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._report(future.result(), 0)  # the turn came in the moment of cancellation
            raise

    def end(self) -> None:
        """Say that a call has ended, so that those without a reservation ask again."""
        self._ended.set()

    def shift(self, seconds: float) -> None:
        """Move all turns that are still to come."""
        self._shift_s += seconds

    async def aclose(self) -> None:
        """Give no more turns; calls that still wait are cancelled."""
        if self._asking is not None:
            self._asking.cancel()
        for timer in self._timers:
            timer.cancel()
        for _, _, future in self._waiting:
            future.cancel()
        await asyncio.gather(*self._returns, return_exceptions=True)

    def _want(self, estimate: Callable[[], int]) -> None:
        self._unasked.append(estimate)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        await asyncio.sleep(_GATHER_S)  # whoever asks in the same moment asks along
        while self._unasked:
            self._ended.clear()
            try:
                estimates = [estimate() for estimate in islice(self._unasked, _MAX_ASKED)]
                delays = await self._pacer.reserve(estimates)
            except Exception as error:  # noqa: BLE001 - handed to the calls that wait
                self._fail(error)
                return
            for delay_s, estimate in zip(delays, estimates, strict=False):
                self._unasked.popleft()
                self._schedule(delay_s, estimate, self._shift_s)
            if len(delays) < len(estimates):
                await self._pause(is_paced=any(delays))

    async def _pause(self, is_paced: bool) -> None:
        """Wait before asking again.

        The end of a call makes room where too many were in flight. Where turns are paced it does
        not, and processes that asked at every end would be served the more the more they have.
        """
        # A varied time, so that no process comes right after another one for good.
        moment_s = random.uniform(*_ASK_AGAIN_S)
        if is_paced:
            await asyncio.sleep(moment_s)
            return
        with contextlib.suppress(TimeoutError):  # calls of other processes end unheard
            async with asyncio.timeout(moment_s):
                await self._ended.wait()

    def _fail(self, error: Exception) -> None:
        """Raise the pacer's failure where calls wait that have no turn to come."""
        for _ in range(len(self._unasked)):
            self._unasked.popleft()
            future = self._next()
            if future is not None:
                future.set_exception(error)

    def _schedule(self, delay_s: float, estimate: int, shift_s: float) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            if self._shift_s > shift_s:
                self._schedule(self._shift_s - shift_s, estimate, self._shift_s)
            elif loop.time() - timer.when() > _TOO_LATE_S:
                # The process stood still. All the turns it missed, taken at once, would be a
                # burst; and what a past moment allowed is not there any more to be given back.
                self._report(estimate, estimate)
                self._want(lambda: estimate)
            else:
                self._take_turn(estimate)

        loop = asyncio.get_running_loop()
        timer = loop.call_later(delay_s, fire)
        self._timers.add(timer)

    def _take_turn(self, estimate: int) -> None:
        future = self._next()
        if future is None:
            self._report(estimate, 0)
        else:
            future.set_result(estimate)

    def _next(self) -> asyncio.Future[int] | None:
        while self._waiting:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                return future
        return None

    def _report(self, estimate: int, used: int) -> None:
        async def settle() -> None:
            await self._pacer.settle(estimate, used, None)

        task = asyncio.create_task(settle())
        self._returns.add(task)
        task.add_done_callback(self._returns.discard)
