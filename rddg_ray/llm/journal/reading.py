"""A chain's records, over the files of all writers."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from rddg_ray.errors import StoreError
from rddg_ray.exchange import CallId, Completion, Prompt, Usage
from rddg_ray.llm.journal.schema import files_of, opened_for_reading
from rddg_ray.llm.journal.settling import steady

Replies = dict[str, dict[str, Completion]]
"""Recorded replies by the call's key and the hash of the prompt they answer."""

_OF_CHAIN = "WHERE dataset = ? AND chain = ?"
# Ordered so that the first of a call's sorted rows is the reply that counts (see settling.py).
_REPLIES = f"""
SELECT -turn, unix_s, key, prompt_sha256, text, model, finish_reason, prompt_tokens,
    completion_tokens, cached_tokens, latency_s
FROM calls {_OF_CHAIN}
"""
_UNANSWERED = f"AND key NOT IN (SELECT key FROM calls {_OF_CHAIN})"
# An attempt is open while no reply of its writer answers it and no error has ended it.
_OPEN = f"""
SELECT key, max(unix_s) FROM sent {_OF_CHAIN} AND ended IS NOT 'refused'
    {_UNANSWERED} GROUP BY key
"""
# A writer that was refused may try again, so what it lacks is contested all the same.
_CONTESTED = f"SELECT DISTINCT key FROM sent {_OF_CHAIN} {_UNANSWERED}"
_TURN = f"""
SELECT max(coalesce((SELECT max(turn) FROM sent {_OF_CHAIN}), 0),
    coalesce((SELECT max(turn) FROM calls {_OF_CHAIN}), 0))
"""
_DEAD = f"""
SELECT key, prompt_sha256, dataset, chain, round, position, phase, unix_s, status, code, message
FROM dead {_OF_CHAIN}
"""
_REVIVED = f"SELECT key, unix_s FROM revived {_OF_CHAIN}"


_CHAINS = " UNION ".join(
    f"SELECT dataset, chain FROM {table}" for table in ("calls", "sent", "dead", "revived")
)
_Signature = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A call that is not asked again until it is revived.

    Attributes:
        key: The call's key.
        call: Which call of the run.
        phase: The step of the chain that asked.
        prompt_sha256: Hash of what was asked.
        status: HTTP status of the refusal, or None.
        code: The endpoint's error code, `outcome_unknown` for a call that may have been paid
            for, or None.
        message: What happened, in words.
        unix_s: When, in POSIX seconds.
    """

    key: str
    call: CallId
    phase: str
    prompt_sha256: str
    status: int | None
    code: str | None
    message: str
    unix_s: float


@dataclass
class ChainRecords:
    """What all writers know of a chain.

    Attributes:
        replies: By key and prompt hash.
        unknown: Keys of calls that were sent and have neither reply nor refusal, with the POSIX
            time of the last such attempt.
        dead: Dead letters that were not revived, by key.
        contested: Keys of calls that other writers sent and whose reply they may yet record.
        turn: The highest on record; see settling.py.
    """

    replies: Replies = field(default_factory=dict)
    unknown: dict[str, float] = field(default_factory=dict)
    dead: dict[str, DeadLetter] = field(default_factory=dict)
    contested: set[str] = field(default_factory=set)
    turn: int = 0


class _Union:
    """Which chains the files of a folder know of, so that not all are opened for each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._scanned: dict[Path, tuple[_Signature, set[tuple[str, str]]]] = {}

    def files_with(self, dataset: str, chain: str) -> list[Path]:
        files = files_of(self._folder)
        return [file for file in files if (dataset, chain) in self._chains(file)]

    def _chains(self, file: Path) -> set[tuple[str, str]]:
        # Taken before the scan, so that what is written during it shows next time.
        signature = _signature(file), _signature(file.with_name(f"{file.name}-wal"))
        known = self._scanned.get(file)
        if known is None or known[0] != signature:
            known = signature, set(_rows(file, _CHAINS, ()))
            self._scanned[file] = known
        return known[1]


def _signature(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except FileNotFoundError:  # a log is deleted once it is folded in
        return None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=16)
def _union(folder: Path) -> _Union:
    return _Union(folder)


def read_chain(folder: Path, dataset: str, chain: str, own: str | None = None) -> ChainRecords:
    """Return what all writers recorded of a chain.

    Where two writers recorded a call, as an actor does that was given up but still lived, one of
    the replies counts, the same for every reader (see settling.py).

    Args:
        folder: The run's `journal` folder.
        dataset: Of the chain.
        chain: Its name.
        own: Name of the reader's own file, whose attempts contest nothing.

    Raises:
        StoreError: If a file is no journal.
    """
    with steady(folder):
        return _read_chain(folder, dataset, chain, own)


