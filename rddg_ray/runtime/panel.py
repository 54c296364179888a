"""The panel that a run shows on a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from rddg_ray.runtime.progress import Figure
from rddg_ray.runtime.wording import duration, usd

_REFRESH_PER_SECOND = 4
_WIDEST = 100
_NARROW = 60


class TerminalProgress:
    """A live panel: one bar a step, and below what the step `rows` tells beside.

    It has to be used as a context manager. What has no colours, no UTF-8 or no width gets less.

    Args:
        console: Where to; stderr by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._lock = threading.Lock()
        self._steps: dict[str, _Step] = {}
        self._figures: Mapping[str, Figure] = {}
        self._live = Live(
            get_renderable=self._render,
            console=self._console,
            refresh_per_second=_REFRESH_PER_SECOND,
        )

    def __enter__(self) -> TerminalProgress:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def update(self, step: str, done: int, total: int, **figures: Figure) -> None:
        """Move the step's bar and show its figures."""
        with self._lock:
            self._steps.setdefault(step, _Step()).move(done, total)
            if step == "rows":
                self._figures = figures

    def note(self, text: str) -> None:
        """Write a line above the panel."""
        self._console.print(f"rddg: {text}", markup=False, soft_wrap=True)

    def _render(self) -> RenderableType:
        with self._lock:
            return render(self._steps, self._figures, self._console.width)


class _Step:
    """How far a step is, and how long it took."""

    def __init__(self) -> None:
        self.done, self.total = 0, 1
        self._began_s = time.monotonic()
        self._ended_s: float | None = None

    def move(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        if done < total:
            self._ended_s = None
        elif self._ended_s is None:
            self._ended_s = time.monotonic()

    @property
    def seconds(self) -> float:
        return (self._ended_s or time.monotonic()) - self._began_s


def render(steps: Mapping[str, _Step], figures: Mapping[str, Figure], width: int) -> RenderableType:
    """Return the panel for a terminal of this many columns."""
    if not steps:
        return Text("starting")
    bars = Grid.grid(padding=(0, 1), expand=True)
    bars.add_column(no_wrap=True)
    bars.add_column(ratio=1)
    for _ in range(2 if width >= _NARROW else 1):
        bars.add_column(justify="right", no_wrap=True)
    for name, step in steps.items():
        bar = ProgressBar(total=max(1, step.total), completed=step.done)
        cells: list[RenderableType] = [name, bar, f"{step.done:,}/{step.total:,}"]
        if width >= _NARROW:
            cells.append(f"[dim]{duration(step.seconds)}")
        bars.add_row(*cells)
    # On a narrow terminal a frame would cost more than it gives.
    n_accepted = steps["rows"].done if "rows" in steps else 0
    body = Group(bars, *(Text(line) for line in figure_lines(figures, n_accepted)))
    return body if width < _NARROW else Panel(body, width=min(width, _WIDEST), padding=(0, 1))


def figure_lines(figures: Mapping[str, Figure], n_accepted: int) -> list[str]:
    """Return the figures of the step `rows` as a person reads them, those known."""
    lines = []
    if "rounds" in figures:
        lines.append(
            f"rows accepted {n_accepted:,}, refused {figures['refused']:,}; "
            f"rounds {figures['rounds']:,}; calls {figures['calls']:,}"
            + (f", in flight {figures['in_flight']:,}" if "in_flight" in figures else "")
        )
    if "requests_per_minute" in figures:
        lines.append(
            f"per minute: {_of(figures, 'requests_per_minute', 'request_limit')} requests, "
            f"{_of(figures, 'tokens_per_minute', 'token_limit')} tokens"
        )
        lines.append(
            f"spent: {_of(figures, 'spent_calls', 'max_calls')} calls, "
            f"{_of(figures, 'spent_tokens', 'max_tokens')} tokens"
        )
    if "cost_usd" in figures:
        lines.append(_money(figures))
    if "time_left_s" in figures:
        lines.append(f"time left about {duration(float(figures['time_left_s']))}")
    return lines


def _of(figures: Mapping[str, Figure], name: str, limit: str) -> str:
    text = f"{figures[name]:,}"
    return f"{text} of {figures[limit]:,}" if limit in figures else text


def _money(figures: Mapping[str, Figure]) -> str:
    text = f"money: {usd(float(figures['cost_usd']))} spent"
    if "projected_usd" in figures:
        text += f", {usd(float(figures['projected_usd']))} projected"
    return text + (
        f", cap {usd(float(figures['max_cost_usd']))}" if "max_cost_usd" in figures else ""
    )
