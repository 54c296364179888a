"""How a run tells where it is: bars on a terminal, one JSON line now and then elsewhere."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import Any, Protocol, TextIO

_EVERY_S = 30.0


class Progress(Protocol):
    """Told of every step; shows what it sees fit."""

    def update(self, step: str, done: int, total: int, **figures: int | float | str) -> None:
        """Say that `done` of `total` units of a step are done, with figures beside."""
        ...


class SilentProgress:
    """Shows nothing."""

    def update(self, step: str, done: int, total: int, **figures: int | float | str) -> None:
        """Take note of nothing."""


class JsonProgress:
    """Writes one JSON line a step's end and at most one every 30 s in between."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._last_s = float("-inf")
        self._ended: set[str] = set()

    def update(self, step: str, done: int, total: int, **figures: int | float | str) -> None:
        """Write the step's state if it ended or was not heard of for 30 s."""
        has_ended = done >= total
        if has_ended and step in self._ended:
            return
        now_s = time.monotonic()
        if not has_ended and now_s - self._last_s < _EVERY_S:
            return
        self._last_s = now_s
        if has_ended:
            self._ended.add(step)
        line = {"time_unix_s": round(time.time(), 1), "step": step, "done": done, "total": total}
        print(json.dumps({**line, **figures}), file=self._stream, flush=True)


class TerminalProgress:
    """One bar a step, on the terminal, with the figures of the step beside it."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[figures]}"),
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> TerminalProgress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def update(self, step: str, done: int, total: int, **figures: int | float | str) -> None:
        """Move the step's bar."""
        text = "  ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=total, figures=text)
        self._bars.update(self._tasks[step], completed=done, total=total, figures=text)
