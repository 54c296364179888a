"""Calls that are not asked again, and their revival."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable
from contextlib import closing
from dataclasses import astuple
from pathlib import Path
from typing import Literal

from rddg_ray.errors import StoreError
from rddg_ray.llm.journal.reading import DeadLetter, letter_of, living_dead
from rddg_ray.llm.journal.schema import (
    SUFFIX,
    open_for_writing,
    opened_files,
    translated,
)


def dead_letters(folder: Path) -> list[DeadLetter]:
    """Return the run's dead letters that were not revived, oldest first.

    Args:
        folder: The run's `journal` folder.

    Raises:
        StoreError: If a file is no journal.
    """
    letters: list[DeadLetter] = []
    answered: set[str] = set()
    revived: dict[str, float] = {}
    for _, db in opened_files(folder):
        letters += [letter_of(row) for row in db.execute("SELECT * FROM dead")]
        answered.update(key for (key,) in db.execute("SELECT key FROM calls"))
        for key, unix_s in db.execute("SELECT key, unix_s FROM revived"):
            revived[key] = max(unix_s, revived.get(key, unix_s))
    latest = {letter.key: letter for letter in living_dead(letters, answered, revived)}
    return list(latest.values())


def revive(folder: Path, keys: Iterable[str] | Literal["all"]) -> list[DeadLetter]:
    """Have dead letters asked again by the run's next start.

    The note of it goes to a file of its own, because every other file has its one writer.

    Args:
        folder: The run's `journal` folder.
        keys: Keys, or beginnings of keys that fit one letter each, or `all`.

    Returns:
        The letters revived.

    Raises:
        StoreError: If a key fits no dead letter or several; none is revived then.
    """
    letters = dead_letters(folder)
    chosen = letters if keys == "all" else [_fitting(letters, key, folder) for key in keys]
    if chosen:
        name = f"revived-{int(time.time())}-{os.getpid()}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        path = folder / name
        with closing(open_for_writing(path)) as db, translated(path):
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO revived VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(_row, chosen))
            db.execute("COMMIT")
    return chosen


def _row(letter: DeadLetter) -> tuple[object, ...]:
    # The letter's own time, not now: clocks of two machines are then never compared. A held
    # call's letter is never older than the attempts it holds.
    return letter.key, letter.prompt_sha256, *astuple(letter.call), letter.phase, letter.unix_s


def _fitting(letters: list[DeadLetter], key: str, folder: Path) -> DeadLetter:
    fitting = [letter for letter in letters if key and letter.key.startswith(key)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise StoreError(f"{folder}: {key!r} is the beginning of {len(fitting)} dead letters' keys")
    known = ", ".join(letter.key[:12] for letter in letters[:5]) or "none"
    raise StoreError(f"{folder}: no dead letter has the key {key!r}; there are: {known}")
