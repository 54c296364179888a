"""What every pacer does, wherever it lives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rddg_ray.exchange import RateHeaders
from rddg_ray.llm.accounting import Accounting


@dataclass(frozen=True, slots=True)
class PacerSnapshot:
    """What a pacer knows at a moment.

    Attributes:
        requests_per_minute: Calls answered in the last 60 s.
        tokens_per_minute: Their tokens.
        limit_requests: The limit on requests a minute that is held to, or None if unknown.
        limit_tokens: The same of tokens.
        in_flight: Calls with a reservation that are neither settled nor refused.
        window: Calls that may be in flight, where no limit is known; else None.
        accounting: What the endpoint is taken to charge.
        n_refused: Calls refused so far.
        n_bursts: Bursts of refusals so far.
        next_turn_s: Seconds from the last reservation until the pace has another turn to give;
            None where all turns were given, or places in flight are what is missing.
    """

    requests_per_minute: int
    tokens_per_minute: int
    limit_requests: int | None
    limit_tokens: int | None
    in_flight: int
    window: int | None
    accounting: Accounting
    n_refused: int
    n_bursts: int
    next_turn_s: float | None = None


class Pacer(Protocol):
    """One for all processes that share an endpoint's limits; methods answer at once."""

    async def reserve(self, estimates: Sequence[int]) -> Sequence[float]:
        """Return after how many seconds each of the calls may be sent.

        Args:
            estimates: Tokens of each waiting call, in the order in which they shall go.

        Returns:
            A delay for each, from now on; fewer where the next turns are too far off to be given
            yet, or where more may not be in flight now. The rest asks again a moment later.
        """
        ...

    async def settle(self, estimate: int, used: int, limits: RateHeaders | None) -> None:
        """Report the end of a call that was not refused.

        Args:
            estimate: Tokens reserved for it.
            used: Tokens used; the estimate where that is unknown, 0 where nothing was sent, so
                that all of the reservation comes back.
            limits: What the response told, or None.
        """
        ...

    async def refused(
        self, retry_after_s: float | None, limits: RateHeaders | None, estimate: int
    ) -> None:
        """Report a refusal (429): its tokens come back, and everything waits once a burst."""
        ...

    def snapshot(self) -> PacerSnapshot:
        """Return what is known now; for a pacer elsewhere, what was known a moment ago."""
        ...
