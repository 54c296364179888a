"""The tables of a journal file, and how one is opened."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rddg_ray.errors import StoreError
from rddg_ray.exchange import Prompt

SUFFIX = ".sqlite"
_VERSION = 3
_BUSY_TIMEOUT_S = 30.0
_COMPRESS_FROM_BYTES = 512

_CALL = """
    key TEXT NOT NULL,
    prompt_sha256 TEXT NOT NULL,
    dataset TEXT NOT NULL,
    chain TEXT NOT NULL,
    round INTEGER NOT NULL,
    position INTEGER NOT NULL,
    phase TEXT NOT NULL,
    unix_s REAL NOT NULL
"""
# `calls` holds replies. A row of `sent` is one attempt; `ended` is NULL while it is in flight
# and after a reply (which is a row of `calls`), `refused` where the endpoint answered with an
# error and so charged nothing, `unknown` where it may have charged. `turn` says which of several
# replies counts (see settling.py); the row of `opened` is the file's own. Rows carry text, so the
# tables keep their row ids and the random keys live in indices of their own.
_SCHEMA = f"""
CREATE TABLE calls ({_CALL},
    text TEXT NOT NULL,
    model TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    latency_s REAL NOT NULL,
    attempts INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    UNIQUE (key)
);
CREATE TABLE sent (id INTEGER PRIMARY KEY, {_CALL},
    prompt_tokens_bound INTEGER NOT NULL,
    completion_tokens_bound INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    ended TEXT
);
CREATE TABLE dead ({_CALL},
    status INTEGER,
    code TEXT,
    message TEXT NOT NULL
);
CREATE TABLE revived ({_CALL});
CREATE TABLE opened (turn INTEGER NOT NULL);
CREATE TABLE prompts (sha256 TEXT PRIMARY KEY, content BLOB NOT NULL);
CREATE INDEX calls_by_chain ON calls (dataset, chain);
CREATE INDEX sent_by_chain ON sent (dataset, chain);
PRAGMA user_version = {_VERSION};
"""


def files_of(folder: Path) -> list[Path]:
    """Return the files of all writers, by name."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Return a connection to a writer's own file, which is made where it is absent.

    Raises:
        StoreError: If it cannot be opened or is no journal of this version.
    """
    with translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The thread that commits is not the one that opens.
        db = sqlite3.connect(
            path, timeout=_BUSY_TIMEOUT_S, check_same_thread=False, isolation_level=None
        )
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            if not _has_tables(db, path):
                db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except (sqlite3.Error, StoreError):
            db.close()
            raise
        return db


@contextmanager
def opened_for_reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open any writer's file; None where its writer was killed before it made the tables.

    Raises:
        StoreError: If it is no journal of this version.
    """
    # Not read-only: the log of a writer that was killed must be played back by its reader.
    with (
        translated(path),
        closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as db,
    ):
        yield db if _has_tables(db, path) else None


def opened_files(folder: Path) -> Iterator[tuple[Path, sqlite3.Connection]]:
    """Yield the files of all writers, one after another, each with a connection to it.

    Raises:
        StoreError: If one is no journal of this version.
    """
    for file in files_of(folder):
        with opened_for_reading(file) as db:
            if db is not None:
                yield file, db


def _has_tables(db: sqlite3.Connection, path: Path) -> bool:
    # One statement, so that both are of one moment: another process may be making the tables.
    version, n_tables = db.execute(
        "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
    ).fetchone()
    if version == _VERSION:
        return True
    if n_tables:
        raise StoreError(
            f"{path}: a journal of version {version}, this package writes version {_VERSION}; "
            "go on with the package that wrote it, or start a new run directory"
        )
    return False


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of the disk and of SQLite into a StoreError that names the file."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path}: cannot be used as a journal of replies: {error}") from error


def pack(prompt: Prompt) -> bytes:
    """Return a prompt as it is stored: JSON, compressed where that pays."""
    content = json.dumps(prompt.told, ensure_ascii=False).encode("utf-8", "surrogatepass")
    # JSON begins with a bracket and zlib's streams never do, so no flag is needed.
    return content if len(content) < _COMPRESS_FROM_BYTES else zlib.compress(content, 1)


def unpack(content: bytes) -> Prompt:
    """Return the prompt that `pack` stored."""
    plain = content if content[:1] == b"[" else zlib.decompress(content)
    return Prompt(*json.loads(plain.decode("utf-8", "surrogatepass")))