def _read_chain(folder: Path, dataset: str, chain: str, own: str | None) -> ChainRecords:
    of_chain = (dataset, chain)
    contested: set[str] = set()
    turn = 0
    answers: list[tuple[Any, ...]] = []
    unknown: dict[str, float] = {}
    dead: list[DeadLetter] = []
    revived: dict[str, float] = {}
    for file in _union(folder.absolute()).files_with(dataset, chain):
        with opened_for_reading(file) as db:
            if db is None:
                continue
            rows = db.execute(_REPLIES, of_chain).fetchall()
            answers += [(*row, file.name) for row in rows]
            for key, unix_s in db.execute(_OPEN, of_chain * 2):
                unknown[key] = max(unix_s, unknown.get(key, unix_s))
            if file.name != own:
                contested.update(key for (key,) in db.execute(_CONTESTED, of_chain * 2))
            turn = max(turn, *db.execute(_TURN, of_chain * 2).fetchone())
            dead += [letter_of(row) for row in db.execute(_DEAD, of_chain)]
            for key, unix_s in db.execute(_REVIVED, of_chain):
                revived[key] = max(unix_s, revived.get(key, unix_s))
    replies = _counting(answers)
    return ChainRecords(
        replies,
        {
            key: unix_s
            for key, unix_s in unknown.items()
            if key not in replies and unix_s > revived.get(key, 0.0)
        },
        {letter.key: letter for letter in living_dead(dead, replies, revived)},
        contested,
        turn,
    )


def letter_of(row: tuple[Any, ...]) -> DeadLetter:
    """Return the dead letter of a row of `dead`: the shared columns, status, code, message."""
    key, sha256, dataset, chain, round_, position, phase, unix_s, status, code, message = row
    call = CallId(dataset, chain, round_, position)
    return DeadLetter(key, call, phase, sha256, status, code, message, unix_s)


def living_dead(
    letters: list[DeadLetter], answered: Container[str], revived: dict[str, float]
) -> list[DeadLetter]:
    """Return the letters, oldest first, whose call has no reply and was not revived since."""
    kept = [
        letter
        for letter in letters
        if letter.key not in answered and letter.unix_s > revived.get(letter.key, 0.0)
    ]
    return sorted(kept, key=lambda letter: (letter.unix_s, letter.key))


def _counting(records: list[tuple[Any, ...]]) -> Replies:
    replies: Replies = {}
    for _, _, key, sha256, text, model, finish_reason, *numbers in sorted(records):
        prompt_tokens, completion_tokens, cached_tokens, latency_s, _ = numbers
        usage = Usage(1, prompt_tokens, completion_tokens, cached_tokens)
        reply = Completion(text, model, usage, finish_reason, latency_s)
        replies.setdefault(key, {}).setdefault(sha256, reply)
    return replies


def read_replies(folder: Path, dataset: str, chain: str) -> Replies:
    """Return the replies of a chain that all writers recorded.

    Raises:
        StoreError: If a file is no journal.
    """
    with steady(folder):
        return _read_replies(folder, dataset, chain, _REPLIES, (dataset, chain))


def read_reply(folder: Path, call: CallId, key: str, sha256: str) -> Completion | None:
    """Return the reply to one call that counts now, or None; the caller holds the lock.

    Raises:
        StoreError: If a file is no journal.
    """
    parameters = (call.dataset, call.chain, key)
    query = f"{_REPLIES} AND key = ?"
    found = _read_replies(folder, call.dataset, call.chain, query, parameters)
    return found.get(key, {}).get(sha256)


def _read_replies(
    folder: Path, dataset: str, chain: str, query: str, parameters: tuple[str, ...]
) -> Replies:
    files = _union(folder.absolute()).files_with(dataset, chain)
    return _counting([(*row, f.name) for f in files for row in _rows(f, query, parameters)])


def _rows(file: Path, query: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    with opened_for_reading(file) as db:
        return [] if db is None else db.execute(query, parameters).fetchall()


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
        raise other_prompt(folder, call)
    return found[prompt.sha256]


def other_prompt(folder: Path, call: CallId) -> StoreError:
    """Return the error for a call that is on record with another prompt."""
    return StoreError(
        f"{folder}: call {call.round}/{call.index} of chain {call.chain!r} "
        f"({call.dataset}) is on record with another prompt: the table, the package or a "
        "library has changed since. Start a new run directory"
    )
