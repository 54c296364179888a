"""What a pipeline needs done, whether in this process or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rddg_ray.errors import RddgError
from rddg_ray.runtime.chains import ChainOutcome, ChainSpec, ChainWork
from rddg_ray.runtime.opening import CallPlan

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ChainProgress:
    """How far a chain is.

    Attributes:
        rounds: Rounds told.
        n_accepted: Accepted rows.
        n_rejects: Refused rows.
        n_calls: Calls answered, from the journal or anew.
    """

    rounds: int = 0
    n_accepted: int = 0
    n_rejects: int = 0
    n_calls: int = 0


@dataclass(frozen=True)
class Traffic:
    """What goes to the endpoint, over all processes, and what may go.

    Attributes:
        requests_per_minute: Calls answered in the last minute (or since the start).
        tokens_per_minute: Their tokens.
        request_limit: Calls a minute that are held to, from the settings or learned; None while
            unknown.
        token_limit: The same of tokens.
        n_in_flight: Calls sent and not yet answered, or about to be sent.
        n_calls: Calls spent over all starts of the run, those of unknown outcome included.
        n_tokens: Their tokens.
        cost_usd: Their cost, in US dollars; 0 without prices.
        max_calls: Cap on calls, or None.
        max_tokens: Cap on tokens, or None.
        max_cost_usd: Cap on cost, or None.
    """

    requests_per_minute: float = 0.0
    tokens_per_minute: float = 0.0
    request_limit: float | None = None
    token_limit: float | None = None
    n_in_flight: int = 0
    n_calls: int = 0
    n_tokens: int = 0
    cost_usd: float = 0.0
    max_calls: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None


OnProgress = Callable[[Mapping[str, ChainProgress], Traffic | None], None]
"""Called now and then with the progress of every chain by `dataset/chain`, and the traffic
where it is known."""


class LostChainError(RddgError):
    """What ran a chain was lost again and again; its replies on record are as good as any.

    Attributes:
        exit_code: Of a process that ends by it: running it again, where machines are, helps.
    """

    exit_code = 75


@dataclass(frozen=True)
class ChainFailure:
    """A chain that did not end by itself.

    Attributes:
        spec: Which chain.
        error: Why.
    """

    spec: ChainSpec
    error: Exception


class Executor(Protocol):
    """A place where work is done."""

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, use_gpu: bool = False
    ) -> Iterator[Result]:
        """Yield the result of each item, in order."""
        ...

    def check_endpoint(self, plan: CallPlan) -> None:
        """Find out, without a call, whether calls can be made wherever they will be made.

        Raises:
            ConfigError: If the address, the key or the recordings cannot be used there.
        """
        ...

    def run_chains(
        self, work: ChainWork, on_progress: OnProgress
    ) -> tuple[list[ChainOutcome], list[ChainFailure]]:
        """Run every chain; return what became of those that ended and why others did not.

        A failure that no chain can work around (see `runtime.failing.stops_run`) drains the rest.
        """
        ...

    def drain(self) -> None:
        """Ask every chain to stop before its next round, those to come too.

        Returns at once, from any thread; `run_chains` then ends soon, as always, with outcomes
        that say `stopped`. Calls in flight are awaited.
        """
        ...

    def gather(self, work: ChainWork, folders: Mapping[str, Path]) -> None:
        """Replay chains of one table and method into Parquet files below empty folders.

        Args:
            work: Which chains.
            folders: One for each of `replaying.kinds_of` the method.
        """
        ...

    def fit(
        self,
        function: Callable[[Any, Any], Sequence[Mapping[str, Any]]],
        groups: Sequence[Any],
        data: Mapping[str, Any],
    ) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Yield `function(group, data)` for each group, as they end; `data` is shared."""
        ...

    def close(self) -> None:
        """Give back what was started; calling twice is harmless."""
        ...
