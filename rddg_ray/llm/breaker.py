"""A circuit breaker: while the endpoint is down, calls wait and one at a time probes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from rddg_ray.errors import LLMError, TransientLLMError
from rddg_ray.exchange import CallId, Completion, Endpoint, Prompt

# Told by a server that is up and works for others: a limit, a conflict, an odd reply.
_SIGNS_OF_LIFE = frozenset({200, 409, 425, 429})


class OutageError(TransientLLMError):
    """The endpoint has been down for so long that this process waits no more.

    Another start of the run may succeed; another attempt of this one is not made.
    """


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """A breaker's state.

    Attributes:
        is_open: Whether calls wait.
        open_for_s: Seconds since the endpoint was found down; 0 while closed.
        n_waiting: Calls that wait.
        last_error: The last failure's words; empty without any.
    """

    is_open: bool
    open_for_s: float
    n_waiting: int
    last_error: str


class Breaker:
    """Opens when an endpoint is down, and closes when it answers again.

    It opens after `n_failures` failures in a row, when the last success is `quiet_s` or longer
    ago: among hundreds of calls in flight a row of failures alone means little. While open,
    calls wait; after `first_pause_s` one of them is let through as a probe, and the pause
    doubles, up to `max_pause_s`, after each probe that fails. Any answer closes it, a refusal
    too. After `give_up_after_s` all calls fail, for good, so that the run stops and can be
    resumed by another start.

    One breaker serves all calls of a process, on one event loop.

    Args:
        n_failures: Failures in a row, at least 1.
        quiet_s: Seconds without any success.
        first_pause_s: Seconds before the first probe.
        max_pause_s: Longest pause between probes.
        give_up_after_s: Seconds after which waiting ends.
        clock: Returns seconds that never go back.
    """

    def __init__(
        self,
        n_failures: int = 5,
        *,
        quiet_s: float = 2.0,
        first_pause_s: float = 1.0,
        max_pause_s: float = 60.0,
        give_up_after_s: float = 900.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if n_failures < 1:
            raise ValueError(f"n_failures must be at least 1, found {n_failures}")
        self._n_failures = n_failures
        self._quiet_s = quiet_s
        self._first_pause_s = first_pause_s
        self._max_pause_s = max_pause_s
        self._give_up_after_s = give_up_after_s
        self._clock = clock
        self._n_in_a_row = 0
        self._last_success_s = clock()
        self._opened_s: float | None = None
        self._pause_s = first_pause_s
        self._next_probe_s = 0.0
        self._probing = False
        self._n_waiting = 0
        self._last_error = ""
        self._last_status: int | None = None
        self._changed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Return whether calls wait."""
        return self._opened_s is not None

    def snapshot(self) -> BreakerSnapshot:
        """Return the state now."""
        open_for_s = 0.0 if self._opened_s is None else self._clock() - self._opened_s
        return BreakerSnapshot(self.is_open, open_for_s, self._n_waiting, self._last_error)

    async def admit(self) -> bool:
        """Wait until a call may go out; return whether it is a probe.

        A probe must be followed by one of `succeeded`, `failed` and `abandoned`.

        Raises:
            OutageError: If the endpoint has been down for too long.
        """
        self._n_waiting += 1
        try:
            while self._opened_s is not None:
                if self._probe_is_due(self._opened_s):
                    self._probing = True
                    return True
                await self._wait(self._opened_s)
            return False
        finally:
            self._n_waiting -= 1

    def succeeded(self) -> None:
        """Note that the endpoint answered."""
        self._n_in_a_row = 0
        self._last_success_s = self._clock()
        self._opened_s, self._probing, self._pause_s = None, False, self._first_pause_s
        self._wake()

    def failed(self, error: LLMError, *, probe: bool = False) -> None:
        """Note that it did not.

        Args:
            error: What happened.
            probe: Whether the call was a probe.
        """
        now_s = self._clock()
        self._n_in_a_row += 1
        self._last_error, self._last_status = str(error), error.status
        if probe:
            self._pause_s = min(2 * self._pause_s, self._max_pause_s)
            self._next_probe_s = now_s + self._pause_s
            self.abandoned()
        elif self._opened_s is None and self._is_down(now_s):
            self._opened_s = now_s
            self._next_probe_s = now_s + self._pause_s

    def abandoned(self) -> None:
        """Note that a probe ended without telling anything."""
        self._probing = False
        self._wake()

    def _is_down(self, now_s: float) -> bool:
        quiet = now_s - self._last_success_s >= self._quiet_s
        return quiet and self._n_in_a_row >= self._n_failures

    def _probe_is_due(self, opened_s: float) -> bool:
        now_s = self._clock()
        if now_s - opened_s >= self._give_up_after_s:
            raise OutageError(
                f"the endpoint has been failing for {now_s - opened_s:,.0f} s; the last error: "
                f"{self._last_error}",
                self._last_status,
                reached=False,
            )
        return not self._probing and now_s >= self._next_probe_s

    async def _wait(self, opened_s: float) -> None:
        until_s = opened_s + self._give_up_after_s
        if not self._probing:
            until_s = min(until_s, self._next_probe_s)
        changed = self._changed
        # Not `wait_for`, which loses a cancellation that comes together with the event.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until_s - self._clock())):
                await changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class BreakingEndpoint:
    """Holds calls back while the endpoint is down; see `Breaker`.

    What fails while the breaker is open is asked again once it lets the call through, however
    often: an outage costs a call no attempts of the wrapper that retries, which goes outside.

    Args:
        inner: Where the calls go.
        breaker: Shared by all of this process.
    """

    def __init__(self, inner: Endpoint, breaker: Breaker) -> None:
        self._inner = inner
        self._breaker = breaker

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the inner endpoint's reply.

        Raises:
            OutageError: If the endpoint has been down for too long.
        """
        while True:
            probe = await self._breaker.admit()
            try:
                reply = await self._inner.complete(prompt, call)
            except LLMError as error:
                if not _is_outage(error):
                    self._told(error, probe)
                    raise
                self._breaker.failed(error, probe=probe)
                if not self._breaker.is_open:
                    raise
            except BaseException:
                if probe:
                    self._breaker.abandoned()
                raise
            else:
                self._breaker.succeeded()
                return reply

    def _told(self, error: LLMError, probe: bool) -> None:
        if error.status != 200 and error.status is not None:
            self._breaker.succeeded()
        elif probe:
            self._breaker.abandoned()

    async def aclose(self) -> None:
        """Close the inner endpoint."""
        await self._inner.aclose()


def _is_outage(error: LLMError) -> bool:
    return isinstance(error, TransientLLMError) and error.status not in _SIGNS_OF_LIFE
