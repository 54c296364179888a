"""Calls at the pace that an endpoint's limits allow, over all processes of a run."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

from rddg_ray.errors import BudgetError, TransientLLMError
from rddg_ray.exchange import CallId, Completion, Endpoint, Prompt
from rddg_ray.llm.breaker import OutageError
from rddg_ray.llm.estimates import TokenEstimator
from rddg_ray.llm.pacer import Pacer, PacerSnapshot
from rddg_ray.llm.pacing import LocalPacer
from rddg_ray.llm.rates import read_rates
from rddg_ray.llm.refusals import Bursts
from rddg_ray.llm.waiting import WaitingCalls

__all__ = ["LimitedEndpoint", "LocalPacer", "Pacer", "PacerSnapshot"]

_TOO_MANY_REQUESTS = 429
_LOOK_EVERY_S = 0.25
_logger = logging.getLogger(__name__)


class LimitedEndpoint:
    """Sends each call when the pacer says so; of the waiting ones, fewest rounds done first.

    A refusal (429) goes back to the pacer, and the call waits for another turn; nobody outside
    notices. So that no call waits for ever, it is raised once it was refused `max_refusals` times
    or the first refusal is `max_refused_s` ago.

    Calls that wait hold nothing: no place among `max_concurrency`, no turn, and, where the budget
    is asked inside, no money. Once the endpoint is found to be down they fail as if they had flown,
    so that they wait where the others do, for no turn; a call that comes then is let through.

    Args:
        inner: Where the calls go.
        pacer: Who says when; one for all processes that share the limits.
        tpm_accounting: As in `LimitSettings`: whether a reply's cap or its expected length is
            reserved. With `auto` it is what the pacer has found out.
        max_concurrency: Calls of this process in flight, or about to fly, at most; None for no
            bound.
        is_down: Says whether the endpoint is down, and only probes are to fly.
        max_refusals: Refusals of one call, at least 1.
        max_refused_s: Seconds from a call's first refusal.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(
        self,
        inner: Endpoint,
        pacer: Pacer,
        *,
        tpm_accounting: Literal["reserve", "actual", "auto"] = "auto",
        max_concurrency: int | None = None,
        is_down: Callable[[], bool] = lambda: False,
        max_refusals: int = 30,
        max_refused_s: float = 900.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_refusals < 1:
            raise ValueError(f"max_refusals must be at least 1, found {max_refusals}")
        self._inner = inner
        self._pacer = pacer
        self._estimator = TokenEstimator()
        self._tpm_accounting = tpm_accounting
        self._reserves = tpm_accounting != "actual"
        self._looked_s = -math.inf
        self._max_refusals = max_refusals
        self._max_refused_s = max_refused_s
        self._clock = clock
        self._is_down = is_down
        self._last_failure = "the endpoint is down"
        self._waiting = WaitingCalls(pacer, max_concurrency, self._why_down)
        self._bursts = Bursts()

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the inner endpoint's reply.

        Raises:
            TransientLLMError: As the inner endpoint; with status 429 only after too many.
        """
        n_refusals, first_s = 0, 0.0
        while True:
            rank = 0 if call is None else call.round
            estimate = await self._waiting.turn(
                rank, partial(self._estimate, prompt), is_urgent=self._is_down()
            )
            try:
                return await self._sent(prompt, call, estimate)
            except TransientLLMError as error:
                if error.status != _TOO_MANY_REQUESTS:
                    raise
                n_refusals += 1
                first_s = first_s if n_refusals > 1 else self._clock()
                if not self._may_wait(n_refusals, first_s):
                    raise self._given_up(error, n_refusals, first_s) from error

    async def aclose(self) -> None:
        """Close the inner endpoint; calls that still wait are cancelled."""
        await self._waiting.aclose()
        await self._inner.aclose()

    def _estimate(self, prompt: Prompt) -> int:
        if self._tpm_accounting == "auto" and self._clock() - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = self._clock()
            self._reserves = self._pacer.snapshot().accounting == "reserve"
        return self._estimator.estimate(prompt, self._reserves)

    async def _sent(self, prompt: Prompt, call: CallId | None, estimate: int) -> Completion:
        try:
            completion = await self._inner.complete(prompt, call)
        except TransientLLMError as error:
            if error.status == _TOO_MANY_REQUESTS:
                await self._refused(error, estimate)
            else:
                self._last_failure = str(error)
                await self._reported(self._pacer.settle(estimate, estimate, None))
            raise
        except BudgetError:  # it never flew
            await self._reported(self._pacer.settle(estimate, 0, None))
            raise
        except BaseException:  # cancellation too: what is in flight is counted
            await self._reported(self._pacer.settle(estimate, estimate, None))
            raise
        usage = completion.usage
        used = usage.prompt_tokens + usage.completion_tokens
        self._estimator.see(prompt, completion)
        await self._reported(self._pacer.settle(estimate, used or estimate, completion.rate))
        return completion

    def _why_down(self) -> TransientLLMError | None:
        if not self._is_down():
            return None
        return TransientLLMError(self._last_failure, reached=False)

    async def _refused(self, error: TransientLLMError, estimate: int) -> None:
        # Turns that this process already has would be refused as well.
        self._waiting.shift(self._bursts.refuse(self._clock(), error.retry_after_s))
        limits = read_rates(error.rate_headers)
        await self._reported(self._pacer.refused(error.retry_after_s, limits, estimate))

    async def _reported(self, report: Awaitable[None]) -> None:
        """Await a report; its failure must not cost a reply that is paid for."""
        try:
            await report
        except Exception as error:  # noqa: BLE001 - the next reservation raises what is wrong
            _logger.warning("the limiter did not take a report: %s", error)
        finally:
            self._waiting.end()

    def _may_wait(self, n_refusals: int, first_s: float) -> bool:
        in_time = self._clock() - first_s < self._max_refused_s
        return n_refusals < self._max_refusals and in_time

    def _given_up(
        self, error: TransientLLMError, n_refusals: int, first_s: float
    ) -> TransientLLMError:
        waited_s = self._clock() - first_s
        # Whoever tries again outside would wait as long once more, attempt by attempt.
        return OutageError(
            f"{error} (refused {n_refusals} times in {waited_s:.0f} s at the pace of its limits: "
            "check what else uses this key, or set endpoint.limits lower)",
            error.status,
            error.retry_after_s,
        )
