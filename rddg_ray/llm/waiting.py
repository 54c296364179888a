"""The calls of one process that wait for their turn."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, islice

from rddg_ray.errors import LLMError
from rddg_ray.llm.concurrency import Slots
from rddg_ray.llm.pacer import Pacer

_ASK_AGAIN_S = (0.04, 0.12)
# The pace may change before the next turn is due: tokens come back, limits are learned.
_LONGEST_PAUSE_S = 0.5
# Where turns are not paced, they come of calls that end, and of time that passes in silence.
_ASK_UNPACED_S = (0.01, 0.03)
_MAX_ASKED = 512
_LEAST_ASKED = 16
_TOO_LATE_S = 0.25


@dataclass(frozen=True, slots=True)
class _Wish:
    """A turn to be asked for."""

    estimate: Callable[[], int]
    is_urgent: bool


class WaitingCalls:
    """Asks a pacer for all waiting calls together and gives each turn to the first in order.

    A turn belongs to no call until its moment comes; then the call of the lowest rank takes it,
    the longest waiting among equals, and with it the turn's estimate: over all calls, what was
    reserved stays the same.

    Turns are asked for only as there are places in flight for them, so that none is wasted by
    waiting for a place. A place is taken by a turn to come and given back by `end`.

    Args:
        pacer: Who says when.
        max_concurrency: Turns to come and calls of this process in flight at most; None for no
            bound.
        why_down: Returns what to raise where calls wait for an endpoint that is down, or None.
    """

    def __init__(
        self,
        pacer: Pacer,
        max_concurrency: int | None = None,
        why_down: Callable[[], LLMError | None] = lambda: None,
    ) -> None:
        self._pacer = pacer
        self._why_down = why_down
        self._slots = Slots(max_concurrency)
        self._waiting: list[tuple[int, int, asyncio.Future[int], bool]] = []
        self._numbers = count()
        self._unasked: deque[_Wish] = deque()
        self._n_asked_next = _MAX_ASKED
        self._timers: set[asyncio.TimerHandle] = set()
        self._asking: asyncio.Task[None] | None = None
        self._returns: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._shift_s = 0.0

    async def turn(self, rank: int, estimate: Callable[[], int], *, is_urgent: bool = False) -> int:
        """Wait for a turn, which `end` must follow; return the tokens that are reserved for it.

        Args:
            rank: Lower goes first.
            estimate: Returns the tokens of the call; called when the pacer is asked, since more
                is known by then.
            is_urgent: Whether it goes before all others, and though the endpoint is down.

        Raises:
            LLMError: If the endpoint is found to be down; not where it is urgent.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        rank = -1 if is_urgent else rank
        heapq.heappush(self._waiting, (rank, next(self._numbers), future, is_urgent))
        self._want(_Wish(estimate, is_urgent))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._report(future.result(), 0)  # the turn came in the moment of cancellation
            raise

    def end(self) -> None:
        """Say that a call has ended, so that those without a reservation ask again."""
        self._slots.give_back()
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
        for _, _, future, _ in self._waiting:
            future.cancel()
        await asyncio.gather(*self._returns, return_exceptions=True)

    def _want(self, wish: _Wish) -> None:
        self._unasked.append(wish)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        await asyncio.sleep(0)  # whoever asks in the same moment asks along
        while self._unasked:
            self._ended.clear()
            try:
                next_turn_s = await self._ask_once()
            except Exception as error:  # noqa: BLE001 - handed to the calls that wait
                self._fail(error)
                return
            if self._unasked:
                await self._pause(next_turn_s)

    async def _ask_once(self) -> float | None:
        """Ask for as many turns as there are places.

        Returns:
            Seconds until the pace has another turn to give; None where it is not the pace that
            calls wait for.
        """
        if self._why_down() is not None:
            self._send_away()
        n_asked = self._slots.n_free(min(len(self._unasked), self._n_asked_next))
        wishes = list(islice(self._unasked, n_asked))
        if not wishes:
            return None
        estimates = [wish.estimate() for wish in wishes]
        delays = await self._pacer.reserve(estimates)
        # Where few turns are given, hundreds of estimates would be made in vain each time.
        is_cut = len(delays) < n_asked
        self._n_asked_next = min(
            _MAX_ASKED, 2 * len(delays) + _LEAST_ASKED if is_cut else _MAX_ASKED
        )
        for delay_s, estimate in zip(delays, estimates, strict=False):
            self._slots.take()
            self._schedule(delay_s, estimate, self._shift_s)
        given = set(map(id, wishes[: len(delays)]))  # some may have been sent away meanwhile
        while self._unasked and id(self._unasked[0]) in given:
            self._unasked.popleft()
        return self._pacer.snapshot().next_turn_s

    async def _pause(self, next_turn_s: float | None) -> None:
        """Wait before asking again.

        The end of a call makes room where too many were in flight. Where turns are paced it does
        not, and processes that asked at every end would be served the more the more they have.
        """
        # A varied time, so that no process comes right after another one for good.
        if next_turn_s is not None:
            due_s = min(max(0.0, next_turn_s), _LONGEST_PAUSE_S)
            await asyncio.sleep(due_s + random.uniform(*_ASK_AGAIN_S))
            return
        with contextlib.suppress(TimeoutError):  # calls of other processes end unheard
            async with asyncio.timeout(random.uniform(*_ASK_UNPACED_S)):
                await self._ended.wait()

    def _send_away(self) -> None:
        """Raise why no call flies where calls wait that are not urgent."""
        gone = [entry for entry in self._waiting if not entry[-1]]
        self._waiting = [entry for entry in self._waiting if entry[-1]]
        self._unasked = deque(wish for wish in self._unasked if wish.is_urgent)
        for _, _, future, _ in gone:
            if not future.done() and (error := self._why_down()) is not None:
                future.set_exception(error)

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
                self._want(_Wish(lambda: estimate, is_urgent=False))
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
            _, _, future, _ = heapq.heappop(self._waiting)
            if not future.done():
                return future
        return None

    def _report(self, estimate: int, used: int) -> None:
        """Give back a turn that no call takes."""

        async def settle() -> None:
            try:
                await self._pacer.settle(estimate, used, None)
            finally:
                self.end()

        task = asyncio.create_task(settle())
        self._returns.add(task)
        task.add_done_callback(self._returns.discard)
