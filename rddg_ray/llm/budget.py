"""What a run may spend, reserved before each attempt and settled after it, in one place."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Protocol

from rddg_ray.config import BudgetSettings
from rddg_ray.errors import BudgetError, LLMError
from rddg_ray.exchange import CallId, Completion, Endpoint, Prompt, Usage
from rddg_ray.llm.bounds import UNCAPPED_COMPLETION_TOKENS, prompt_tokens_bound
from rddg_ray.llm.failures import may_be_paid
from rddg_ray.llm.spending import Amount, Prices, Spent

__all__ = [
    "Amount",
    "BudgetedEndpoint",
    "Ledger",
    "LedgerSnapshot",
    "LocalLedger",
    "Prices",
    "Spent",
]

_POLL_S = 0.25
_ENOUGH_REPLIES = 20
_LEAST_LEARNED_TOKENS = 256


class Ledger(Protocol):
    """The one place of a run where spending is reserved and settled."""

    async def reserve(self, amount: Amount, owner: str = "") -> bool:
        """Reserve an upper bound of what an attempt may cost.

        Args:
            amount: The upper bound.
            owner: The process that asks; see `forfeit`.

        Returns:
            Whether it is reserved. False where it would fit only once other reservations are
            settled for less: ask again then.

        Raises:
            BudgetError: If it would pass a cap whatever becomes of other reservations, and for
                every caller from then on.
        """
        ...

    async def settle(self, reserved: Amount, used: Amount, owner: str = "") -> None:
        """Give a reservation back and count what was used of it."""
        ...


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """A ledger's state: what was spent, what is reserved, and what may be spent."""

    spent: Amount
    reserved: Amount
    caps: BudgetSettings


class LocalLedger:
    """A ledger in this process.

    A cap is never passed as long as no attempt uses more than was reserved for it; the sum of
    what was spent and what is reserved stays at or below every cap.

    Args:
        settings: Caps and prices.
        spent: What earlier starts of the run spent; see `rddg_ray.llm.journal.spent`.
    """

    def __init__(self, settings: BudgetSettings, spent: Spent | None = None) -> None:
        self._caps = settings
        self._spent = (spent or Spent()).amount(Prices.from_settings(settings))
        self._reserved: defaultdict[str, Amount] = defaultdict(Amount)
        self._total_reserved = Amount()
        self._stopped: str | None = None

    async def reserve(self, amount: Amount, owner: str = "") -> bool:
        """Reserve; see `Ledger`."""
        if self._stopped is None:
            self._stopped = self._passed(amount)
        if self._stopped is not None:
            raise BudgetError(self._stopped)
        if self._exceeds(self._spent + self._total_reserved + amount) is not None:
            return False
        self._hold(amount, owner)
        return True

    async def settle(self, reserved: Amount, used: Amount, owner: str = "") -> None:
        """Settle; see `Ledger`."""
        self._hold(Amount() - reserved, owner)
        self._spent += used

    def forfeit(self, owner: str) -> Amount:
        """Count all that a process reserved as spent: it is gone, and may have paid.

        Returns:
            What it had reserved.
        """
        lost = self._reserved[owner]
        self._hold(Amount() - lost, owner)
        self._spent += lost
        return lost

    def snapshot(self) -> LedgerSnapshot:
        """Return the state now."""
        return LedgerSnapshot(self._spent, self._total_reserved, self._caps)

    def _hold(self, amount: Amount, owner: str) -> None:
        self._reserved[owner] += amount
        self._total_reserved += amount
        if not self._reserved[owner].n_calls:
            del self._reserved[owner]
        if not self._total_reserved.n_calls:
            self._total_reserved = Amount()  # drops what rounding left of the money

    def _exceeds(self, total: Amount) -> str | None:
        """Return the name of the first cap that a total passes, or None."""
        for name, value in (
            ("max_cost_usd", total.cost_usd),
            ("max_tokens", total.tokens),
            ("max_calls", total.n_calls),
        ):
            cap = getattr(self._caps, name)
            if cap is not None and value > cap:
                return name
        return None

    def _passed(self, amount: Amount) -> str | None:
        """Return why an amount can never be reserved, or None."""
        name = self._exceeds(self._spent + amount)
        if name is None:
            return None
        field, unit = _SHOWN[name]
        spent, more = (_shown(getattr(part, field)) for part in (self._spent, amount))
        return (
            f"endpoint.budget.{name}: {_shown(getattr(self._caps, name))} {unit} do not suffice: "
            f"{spent} are spent or may have been, and the next call may take up to {more}. What "
            "was paid for is kept; raise the cap and run again to go on"
        )


