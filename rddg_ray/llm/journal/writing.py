"""One writer's part of the journal."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from rddg_ray.errors import LLMError, PermanentLLMError, StoreError
from rddg_ray.exchange import CallId, Completion, Prompt
from rddg_ray.llm.bounds import completion_bound, prompt_tokens_bound
from rddg_ray.llm.failures import OUTCOME_UNKNOWN
from rddg_ray.llm.journal.commits import GroupCommit
from rddg_ray.llm.journal.reading import (
    ChainRecords,
    DeadLetter,
    find,
    other_prompt,
    read_chain,
    read_reply,
)
from rddg_ray.llm.journal.schema import SUFFIX, opened_files, pack
from rddg_ray.llm.journal.settling import SPARE, make_lock, settling, steady

_INSERT_CALL = f"INSERT OR IGNORE INTO calls VALUES ({', '.join('?' * 17)})"
_INSERT_SENT = f"INSERT INTO sent VALUES ({', '.join('?' * 12)}, NULL)"
_INSERT_DEAD = f"INSERT INTO dead VALUES ({', '.join('?' * 11)})"
_Chain = tuple[str, str]


class Journal:
    """One writer's file of calls, read together with those of every other writer.

    Files of writers that were killed are read like any other; a half-written transaction of
    theirs does not exist. Writes of many coroutines share transactions (see `GroupCommit`).
    Where two writers answer one call, settling.py says which reply counts.

    Args:
        folder: The run's `journal` folder, on a disk that every writer is local to.
        writer: A name no other live process uses.
        fingerprint: Of the run's settings; part of every key.
        possibly_paid_twice: What is done about a call that was sent and has no known outcome:
            `retry` asks again, `hold` leaves it as a dead letter.
        fence: Asked before each attempt; False where another driver has taken the run over, so
            that this process must send no more. See `lease_fence`.

    Raises:
        StoreError: If the file cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        writer: str,
        fingerprint: str,
        *,
        possibly_paid_twice: Literal["retry", "hold"] = "retry",
        fence: Callable[[], bool] | None = None,
    ) -> None:
        self._folder = folder
        self._fingerprint = fingerprint
        self._holds = possibly_paid_twice == "hold"
        self._fence = fence
        self._records: dict[_Chain, ChainRecords] = {}
        self._given_up: set[_Chain] = set()
        self._attempts: Counter[str] = Counter()
        # Each chain's turn of this writer, kept when the chain's records are forgotten.
        self._turns: dict[_Chain, int] = {}
        self._puts: set[asyncio.Task[Completion]] = set()
        self._settling = ThreadPoolExecutor(1, thread_name_prefix="journal-settling")
        self._file = f"{writer}{SUFFIX}"
        self._opening = 1 + _last_opening(folder)
        self._commits = GroupCommit(folder / self._file)
        make_lock(folder)
        self._commits.reader.execute("INSERT INTO opened VALUES (?)", (self._opening,))
        # This name's former life, if it had one, has ended: what it left in flight is unknown.
        self._commits.reader.execute(
            "UPDATE sent SET ended = 'unknown' WHERE ended IS NULL "
            "AND key NOT IN (SELECT key FROM calls)"
        )
        (last,) = self._commits.reader.execute("SELECT max(id) FROM sent").fetchone()
        self._numbers = itertools.count((last or 0) + 1)

    @property
    def folder(self) -> Path:
        """Return the folder of all writers' files."""
        return self._folder

    @property
    def holds(self) -> bool:
        """Return whether a call of unknown outcome is left as a dead letter."""
        return self._holds

    def key(self, call: CallId) -> str:
        """Return a call's key in this run."""
        return call.key(self._fingerprint)

    def load(self, dataset: str, chain: str) -> int:
        """Read what every writer recorded of a chain; return how many calls have a reply.

        Raises:
            StoreError: If a file is no journal.
        """
        found = read_chain(self._folder, dataset, chain, self._file)
        self._records[dataset, chain] = found
        self._turns[dataset, chain] = max(self._opening, found.turn + 1)
        return len(found.replies)

    def forget(self, dataset: str, chain: str) -> None:
        """Free the memory of a chain; it is read again when a call of it is asked for."""
        self._records.pop((dataset, chain), None)

    def give_up(self, dataset: str, chain: str) -> None:
        """Send nothing more of a chain, which goes on with another writer."""
        self._given_up.add((dataset, chain))
        self.forget(dataset, chain)

    def take(self, dataset: str, chain: str) -> None:
        """Serve a chain that may have been with another writer meanwhile."""
        self._given_up.discard((dataset, chain))
        self.forget(dataset, chain)

    def get(self, prompt: Prompt, call: CallId) -> Completion | None:
        """Return the recorded reply of a call, or None; its chain is loaded if it was not.

        Raises:
            StoreError: If the call is on record with another prompt: the run is not what it was.
        """
        replies = self._of(call).replies
        return find(replies, prompt, call, self._fingerprint, self._folder)

    def _of(self, call: CallId) -> ChainRecords:
        chain = call.dataset, call.chain
        if chain not in self._records:
            self.load(*chain)
        return self._records[chain]

    async def clear(self, prompt: Prompt, call: CallId) -> None:
        """Return if a call without a reply may be asked.

        Raises:
            PermanentLLMError: If the endpoint has refused this very call for good, or if it may
                have been paid for already and such calls are held.
            StoreError: If it is on record with another prompt, or this process must send no more.
        """
        self._check_may_send(call)
        key, records = self.key(call), self._of(call)
        letter = records.dead.get(key)
        if letter is None and self._holds and key in records.unknown:
            message = "sent by a process that ended before the reply was on record"
            letter = await self._bury(prompt, call, None, OUTCOME_UNKNOWN, message)
        if letter is not None:
            raise self._refusal(letter, prompt)

    async def landed(self, prompt: Prompt, call: CallId) -> Completion | None:
        """Return the reply that whoever sent a call before has recorded since, or None."""
        key = self.key(call)
        if key not in self._of(call).contested:
            return None

        def look() -> Completion | None:
            with steady(self._folder):
                return read_reply(self._folder, call, key, prompt.sha256)

        found = await asyncio.get_running_loop().run_in_executor(self._settling, look)
        return None if found is None else self._counted(key, prompt, call, found)

    async def put(self, prompt: Prompt, call: CallId, completion: Completion) -> Completion:
        """Record a reply and return the one that counts, which is durable then.

        It goes on if this is cancelled, so that the call is known as answered when it is asked
        again.

        Raises:
            StoreError: If it cannot be written.
        """
        task = asyncio.create_task(self._put(prompt, call, completion))
        self._puts.add(task)
        task.add_done_callback(self._put_ended)
        return await asyncio.shield(task)

    def _put_ended(self, task: asyncio.Task[Completion]) -> None:
        self._puts.discard(task)
        if not task.cancelled():
            task.exception()  # told to whoever still waits

    async def _put(self, prompt: Prompt, call: CallId, completion: Completion) -> Completion:
        key, usage, chain = self.key(call), completion.usage, (call.dataset, call.chain)
        if chain not in self._turns:
            self.load(*chain)
        turn, records = self._turns[chain], self._records.get(chain)
        row = (
            *self._columns(prompt, call), completion.text, completion.model,
            completion.finish_reason, usage.prompt_tokens, usage.completion_tokens,
            usage.cached_tokens, completion.latency_s, self._attempts.pop(key, 1),
        )  # fmt: skip

        def write(db: sqlite3.Connection, turn: int = turn) -> None:
            db.execute(_INSERT_CALL, (*row, turn))
            _keep_prompt(db, prompt, prompt.sha256)

        def settle() -> Completion | None:
            with settling(self._folder):
                other = read_reply(self._folder, call, key, prompt.sha256)
                self._commits.write_now(lambda db: write(db, turn if other is None else SPARE))
            return other

        # A chain that was given up or forgotten contests nothing: who goes on with it does.
        if records is not None and (key in records.contested or key in records.replies):
            other = await asyncio.get_running_loop().run_in_executor(self._settling, settle)
            completion = completion if other is None else other
        else:
            await self._commits.write(write)
        return self._counted(key, prompt, call, completion)

    def _counted(self, key: str, prompt: Prompt, call: CallId, found: Completion) -> Completion:
        """Note a reply that is on record; return the one known before, if there is one."""
        records = self._records.get((call.dataset, call.chain))
        if records is None:  # forgotten meanwhile: read when asked for
            return found
        records.unknown.pop(key, None)
        return records.replies.setdefault(key, {}).setdefault(prompt.sha256, found)

    async def sending(self, prompt: Prompt, call: CallId) -> int:
        """Mark an attempt as sent; it is durable when this returns, and may then be sent.

        Returns:
            The attempt's number, for `ended`.

        Raises:
            StoreError: If it cannot be written, another driver has taken the run over, or its
                chain was given up.
        """
        self._check_may_send(call)
        number = next(self._numbers)
        self._attempts[self.key(call)] += 1
        self._of(call)  # which gives the chain its turn
        bounds = prompt_tokens_bound(prompt), completion_bound(prompt)
        turn = self._turns[call.dataset, call.chain]
        row = (number, *self._columns(prompt, call), *bounds, turn)

        def write(db: sqlite3.Connection) -> None:
            db.execute(_INSERT_SENT, row)
            _keep_prompt(db, prompt, row[2])

        try:
            await self._commits.write(write)
        except asyncio.CancelledError:
            # Given up while it was being marked: it never went out. A journal that was closed
            # meanwhile leaves it in flight, which errs on the side of having been paid for.
            with contextlib.suppress(StoreError):
                self.ended(number, "refused")
            raise
        try:
            self._check_may_send(call)
        except StoreError:
            self.ended(number, "refused")  # it never went out
            raise
        return number

    def ended(self, number: int, how: Literal["refused", "unknown"]) -> None:
        """Note how an attempt without a reply ended.

        It is on disk before whatever is awaited next. A kill before that leaves the attempt in
        flight, which errs on the side of having been paid for.
        """
        parameters = (how, number)
        self._commits.write_soon(
            lambda db: db.execute("UPDATE sent SET ended = ? WHERE id = ?", parameters)
        )

    async def bury(self, prompt: Prompt, call: CallId, error: LLMError) -> None:
        """Record a call that failed for good as a dead letter; durable when this returns."""
        code = error.code if isinstance(error, PermanentLLMError) else None
        await self._bury(prompt, call, error.status, code, str(error))

    async def _bury(
        self, prompt: Prompt, call: CallId, status: int | None, code: str | None, message: str
    ) -> DeadLetter:
        *named, now_s = self._columns(prompt, call)
        # Never before the attempts it is about, whatever the clock of their machine said.
        records = self._of(call)
        unix_s = max(now_s, records.unknown.get(named[0], now_s))
        row = (*named, unix_s, status, code, message)

        def write(db: sqlite3.Connection) -> None:
            db.execute(_INSERT_DEAD, row)
            _keep_prompt(db, prompt, row[1])

        await self._commits.write(write)
        letter = DeadLetter(row[0], call, prompt.phase, row[1], status, code, message, unix_s)
        records.dead[letter.key] = letter
        return letter

    def close(self) -> None:
        """Write what waits and close the file; calling twice is harmless."""
        self._settling.shutdown()
        self._commits.close()

    def _columns(self, prompt: Prompt, call: CallId) -> tuple[Any, ...]:
        """Return the columns that all tables share."""
        return (
            self.key(call), prompt.sha256, call.dataset, call.chain, call.round, call.index,
            prompt.phase, time.time(),
        )  # fmt: skip

    def _check_may_send(self, call: CallId) -> None:
        if (call.dataset, call.chain) in self._given_up:
            raise StoreError(
                f"{self._folder.parent}: chain {call.chain!r} ({call.dataset}) goes on in another "
                "process; this one sends nothing more of it. Its replies are kept"
            )
        if self._fence is not None and not self._fence():
            raise StoreError(
                f"{self._folder.parent}: another driver has taken this run over; this process "
                "sends nothing more. Its replies are kept"
            )

    def _refusal(self, letter: DeadLetter, prompt: Prompt) -> StoreError | PermanentLLMError:
        if letter.prompt_sha256 != prompt.sha256:
            return other_prompt(self._folder, letter.call)
        call = letter.call
        place = f"call {call.round}/{call.index} of chain {call.chain!r} ({call.dataset})"
        advice = f"`rddg retry-dead {self._folder.parent}` has it asked again"
        if letter.code == OUTCOME_UNKNOWN:
            return PermanentLLMError(
                f"{place} may have been paid for already ({letter.message}) and is held, as "
                f"endpoint.journal.possibly_paid_twice says; {advice}",
                letter.status,
                letter.code,
            )
        return PermanentLLMError(
            f"{letter.message} ({place}, on record as a dead letter; {advice})",
            letter.status,
            letter.code,
        )


def _last_opening(folder: Path) -> int:
    """Return the highest turn that a writer took when it opened its file; 0 without any."""
    query = "SELECT coalesce(max(turn), 0) FROM opened"
    return max((db.execute(query).fetchone()[0] for _, db in opened_files(folder)), default=0)


def _keep_prompt(db: sqlite3.Connection, prompt: Prompt, sha256: str) -> None:
    # Asked first, because packing costs more than looking.
    if db.execute("SELECT 1 FROM prompts WHERE sha256 = ?", (sha256,)).fetchone() is None:
        db.execute("INSERT INTO prompts VALUES (?, ?)", (sha256, pack(prompt)))
