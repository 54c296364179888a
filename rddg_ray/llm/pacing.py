"""The pacer: all that is known about an endpoint's limits, in one place."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from rddg_ray.config import EndpointSettings, LimitSettings
from rddg_ray.exchange import RateHeaders
from rddg_ray.llm.accounting import Accounting, AccountingLearner
from rddg_ray.llm.addresses import is_self_hosted
from rddg_ray.llm.concurrency import Flights
from rddg_ray.llm.gcra import Schedule
from rddg_ray.llm.pacer import PacerSnapshot
from rddg_ray.llm.rates import per_minute
from rddg_ray.llm.refusals import FIRST_WINDOW, LARGEST_WINDOW, Bursts, Window

_MINUTE_S = 60.0
# An end that nobody reports, of a process that nobody misses; so long no call takes.
_LOST_S = 900.0


class LocalPacer:
    """The pacer itself, for this process or for a server or actor that others ask.

    With a limit known, from the settings or from headers (the smaller one counts), calls are
    paced; with none, as many are in flight as additive increase and multiplicative decrease
    allow. Its methods never wait, so it needs no lock in one event loop. Where several processes
    share it, each says who it is, so that `drop` can forget one that is gone.

    Turns are given a fraction of a second ahead only. What is learned meanwhile (limits, lengths
    of replies, a refusal) then tells on the turns to come, a process that dies loses little, and
    what comes back is never more than a moment's worth: were it given out again for the time of
    calls long sent, the endpoint would see a burst.

    Args:
        settings: Limits, pace and tolerance.
        horizon_s: Seconds ahead within which turns are given, above 0.
        first_window: Calls in flight at first where no limit is known.
        max_concurrency: Calls in flight, or about to fly, at most, over all processes; None for
            no bound.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(
        self,
        settings: LimitSettings | None = None,
        *,
        horizon_s: float = 0.3,
        first_window: int = FIRST_WINDOW,
        max_concurrency: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if horizon_s <= 0:
            raise ValueError(f"horizon_s must be above 0, found {horizon_s}")
        self._horizon_s = horizon_s
        self._settings = settings or LimitSettings()
        self._clock = clock
        self._schedule = Schedule(self._settings.tolerance_s)
        self._bursts = Bursts()
        self._window = Window(first_window)
        self._learner = AccountingLearner()
        self._ends: deque[tuple[float, int]] = deque()
        self._tokens_in_minute = 0
        self._flights = Flights(max_concurrency)
        self._next_turn_s: float | None = None
        self._n_refused = 0
        self._limits: dict[str, int | None] = {
            "requests": self._settings.requests_per_minute,
            "tokens": self._settings.tokens_per_minute,
        }
        self._set_rates(clock())

    @classmethod
    def of(cls, settings: EndpointSettings) -> LocalPacer:
        """Return the pacer of an endpoint.

        A server of one's own queues what it cannot serve yet, and nobody else is kept waiting by
        it, so calls need not feel their way there: `max_concurrency` alone bounds them from the
        start. Should it refuse calls all the same, that holds as everywhere.
        """
        first_window = LARGEST_WINDOW if is_self_hosted(settings) else FIRST_WINDOW
        return cls(
            settings.limits, first_window=first_window, max_concurrency=settings.max_concurrency
        )

    async def reserve(
        self, estimates: Sequence[int], owner: str = "", n_held: int | None = None
    ) -> list[float]:
        """Return the delay of each call; see `Pacer.reserve`.

        Args:
            estimates: Tokens of each waiting call.
            owner: The process that asks; see `drop`.
            n_held: Turns it has and has reported no end of, by its own count; None to go by
                what was reported.
        """
        now_s = self._clock()
        self._forget(now_s)
        if n_held is not None:
            self._flights.correct(now_s, n_held, owner)
        estimates = estimates[: self._flights.n_free(now_s, len(estimates), owner)]
        if not self._is_limited:
            n_free = self._window.n_free(now_s, len(self._flights), len(estimates))
            estimates = estimates[:n_free]
        delays = self._schedule.reserve(now_s, estimates, self._horizon_s)
        self._flights.start(now_s, len(delays), owner)
        self._next_turn_s = self._until_next(now_s) if len(delays) < len(estimates) else None
        if self._settings.tpm_accounting == "auto" and not self._learner.is_done:
            for delay_s, estimate in zip(delays, estimates, strict=False):
                self._learner.send(now_s + delay_s, estimate)
        return delays

    async def settle(
        self, estimate: int, used: int, limits: RateHeaders | None, owner: str = ""
    ) -> None:
        """Count a call's end; see `Pacer.settle`."""
        now_s = self._clock()
        self._flights.end(owner)
        if used == 0:
            self._schedule.give_back(estimate)
            return
        self._window.succeed()
        if limits is not None:
            self._learner.observe(now_s, used, limits.limit_tokens, limits.remaining_tokens)
            self._learn(now_s, limits, used)
        # A reply that took more than was reserved counts in full, whatever the accounting.
        if self._accounting == "actual" or used > estimate:
            self._schedule.tokens.give_back(estimate - used)
        self._count(now_s, used)

    async def refused(
        self,
        retry_after_s: float | None,
        limits: RateHeaders | None,
        estimate: int,
        owner: str = "",
    ) -> None:
        """Shift all that comes, once a burst; see `Pacer.refused`."""
        now_s = self._clock()
        self._flights.end(owner)
        self._n_refused += 1
        # Its request stays counted: some servers count those they refuse.
        self._schedule.tokens.give_back(estimate)
        if limits is not None:
            self._learn(now_s, limits, estimate)
        n_before = self._bursts.n_bursts
        pause_s = self._bursts.refuse(now_s, retry_after_s)
        if pause_s > 0:
            self._schedule.shift(now_s, pause_s)
        if self._bursts.n_bursts > n_before:
            self._window.back_off(len(self._flights) + 1)
            self._learner.refuse()

    def drop(self, owner: str) -> None:
        """Forget the calls of a process that is gone: nobody will report their ends.

        What they took of the limits stays taken, since they may have been sent.
        """
        self._flights.drop(owner)

    def snapshot(self) -> PacerSnapshot:
        """Return what is known now."""
        self._forget(self._clock())
        return PacerSnapshot(
            len(self._ends),
            self._tokens_in_minute,
            self._limits["requests"],
            self._limits["tokens"],
            len(self._flights),
            None if self._is_limited else self._window.size,
            self._accounting,
            self._n_refused,
            self._bursts.n_bursts,
            self._next_turn_s,
        )

    @property
    def _is_limited(self) -> bool:
        return any(limit is not None for limit in self._limits.values())

    @property
    def _accounting(self) -> Accounting:
        told = self._settings.tpm_accounting
        return self._learner.accounting if told == "auto" else told

    def _learn(self, now_s: float, told: RateHeaders, tokens: int) -> None:
        found = {
            "requests": _smaller(
                self._settings.requests_per_minute,
                per_minute(told.limit_requests, told.reset_requests_s),
            ),
            "tokens": _smaller(
                self._settings.tokens_per_minute,
                per_minute(told.limit_tokens, told.reset_tokens_s),
            ),
        }
        # A response without a header says nothing about the limit that was learned before.
        limits = {kind: found[kind] or known for kind, known in self._limits.items()}
        if limits != self._limits:
            self._limits = limits
            n_sent = len(self._flights) + 1
            self._set_rates(now_s, (n_sent, n_sent * tokens))
        self._heed_remaining(now_s, told)

    def _set_rates(self, now_s: float, sent: tuple[float, float] = (0.0, 0.0)) -> None:
        """Pace by the limits; where one is news, count what was sent without it."""
        lanes = {"requests": self._schedule.requests, "tokens": self._schedule.tokens}
        for (kind, lane), amount in zip(lanes.items(), sent, strict=True):
            limit = self._limits[kind]
            rate = None if limit is None else limit * self._settings.pace / _MINUTE_S
            is_news = lane.rate is None and rate is not None
            lane.set_rate(now_s, rate)
            if is_news and amount > 0:
                # They were a burst already. Requests count since they were sent; tokens of
                # replies may count only as these come.
                oldest_s = self._flights.oldest_s() if kind == "requests" else None
                since_s = now_s if oldest_s is None else oldest_s
                lane.take(since_s + lane.tolerance_s, amount)

    def _heed_remaining(self, now_s: float, told: RateHeaders) -> None:
        """Allow no burst where less is left than a burst takes: others use the limits too."""
        lefts = (told.remaining_requests, told.remaining_tokens)
        lanes = (self._schedule.requests, self._schedule.tokens)
        for left, lane in zip(lefts, lanes, strict=True):
            if left is not None and lane.rate is not None and left < lane.rate * lane.tolerance_s:
                lane.withhold_burst(now_s)

    def _count(self, now_s: float, used: int) -> None:
        self._ends.append((now_s, used))
        self._tokens_in_minute += used
        self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        while self._ends and self._ends[0][0] <= now_s - _MINUTE_S:
            self._tokens_in_minute -= self._ends.popleft()[1]
        self._flights.forget(now_s - _LOST_S)

    def _until_next(self, now_s: float) -> float:
        lanes = (self._schedule.requests, self._schedule.tokens)
        return max(lane.earliest_s() for lane in lanes) - self._horizon_s - now_s


def _smaller(a: int | None, b: int | None) -> int | None:
    known = [value for value in (a, b) if value is not None]
    return min(known) if known else None
