"""Which of several replies to one call counts, and the lock that makes it so for all.

Two processes may ask the same call: one that was replaced may live on, and its reply may land
when its successor has asked again. Both replies are kept, because both were paid for. What must
hold is that *a reply that a chain was told, or could have read, is the one that every later
reader finds*, else the chain's next prompts are no longer those on record.

The rule, for every reader alike: the reply of the highest turn counts; of equal turns the
earliest, then the one in the first file by name. Turns count processes one after another, by
what they found on record and by no clock:

- A process that opens its file takes a turn above all processes that opened one before, and
  where it loads a chain, one above every attempt and reply on record of that chain.
- An attempt is on record before it goes out. So the successor of a process that had sent a call
  has a higher turn than that, and it knows the call for contested.
- The reply to a contested call is recorded while nobody reads (`settling`). If another reply has
  landed by then, that one counts: it is told, and the new one is recorded as `SPARE`, which
  counts against nothing. If none has, the new one counts, for ever: what lands later has a lower
  turn. Nobody can have read the other one in between, because readers hold the lock (`steady`).

A chain that is asked to go on elsewhere is given up first by whoever held it, and a driver that
was replaced is fenced off, so that neither sends after its successor has loaded.

Limits: a process that does send after its successor has loaded (it is out of reach, yet alive)
contests a call without its successor's knowledge. The later reply still loses for every reader
from then on; but one who reads between the two replies reads the one that loses. And the lock
is the file system's own (`flock`): writers and readers of a run must see each other's locks.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rddg_ray.errors import StoreError

SPARE = 0
"""The turn of a reply that was paid for and counts against no other."""

_LOCK = "settling.lock"


def make_lock(folder: Path) -> None:
    """Make the lock's file, so that readers need not write.

    Raises:
        StoreError: If it cannot be made.
    """
    try:
        os.close(os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644))
    except OSError as error:
        raise _unusable(folder, error) from error


@contextmanager
def settling(folder: Path) -> Iterator[None]:
    """Wait until nobody reads and keep it so; never on a thread that others' progress needs.

    Raises:
        StoreError: If the lock cannot be taken.
    """
    with _locked(folder, os.O_RDWR, fcntl.LOCK_EX):
        yield


@contextmanager
def steady(folder: Path) -> Iterator[None]:
    """Read while no contested call is being settled; many may at once.

    Raises:
        StoreError: If the lock cannot be taken.
    """
    if not (folder / _LOCK).exists():  # no writer has opened a file here yet
        yield
        return
    with _locked(folder, os.O_RDONLY, fcntl.LOCK_SH):
        yield


@contextmanager
def _locked(folder: Path, flags: int, operation: int) -> Iterator[None]:
    try:
        lock = os.open(folder / _LOCK, flags)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        try:
            fcntl.flock(lock, operation)
        except OSError as error:
            raise _unusable(folder, error) from error
        yield
    finally:
        os.close(lock)  # which gives the lock back, as a kill does


def _unusable(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{folder / _LOCK}: cannot be locked: {error.strerror}; the run directory must be on a "
        "disk that can lock files (flock)"
    )