_SHOWN = {
    "max_cost_usd": ("cost_usd", "US$"),
    "max_tokens": ("tokens", "tokens"),
    "max_calls": ("n_calls", "calls"),
}


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


class BudgetedEndpoint:
    """Lets an attempt pass once an upper bound of its cost is reserved.

    It belongs inside the wrapper that retries: an attempt that timed out may have been paid
    for, and so counts in full, on top of the attempt that follows it. A refused attempt costs
    nothing.

    The bound takes the prompt's bytes as its tokens and the reply's cap as its length. A reply
    without a cap (`generation.max_completion_tokens`) is taken to be at most twice the longest
    seen, and at least 4,096 tokens long until 20 were seen; an endpoint that surprises with a
    longer one can pass a limit by that much, once for each call in flight.

    Args:
        inner: Where the calls go.
        ledger: Where they are reserved.
        prices: What they cost; without them only calls and tokens count.
        owner: Name of this process at the ledger.
    """

    def __init__(
        self, inner: Endpoint, ledger: Ledger, prices: Prices | None = None, owner: str = ""
    ) -> None:
        self._inner = inner
        self._ledger = ledger
        self._prices = prices
        self._owner = owner
        self._turn = asyncio.Lock()
        self._settled = asyncio.Event()
        self._n_replies = 0
        self._longest = 0

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the inner endpoint's reply.

        Raises:
            BudgetError: If the call may pass a cap.
        """
        bound = self._bound(prompt)
        await self._reserve(bound)
        used = Amount()
        try:
            reply = await self._inner.complete(prompt, call)
            used = self._used(reply, bound)
        except LLMError as error:
            used = bound if may_be_paid(error) else used
            raise
        except asyncio.CancelledError:
            used = bound
            raise
        finally:
            await self._ledger.settle(bound, used, self._owner)
            self._settled.set()
        return reply

    async def aclose(self) -> None:
        """Close the inner endpoint."""
        await self._inner.aclose()

    async def _reserve(self, bound: Amount) -> None:
        # Those who must wait do so in turn, so that one alone asks again and again.
        if not self._turn.locked() and await self._ledger.reserve(bound, self._owner):
            return
        async with self._turn:
            while not await self._ledger.reserve(bound, self._owner):
                self._settled.clear()
                # Another process may settle too, which this one does not hear of.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_S):
                        await self._settled.wait()

    def _bound(self, prompt: Prompt) -> Amount:
        completion = prompt.max_completion_tokens or self._learned()
        usage = Usage(1, prompt_tokens_bound(prompt), completion)
        cost_usd = 0.0 if self._prices is None else self._prices.most_usd(usage)
        return Amount(1, usage.prompt_tokens + completion, cost_usd)

    def _learned(self) -> int:
        few = self._n_replies < _ENOUGH_REPLIES
        least = UNCAPPED_COMPLETION_TOKENS if few else _LEAST_LEARNED_TOKENS
        return max(least, 2 * self._longest)

    def _used(self, reply: Completion, bound: Amount) -> Amount:
        usage = reply.usage
        tokens = usage.prompt_tokens + usage.completion_tokens
        if not tokens:
            return bound  # the endpoint does not tell, so the worst is assumed
        self._n_replies += 1
        self._longest = max(self._longest, usage.completion_tokens)
        cost_usd = 0.0 if self._prices is None else self._prices.cost_usd(usage)
        return Amount(1, tokens, cost_usd)
