"""How a run tells where it is: a panel on a terminal, one JSON line now and then elsewhere."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

from rddg_ray.runtime.chains import ChainSpec
from rddg_ray.runtime.executor import ChainProgress, Traffic
from rddg_ray.runtime.pace import Pace

_EVERY_S = 30.0

Figure = int | float | str


class Progress(Protocol):
    """Told of every step; shows what it sees fit."""

    def update(self, step: str, done: int, total: int, **figures: Figure) -> None:
        """Say that `done` of `total` units of a step are done, with figures beside.

        The steps of a run are `coresets` (tables), `rows`, `gather` (tables x methods),
        `classifiers` (fits) and `report`. For the figures of `rows` see `RowFigures`.
        """
        ...

    def note(self, text: str) -> None:
        """Say something once, from any thread."""
        ...


class SilentProgress:
    """Shows nothing."""

    def update(self, step: str, done: int, total: int, **figures: Figure) -> None:
        """Take note of nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


class FlightCounter:
    """Passes on what it is told, and knows how many calls are in flight.

    Args:
        inner: Whom to tell.
    """

    def __init__(self, inner: Progress) -> None:
        self._inner = inner
        self.n_in_flight: int | None = None

    def update(self, step: str, done: int, total: int, **figures: Figure) -> None:
        """Pass it on."""
        in_flight = figures.get("in_flight")
        self.n_in_flight = None if in_flight is None else int(in_flight)
        self._inner.update(step, done, total, **figures)

    def note(self, text: str) -> None:
        """Pass it on."""
        self._inner.note(text)

    def say_stopping(self) -> None:
        """Say that the run ends soon, and what it waits for."""
        flying = self.n_in_flight
        what = "after the step under way" if flying is None else f"{flying} calls in flight"
        self.note(f"stopping: {what}; press Ctrl-C again to stop now")


class JsonProgress:
    """Writes one JSON line a step's end and at most one every 30 s in between.

    Each has the keys `time_unix_s`, `step`, `done`, `total`, and the step's figures.

    Args:
        stream: Where to; stderr by default.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._last_s = float("-inf")
        self._ended: set[str] = set()

    def update(self, step: str, done: int, total: int, **figures: Figure) -> None:
        """Write the step's state if it ended or was not heard of for 30 s."""
        has_ended = done >= total
        if has_ended and step in self._ended:
            return
        now_s = self._clock()
        if not has_ended and now_s - self._last_s < _EVERY_S:
            return
        self._last_s = now_s
        if has_ended:
            self._ended.add(step)
        line = {"time_unix_s": round(time.time(), 1), "step": step, "done": done, "total": total}
        self._write(json.dumps({**line, **figures}))

    def note(self, text: str) -> None:
        """Write a line of text."""
        self._write(f"rddg: {text}")

    def _write(self, line: str) -> None:
        # A run must not end because nobody reads any more how it gets on.
        with contextlib.suppress(OSError):
            print(line, file=self._stream, flush=True)


@dataclass
class RowFigures:
    """Tells a progress of the step `rows`, with what it costs and how long it will take.

    The figures, of which those that nobody knows are left out:

    - `rounds`, `refused`, `calls`: rounds told, rows refused, calls answered (from the journal
      or anew), over the chains of this start;
    - `requests_per_minute`, `tokens_per_minute`: over the last minute; `request_limit` and
      `token_limit`: what is held to;
    - `in_flight`: calls;
    - `spent_calls`, `spent_tokens`, `cost_usd`: over all starts of the run, and `max_calls`,
      `max_tokens`, `max_cost_usd`, the caps;
    - `projected_usd`: what the run will have cost at its end, at the recent cost of a row;
    - `time_left_s`: seconds until the rows still wanted are there, at the recent pace.

    Args:
        specs: The chains.
        progress: Whom to tell.
        has_prices: Whether tokens have a price; money is left out without.
        clock: Seconds on a clock that never goes back.
    """

    specs: Sequence[ChainSpec]
    progress: Progress
    has_prices: bool
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._total = sum(spec.n_target for spec in self.specs)
        self._pace = Pace()
        # A host of chains that does not answer for a moment takes nothing back.
        self._known: dict[str, ChainProgress] = {}

    def __call__(self, chains: Mapping[str, ChainProgress], traffic: Traffic | None) -> None:
        """Tell of this progress and traffic; an `OnProgress`."""
        self._known.update(chains)
        known = self._known.values()
        n_done = sum(chain.n_accepted for chain in known)
        figures: dict[str, Figure | None] = {
            "rounds": sum(chain.rounds for chain in known),
            "refused": sum(chain.n_rejects for chain in known),
            "calls": sum(chain.n_calls for chain in known),
        }
        if traffic is not None:
            self._pace.tell(self.clock(), n_done, traffic.n_calls, traffic.cost_usd)
            figures |= _told(traffic)
            left_s = self._pace.time_left_s(self._total)
            if left_s is not None and n_done < self._total:
                figures["time_left_s"] = round(left_s)
            if self.has_prices:
                figures |= self._money(traffic)
        told = {name: value for name, value in figures.items() if value is not None}
        self.progress.update("rows", n_done, self._total, **told)

    def _money(self, traffic: Traffic) -> dict[str, Figure | None]:
        projected = self._pace.projected_usd(self._total)
        return {
            "cost_usd": round(traffic.cost_usd, 6),
            "projected_usd": None if projected is None else round(projected, 6),
            "max_cost_usd": traffic.max_cost_usd,
        }


def _told(traffic: Traffic) -> dict[str, Figure | None]:
    return {
        "requests_per_minute": round(traffic.requests_per_minute),
        "request_limit": traffic.request_limit,
        "tokens_per_minute": round(traffic.tokens_per_minute),
        "token_limit": traffic.token_limit,
        "in_flight": traffic.n_in_flight,
        "spent_calls": traffic.n_calls,
        "max_calls": traffic.max_calls,
        "spent_tokens": traffic.n_tokens,
        "max_tokens": traffic.max_tokens,
    }
