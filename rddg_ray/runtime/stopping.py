"""Stopping a run on request: the first signal drains it, the second stops it now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import SimpleQueue

from rddg_ray.errors import RddgError

EXIT_CODES: Mapping[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 75}
"""The exit code of a run that a signal stopped: interrupted by a person, or by a scheduler."""


class StoppedError(RddgError):
    """The run was asked to stop and did; what it has is published, and it can go on from there.

    Attributes:
        exit_code: Of a process that ends by it.
    """

    exit_code = 75


class StopNow(SystemExit):
    """Raised by a signal that came again: files and actors close on the way out, nothing else."""


class StopRequest:
    """Whether the run was asked to stop, and by what.

    Args:
        on_first: Called once, in a thread of its own, when the first signal came.
    """

    def __init__(self, on_first: Callable[[], None] = lambda: None) -> None:
        self._on_first = on_first
        self._number: int | None = None
        # Unlike a lock or an event, it may be used by a handler that broke in on its own thread.
        self._came: SimpleQueue[bool] = SimpleQueue()

    @property
    def is_made(self) -> bool:
        """Return whether the run was asked to stop."""
        return self._number is not None

    @property
    def exit_code(self) -> int:
        """Return the exit code of a run that stopped on request."""
        return EXIT_CODES[self._number or signal.SIGTERM]

    def handle(self, number: int, frame: object = None) -> None:
        """Take a signal; a handler for `signal.signal`.

        Raises:
            KeyboardInterrupt: If a stop was asked for before and this is SIGINT.
            StopNow: If it is another signal.
        """
        del frame
        if self._number is None:
            self._number = number
            self._came.put(True)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise StopNow(EXIT_CODES[number])

    @contextmanager
    def handling(self) -> Iterator[StopRequest]:
        """Handle SIGINT and SIGTERM for the time of a `with` block, in the main thread.

        On Ray, enter it after `ray.init`, which sets handlers of its own.
        """
        waiter = threading.Thread(target=self._wait, name="rddg-stopping", daemon=True)
        waiter.start()
        before = {number: signal.signal(number, self.handle) for number in EXIT_CODES}
        try:
            yield self
        except StoppedError as error:
            error.exit_code = self.exit_code
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._came.put(False)
            waiter.join()

    def _wait(self) -> None:
        # Draining takes locks and may write: too much for a handler, which breaks in anywhere.
        if self._came.get():
            self._on_first()
