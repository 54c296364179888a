"""Checks of the run directory's disk: space, kind of file system, and how long a commit takes."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from rddg_ray.errors import StoreError
from rddg_ray.runtime.doctor.record import Check, failed, ok, warning

# SQLite's write-ahead log needs shared memory and locks that these do not have.
_NETWORK = frozenset(
    (
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs", "fuse.sshfs", "fuse.s3fs",
        "fuse.gcsfuse", "fuse.rclone", "fuse.goofys", "fuse.mount-s3", "fuse.juicefs",
    )
)  # fmt: skip
# Of many machines, or of one and its guest: right for one writer at best.
_SHARED = frozenset(
    ("lustre", "ceph", "glusterfs", "beegfs", "gpfs", "ocfs2", "gfs2", "9p", "virtiofs", "vboxsf")
)
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_ELSEWHERE = "set output (or --output) to a folder on a local disk"

# Prompt, reply, keys and indexes of a call against the characters of prompt and reply; the
# published rows and rejects come on top and are smaller.
_BYTES_PER_TOKEN = 4 * 2
_LEAST_FREE_BYTES = 2**30
_COMMITS = 9
_SLOW_COMMIT_S = 0.05


def check_folder(output: Path) -> list[Check]:
    """Look at where a run directory is, or will be.

    Three checks: whether the folder can be written, on which file system it is, and how long a
    commit takes.

    Args:
        output: The run directory; it need not exist, and is not made.
    """
    folder = nearest_folder(output)
    error = _unwritable(output, folder)
    if error is not None:
        return [failed("folder", error, _ELSEWHERE)]
    return [
        ok("folder", f"{output.absolute()} can be written", path=str(output.absolute())),
        check_file_system(folder, _mounts()),
        check_commits(folder),
    ]


def nearest_folder(path: Path) -> Path:
    """Return the path, or the first folder above it that exists."""
    path = path.expanduser().absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _unwritable(output: Path, folder: Path) -> StoreError | None:
    if not folder.is_dir():
        return StoreError(f"{output}: {folder} is a file, not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        return StoreError(f"{output}: the folder {folder} cannot be written")
    return None


def check_space(output: Path, n_tokens: int | None) -> Check:
    """Compare the free space with what a run's replies take.

    Args:
        output: The run directory.
        n_tokens: Tokens of the run's calls, or None where they are not known.
    """
    free = shutil.disk_usage(nearest_folder(output)).free
    needed = None if n_tokens is None else n_tokens * _BYTES_PER_TOKEN
    figure = f"{_size(free)} free"
    if needed is not None:
        figure += f", the run's replies take about {_size(needed)}"
    data = {"free_bytes": free, "needed_bytes": needed}
    if needed is not None and free < needed:
        advice = "make room, or set output to another disk; a full disk stops a run"
        return failed("space", StoreError(f"{output}: {figure}"), advice, **data)
    if free < max(_LEAST_FREE_BYTES, 2 * (needed or 0)):
        return warning("space", figure, "make room: Ray and the classifiers need some, too", **data)
    return ok("space", figure, **data)


def check_file_system(folder: Path, mounts: str | None) -> Check:
    """Say on which kind of file system a folder is, and whether the journal can be there.

    Args:
        folder: An existing folder.
        mounts: Content of `/proc/mounts`, or None where the system has none.
    """
    found = None if mounts is None else file_system_of(folder.resolve(), mounts)
    if found is None:
        return ok("file system", f"not known on {sys.platform}; it must be a local disk")
    kind, mount = found
    figure, data = f"{kind} (mounted at {mount})", {"kind": kind, "mount": mount}
    if kind in _NETWORK:
        error = StoreError(f"{folder} is on a network file system, {figure}")
        advice = f"the journal (SQLite with a write-ahead log) breaks on it: {_ELSEWHERE}"
        return failed("file system", error, advice, **data)
    if kind in _SHARED or kind.startswith("fuse"):
        advice = f"the journal (SQLite) is safe on a local disk only: {_ELSEWHERE} if this is none"
        return warning("file system", figure, advice, **data)
    if kind in _IN_MEMORY:
        advice = f"it is memory: replies are lost when the machine restarts; {_ELSEWHERE}"
        return warning("file system", figure, advice, **data)
    return ok("file system", figure, **data)


def file_system_of(path: Path, mounts: str) -> tuple[str, str] | None:
    """Return kind and mount point of the file system that holds a path, or None.

    Args:
        path: An absolute path without links.
        mounts: Content of `/proc/mounts`: device, mount point, kind and options a line.
    """
    found = None
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        mount = Path(_unescaped(fields[1]))
        # A later mount on the same point hides the earlier one.
        nearer = found is None or len(mount.parts) >= len(Path(found[1]).parts)
        if path.is_relative_to(mount) and nearer:
            found = (fields[2], str(mount))
    return found


def _unescaped(text: str) -> str:
    """Return a mount point as it is: the kernel writes blanks and such in octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _mounts() -> str | None:
    try:
        return Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def check_commits(folder: Path) -> Check:
    """Commit to a journal like a run's in a folder, and say how long a commit takes to be durable.

    Args:
        folder: An existing folder; the small file made in it is removed again.
    """
    try:
        median_s = statistics.median(_commit_times_s(folder))
    except (OSError, sqlite3.Error) as error:
        problem = StoreError(f"{folder}: a journal cannot be kept there: {error}")
        return failed("commit", problem, _ELSEWHERE)
    figure = f"{1000 * median_s:.1f} ms until it is durable (median of {_COMMITS})"
    if median_s > _SLOW_COMMIT_S:
        advice = f"every group of replies waits for one: {_ELSEWHERE} that is faster"
        return warning("commit", figure, advice, median_s=median_s)
    return ok("commit", figure, median_s=median_s)


def _commit_times_s(folder: Path) -> list[float]:
    times_s = []
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".rddg-doctor-") as place,
        closing(sqlite3.connect(Path(place) / "journal.sqlite", isolation_level=None)) as journal,
    ):
        mode = journal.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise sqlite3.OperationalError(f"no write-ahead log is possible, only {mode!r}")
        journal.execute("PRAGMA synchronous=FULL")
        journal.execute("CREATE TABLE replies (text TEXT)")
        for _ in range(_COMMITS):
            started_s = time.perf_counter()
            journal.execute("INSERT INTO replies VALUES (?)", ("0" * 4096,))
            times_s.append(time.perf_counter() - started_s)
    return times_s


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:,.1f} TB"
