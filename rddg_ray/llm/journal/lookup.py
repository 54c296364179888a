"""One call of a journal in full."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rddg_ray.errors import StoreError
from rddg_ray.exchange import CallId, Completion, Prompt, Usage
from rddg_ray.llm.journal.dead_letters import dead_letters
from rddg_ray.llm.journal.reading import DeadLetter
from rddg_ray.llm.journal.schema import opened_files, unpack
from rddg_ray.llm.journal.settling import steady


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: when it was sent, by whom, and its end (None: answered, or in flight)."""

    unix_s: float
    writer: str
    ended: str | None


@dataclass
class CallRecord:
    """One call in full.

    Attributes:
        key: Its key.
        call: Which call of the run.
        phase: The step of the chain that asked.
        prompt: What was asked, or None where it is not on record.
        reply: The reply that counts, or None.
        replied_unix_s: When it was recorded.
        turn: Of the writer that recorded it; see settling.py.
        attempts: Oldest first.
        dead: Its dead letter, or None.
    """

    key: str
    call: CallId
    phase: str
    prompt: Prompt | None = None
    reply: Completion | None = None
    replied_unix_s: float | None = None
    turn: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    dead: DeadLetter | None = None


def find_call(folder: Path, query: str) -> CallRecord:
    """Return one call in full.

    Args:
        folder: The run's `journal` folder.
        query: The beginning of its key, or `dataset/chain/round/index`, as in
            `sick/rddg/g0/3/0`.

    Raises:
        StoreError: If no call fits, or several do.
    """
    records: dict[str, CallRecord] = {}
    with steady(folder):
        for file, db in opened_files(folder):
            for table in ("sent", "calls", "dead"):
                _collect(db, table, query, file.stem, records)
    if len(records) != 1:
        examples = ", ".join(sorted(key[:12] for key in records)[:5])
        found = f"fits {len(records)} calls ({examples}, ...)" if records else "fits no call"
        raise StoreError(
            f"{folder}: {query!r} {found}; give more of the key, or dataset/chain/round/index"
        )
    (record,) = records.values()
    record.attempts.sort(key=lambda attempt: attempt.unix_s)
    record.dead = next((one for one in dead_letters(folder) if one.key == record.key), None)
    return record


def _collect(
    db: sqlite3.Connection, table: str, query: str, writer: str, records: dict[str, CallRecord]
) -> None:
    condition, parameters = _condition(query)
    columns = "key, prompt_sha256, dataset, chain, round, position, phase, unix_s"
    for row in db.execute(f"SELECT {columns} FROM {table} WHERE {condition}", parameters):
        key, sha256, dataset, chain, round_, position, phase, unix_s = row
        call = CallId(dataset, chain, round_, position)
        record = records.setdefault(key, CallRecord(key, call, phase))
        record.prompt = record.prompt or _prompt(db, sha256)
        if table == "calls":
            _keep_if_it_counts(db, record, unix_s)
        if table == "sent":
            ends = db.execute("SELECT ended FROM sent WHERE key = ? AND unix_s = ?", (key, unix_s))
            record.attempts.append(Attempt(unix_s, writer, ends.fetchone()[0]))


def _keep_if_it_counts(db: sqlite3.Connection, record: CallRecord, unix_s: float) -> None:
    # Files come by name, so that of equal moments the first one stays.
    (turn,) = db.execute("SELECT turn FROM calls WHERE key = ?", (record.key,)).fetchone()
    known = record.replied_unix_s
    if known is None or (-turn, unix_s) < (-record.turn, known):
        record.reply, record.replied_unix_s, record.turn = _reply(db, record.key), unix_s, turn


def _condition(query: str) -> tuple[str, Sequence[object]]:
    path = query.rsplit("/", 2)
    if len(path) == 3 and path[1].isdigit() and path[2].isdigit():
        # Names may hold slashes themselves.
        return "dataset || '/' || chain = ? AND round = ? AND position = ?", path
    return "substr(key, 1, ?) = ? AND ? != ''", (len(query), query, query)


def _prompt(db: sqlite3.Connection, sha256: str) -> Prompt | None:
    row = db.execute("SELECT content FROM prompts WHERE sha256 = ?", (sha256,)).fetchone()
    return None if row is None else unpack(row[0])


def _reply(db: sqlite3.Connection, key: str) -> Completion:
    columns = (
        "text, model, finish_reason, latency_s, prompt_tokens, completion_tokens, cached_tokens"
    )
    row = db.execute(f"SELECT {columns} FROM calls WHERE key = ?", (key,)).fetchone()
    text, model, finish_reason, latency_s, *tokens = row
    return Completion(text, model, Usage(1, *tokens), finish_reason, latency_s)
