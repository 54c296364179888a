"""Replies on record: a call whose reply is here is never made again."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rddg_ray.errors import StoreError
from rddg_ray.exchange import CallId, Completion, Endpoint, Prompt, Usage

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    key TEXT PRIMARY KEY,
    dataset TEXT NOT NULL,
    chain TEXT NOT NULL,
    round INTEGER NOT NULL,
    position INTEGER NOT NULL,
    phase TEXT NOT NULL,
    prompt_sha256 TEXT NOT NULL,
    text TEXT NOT NULL,
    model TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    latency_s REAL NOT NULL,
    recorded_unix_s REAL NOT NULL
) WITHOUT ROWID
"""
# A chain is read back whole, among hundreds of others.
_INDEX = "CREATE INDEX IF NOT EXISTS by_chain ON calls (dataset, chain)"
_OF_CHAIN = """
SELECT recorded_unix_s, key, prompt_sha256, text, model, finish_reason, prompt_tokens,
    completion_tokens, cached_tokens, latency_s
FROM calls WHERE dataset = ? AND chain = ?
"""
_SUFFIX = ".sqlite"
_BUSY_TIMEOUT_S = 30.0

Replies = dict[str, dict[str, Completion]]
"""Recorded replies by the call's key and the hash of the prompt they answer."""


class Journal:
    """One writer's file of replies, read together with those of every other writer.

    A reply is on disk (WAL, synchronous=FULL) before `put` returns. Files of writers that were
    killed are read like any other; a half-written transaction of theirs does not exist.

    Args:
        folder: The run's `journal` folder, on a disk that every writer is local to.
        writer: A name no other live process uses.
        fingerprint: Of the run's settings; part of every key.

    Raises:
        StoreError: If the file cannot be opened.
    """

    def __init__(self, folder: Path, writer: str, fingerprint: str) -> None:
        self._folder = folder
        self._path = folder / f"{writer}{_SUFFIX}"
        self._fingerprint = fingerprint
        self._known: Replies = {}
        with _translated(self._path):
            folder.mkdir(parents=True, exist_ok=True)
            self._db = _connect(self._path)

    def load(self, dataset: str, chain: str) -> int:
        """Read what every writer recorded of a chain; return how many calls have a reply.

        Raises:
            StoreError: If a file is no journal.
        """
        replies = read_replies(self._folder, dataset, chain)
        self._known.update(replies)
        return len(replies)

    def get(self, prompt: Prompt, call: CallId) -> Completion | None:
        """Return the recorded reply of a loaded chain's call, or None.

        Raises:
            StoreError: If the call is on record with another prompt: the run is not what it was.
        """
        return find(self._known, prompt, call, self._fingerprint, self._folder)

    def put(self, prompt: Prompt, call: CallId, completion: Completion) -> None:
        """Record a reply; it is durable when this returns.

        Raises:
            StoreError: If it cannot be written.
        """
        key, usage = call.key(self._fingerprint), completion.usage
        with _translated(self._path), self._db:
            self._db.execute(
                f"INSERT OR IGNORE INTO calls VALUES ({', '.join('?' * 15)})",
                (
                    key, call.dataset, call.chain, call.round, call.index, prompt.phase,
                    prompt.sha256, completion.text, completion.model, completion.finish_reason,
                    usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens,
                    completion.latency_s, time.time(),
                ),
            )  # fmt: skip
        self._known.setdefault(key, {}).setdefault(prompt.sha256, completion)

    def close(self) -> None:
        """Close the file; calling twice is harmless."""
        self._db.close()


def find(
    replies: Replies, prompt: Prompt, call: CallId, fingerprint: str, folder: Path
) -> Completion | None:
    """Return the recorded reply of a call, or None.

    Args:
        replies: Of the call's chain; see `read_replies`.
        prompt: What is asked now.
        call: Which call of the run.
        fingerprint: Of the run's settings.
        folder: Named in the error.

    Raises:
        StoreError: If the call is on record, but with another prompt.
    """
    found = replies.get(call.key(fingerprint))
    if found is None:
        return None
    if prompt.sha256 not in found:
        raise StoreError(
            f"{folder}: call {call.round}/{call.index} of chain {call.chain!r} "
            f"({call.dataset}) is on record with another prompt: the table, the package or a "
            "library has changed since. Start a new run directory"
        )
    return found[prompt.sha256]


def read_replies(folder: Path, dataset: str, chain: str) -> Replies:
    """Return the replies of a chain that all writers recorded.

    Where two writers recorded a call, as an actor does that was given up but still lived, the
    first reply counts, for every reader alike.

    Raises:
        StoreError: If a file is no journal.
    """
    records = [
        (*record, file.name)
        for file in sorted(folder.glob(f"*{_SUFFIX}"))
        for record in _records(file, dataset, chain)
    ]
    replies: Replies = {}
    for recorded_unix_s, key, sha256, text, model, finish_reason, *numbers in sorted(records):
        del recorded_unix_s
        prompt_tokens, completion_tokens, cached_tokens, latency_s, _ = numbers
        usage = Usage(1, prompt_tokens, completion_tokens, cached_tokens)
        reply = Completion(text, model, usage, finish_reason, latency_s)
        replies.setdefault(key, {}).setdefault(sha256, reply)
    return replies


def _records(file: Path, dataset: str, chain: str) -> list[tuple[Any, ...]]:
    with _translated(file), closing(sqlite3.connect(file, timeout=_BUSY_TIMEOUT_S)) as db:
        # A writer killed before its first reply, or only just begun, has no table yet.
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'calls'").fetchone() is None:
            return []
        return db.execute(_OF_CHAIN, (dataset, chain)).fetchall()


def _connect(path: Path) -> sqlite3.Connection:
    # Actors call from their event loop's thread, which is not the one that built them.
    db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(_SCHEMA)
        db.execute(_INDEX)
    except sqlite3.Error:
        db.close()
        raise
    return db


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path}: cannot be used as a journal of replies: {error}") from error


class JournaledEndpoint:
    """Answers from the journal where it can, and records every other reply before giving it."""

    def __init__(self, inner: Endpoint, journal: Journal) -> None:
        self._inner = inner
        self._journal = journal

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the reply on record or a new one that is on record now; see `Endpoint`.

        Raises:
            StoreError: If the call is on record with another prompt, or cannot be recorded.
        """
        if call is None:
            return await self._inner.complete(prompt)
        found = self._journal.get(prompt, call)
        if found is None:
            reply = await self._inner.complete(prompt, call)
            self._journal.put(prompt, call, reply)
            # Of two replies to one call the first is the one on record.
            found = self._journal.get(prompt, call) or reply
        return found

    async def aclose(self) -> None:
        """Close the inner endpoint and the journal's file."""
        await self._inner.aclose()
        self._journal.close()
