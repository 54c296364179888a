"""What a pipeline needs done, whether in this process or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rddg_ray.runtime.chains import ChainOutcome, ChainWork

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


OnProgress = Callable[[Mapping[str, ChainProgress]], None]
"""Called now and then with the progress of every chain by `dataset/chain`."""


class Executor(Protocol):
    """A place where work is done."""

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, use_gpu: bool = False
    ) -> Iterator[Result]:
        """Yield the result of each item, in order."""
        ...

    def run_chains(
        self, work: ChainWork, on_progress: OnProgress
    ) -> tuple[list[ChainOutcome], list[Exception]]:
        """Run every chain; return what became of those that ended and why others did not."""
        ...

    def gather(self, work: ChainWork, rows: Path, rejects: Path) -> None:
        """Replay chains of one table and method into Parquet files below two empty folders."""
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
