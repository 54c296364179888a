"""Group commit: many writes, one wait for the disk."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rddg_ray.errors import StoreError
from rddg_ray.llm.journal.schema import open_for_writing

Write = Callable[[sqlite3.Connection], object]
_Told = asyncio.Future[None] | concurrent.futures.Future[None]
_Item = tuple[Write, _Told | None]


class GroupCommit:
    """Commits the writes of many coroutines together, in the order they came.

    A thread takes what is waiting, runs it in one transaction and commits (WAL,
    synchronous=FULL: on disk). While it waits for the disk the next group gathers, so that a
    busy writer commits large groups and an idle one pays `window_s` at most.

    Args:
        path: The writer's own file.
        window_s: Seconds for which a group may gather before it is committed.

    Raises:
        StoreError: If the file cannot be opened.
    """

    def __init__(self, path: Path, window_s: float = 0.002) -> None:
        self._path = path
        self._window_s = window_s
        self._db = open_for_writing(path)
        self._waiting: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._closed = False
        # A daemon: whoever forgets to close must still be able to leave.
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    @property
    def reader(self) -> sqlite3.Connection:
        """Return the connection, for questions before the first write."""
        return self._db

    async def write(self, write: Write) -> None:
        """Run a write; it is durable when this returns, and goes on if this is cancelled.

        Raises:
            StoreError: If it cannot be committed; nothing of its group is then on record.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take(write, future)
        await future

    def write_now(self, write: Write) -> None:
        """Run a write and wait for the disk in this thread, which must not be an event loop's.

        Raises:
            StoreError: As of `write`.
        """
        future: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._take(write, future)
        future.result()

    def write_soon(self, write: Write) -> None:
        """Run a write in the next group, for what may be lost in a kill."""
        self._take(write, None)

    def _take(self, write: Write, future: _Told | None) -> None:
        if self._closed:
            raise StoreError(f"{self._path}: the journal is closed")
        self._waiting.put((write, future))

    def close(self) -> None:
        """Commit what waits and close the file; calling twice is harmless."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
            self._thread.join()
            self._db.close()

    def _work(self) -> None:
        going_on = True
        while going_on:
            group = [self._waiting.get()]
            if group[0] is not None and self._waiting.empty():
                time.sleep(self._window_s)
            with contextlib.suppress(queue.Empty):
                while True:
                    group.append(self._waiting.get_nowait())
            going_on = None not in group
            items = [item for item in group if item is not None]
            if items:
                self._commit(items)

    def _commit(self, items: list[_Item]) -> None:
        error: Exception | None = None
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for write, _ in items:
                write(self._db)
            self._db.execute("COMMIT")
        except Exception as cause:  # noqa: BLE001 - handed to the coroutines that wait for it
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                self._db.execute("ROLLBACK")
            error = StoreError(
                f"{self._path}: cannot write replies: {cause}; is the disk full or gone?"
            )
            error.__cause__ = cause
        _tell([future for _, future in items if future is not None], error)


def _tell(futures: list[_Told], error: Exception | None) -> None:
    """Wake each event loop once for all of its coroutines, and each thread that waits."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for future in futures:
        if isinstance(future, asyncio.Future):
            by_loop.setdefault(future.get_loop(), []).append(future)
        elif error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
    for loop, waiting in by_loop.items():
        # A loop that has ended has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, waiting, error)


def _resolve(futures: list[asyncio.Future[None]], error: Exception | None) -> None:
    for future in futures:
        if future.done():  # cancelled meanwhile
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
