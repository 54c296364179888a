"""The run directory: what a run is, who drives it, and which files are published."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, unquote

import pandas as pd
import pyarrow.parquet as pq

from rddg_ray.config import RunSettings
from rddg_ray.errors import StoreError
from rddg_ray.table import Table

_RUN, _LEASE, _MANIFEST, _STAGING = "run.json", "LEASE", "_manifest.json", ".staging"
_PACKAGES = (
    "rddg-ray", "ray", "numpy", "pandas", "pyarrow", "scipy", "torch", "openai", "scikit-learn",
    "xgboost", "lightgbm", "catboost", "imbalanced-learn",
)  # fmt: skip


class RunDirectory:
    """One run on disk, held by one driver at a time.

    Everything but journals is written to a temporary name and moved into place, and readers
    trust the manifest, not a listing; so a kill at any moment leaves a run that can go on.
    """

    def __init__(self, path: Path) -> None:
        """Name the directory; nothing is touched before `open`."""
        self.path = path.absolute()
        self._lease: TextIO | None = None
        self.epoch = 0

    @property
    def journal(self) -> Path:
        """Return the folder of replies."""
        return self.path / "journal"

    def open(self, settings: RunSettings, tables: Mapping[str, Table]) -> None:
        """Take the lease and check that the directory holds this run, or start it.

        Args:
            settings: What is to be run.
            tables: Training rows by data set, whose content must be what it was.

        Raises:
            StoreError: If another driver holds the run, or a setting or table that would
                change rows is not what it was; the message names it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lease = (self.path / _LEASE).open("a+", encoding="utf-8")
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be a run directory: {error}") from error
        self._take_lease(lease)
        content = {name: _table_record(settings, name, table) for name, table in tables.items()}
        before = self.read_run() if (self.path / _RUN).exists() else None
        self.epoch = 1 + max(_epoch(lease), int((before or {}).get("epoch", 0)))
        if before is not None:
            self._check_same(before, settings, content)
        self._sign_lease(lease)
        self._clear_staging()
        record = {
            "fingerprint": settings.fingerprint(),
            "settings": _with_whole_paths(settings).model_dump(mode="json"),
            "row_settings": settings.row_settings(),
            "tables": {**(before or {}).get("tables", {}), **content},
            "versions": _versions(),
            "started_unix_s": (before or {}).get("started_unix_s", time.time()),
            "epoch": self.epoch,
        }
        write_json(self.path / _RUN, record)

    def read_run(self) -> dict[str, Any]:
        """Return run.json.

        Raises:
            StoreError: If it is absent or not what a run wrote.
        """
        record = _read_json(self.path / _RUN)
        if lacking := sorted({"fingerprint", "row_settings", "tables"} - record.keys()):
            raise StoreError(f"{self.path / _RUN}: {lacking[0]!r} is missing; is this a run's?")
        return record

    def _take_lease(self, lease: TextIO) -> None:
        # The kernel drops this lock when the process dies, however it dies.
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(lease)
            lease.close()
            raise StoreError(
                f"{self.path}: another driver ({holder}) holds this run; wait for it or stop it"
            ) from error
        self._lease = lease

    def _sign_lease(self, lease: TextIO) -> None:
        lease.seek(0)
        lease.truncate()
        holder = {"epoch": self.epoch, "pid": os.getpid(), "host": socket.gethostname()}
        lease.write(json.dumps(holder))
        lease.flush()
        os.fsync(lease.fileno())

    def check_tables(self, tables: Mapping[str, Table]) -> None:
        """Make sure that training rows are those the run was made with.

        Raises:
            StoreError: If a table's rows, columns, target or rare class have changed.
        """
        before = self.read_run()["tables"]
        for name, table in tables.items():
            if before[name]["content_sha256"] != content_sha256(table):
                raise StoreError(
                    f"{self.path}: table {name!r} is not what it was when the run was made; "
                    "put the old file back, or run anew in another directory"
                )

    def _check_same(
        self, before: Mapping[str, Any], settings: RunSettings, tables: Mapping[str, Any]
    ) -> None:
        changed = _differences(before["row_settings"], settings.row_settings())
        for name in sorted(tables.keys() & before["tables"].keys()):
            changed += _table_changes(name, before["tables"][name], tables[name])
        if changed:
            raise StoreError(
                f"{self.path}: holds a run with other settings or tables: {'; '.join(changed)}. "
                "Change them back, or choose another run directory (--run-dir of rddg generate, "
                "--output of rddg run)"
            )

    def _clear_staging(self) -> None:
        shutil.rmtree(self.path / _STAGING, ignore_errors=True)

    def close(self) -> None:
        """Give the lease back; calling twice is harmless."""
        if self._lease is not None:
            self._clear_staging()
            self._lease.close()
            self._lease = None

    def manifest(self) -> dict[str, Any]:
        """Return what is published: `{"rows": {"<dataset>/<method>": {...}}, "rejects": ...}`."""
        path = self.path / _MANIFEST
        return _read_json(path) if path.exists() else {}

    def publish(self, kind: str, key: str, staged: Sequence[Path]) -> None:
        """Move staged Parquet files in place of those a manifest entry names.

        Args:
            kind: See `runtime.replaying.kinds_of`.
            key: The entry; see `entry_key`.
            staged: Verified files.
        """
        folder, names, n_rows = f"{kind}/{partition(key)}", [], 0
        for number, file in enumerate(staged):
            n_rows += pq.read_metadata(file).num_rows
            # The epoch keeps a new file from the name of one that readers still use.
            names.append(f"{folder}/e{self.epoch}-{number:05d}.parquet")
            (self.path / folder).mkdir(parents=True, exist_ok=True)
            file.replace(self.path / names[-1])
        entry = {"folder": folder, "files": names, "n_rows": n_rows}
        self._add_to_manifest(kind, {key: entry})
        self._sweep(entry)

    def record_chains(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Add what became of chains whose rows are published."""
        self._add_to_manifest("chains", entries)

    def record_spending(self, record: Mapping[str, Any]) -> None:
        """Say what all starts of the run spent; see `runtime.spending`."""
        self._add_to_manifest("spending", record)

    def _add_to_manifest(self, kind: str, entries: Mapping[str, Mapping[str, Any]]) -> None:
        manifest = self.manifest()
        manifest[kind] = {**manifest.get(kind, {}), **entries}
        write_json(self.path / _MANIFEST, manifest)

    def _sweep(self, entry: Mapping[str, Any]) -> None:
        """Delete files of a partition that the manifest does not name any more."""
        kept = {self.path / file for file in entry["files"]}
        for file in (self.path / entry["folder"]).glob("*.parquet"):
            if file not in kept:
                file.unlink()

    def staging(self, name: str) -> Path:
        """Return an empty folder for files that are not published yet."""
        folder = self.path / _STAGING / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def made_by(self, dataset: str, method: str, generator_state: int) -> dict[str, Any]:
        """Return the rows by class that each published chain made, by the chain's name."""
        chains = self.manifest().get("chains", {}).values()
        records = [entry["outcome"] for entry in chains]
        source = (dataset, method, generator_state)
        return {
            f"{record['spec']['index']}": record["accepted"]
            for record in records
            if tuple(record["spec"][k] for k in ("dataset", "method", "generator_state")) == source
        }

    def parts(self, kind: str) -> list[tuple[str, str]]:
        """Return the data sets and methods of which files of a kind are published, in order."""
        return sorted(map(dataset_and_method, self.manifest().get(kind, {})))

    def read_published(self, kind: str, dataset: str, method: str) -> pd.DataFrame | None:
        """Return the published rows (or rejects) of a data set and method, or None."""
        entry = self.manifest().get(kind, {}).get(entry_key(dataset, method))
        if entry is None:
            return None
        frames = [pd.read_parquet(self.path / file) for file in entry["files"]]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def dataset_and_method(key: str) -> tuple[str, str]:
    """Return what `entry_key` made a manifest's key of."""
    dataset, method = key.split("/")
    return unquote(dataset), unquote(method)


def entry_key(dataset: str, method: str) -> str:
    """Return the manifest's key of a data set and method; both quoted as in a URL."""
    return f"{quote(dataset, safe='')}/{quote(method, safe='')}"


def partition(key: str) -> str:
    """Return the folder, below its kind's, of a manifest entry."""
    dataset, method = key.split("/")
    return f"dataset={dataset}/method={method}"


def check_visible(path: Path) -> None:
    """Make sure that this machine sees a run directory that another one started.

    Raises:
        StoreError: If it does not; replies written here would be lost.
    """
    if not (path / _RUN).is_file():
        raise StoreError(
            f"{path}: the run directory is not there on node {socket.gethostname()}; on several "
            "machines it must lie on a file system that all of them share"
        )


def content_sha256(table: Table) -> str:
    """Return the hash of a table's cells, row ids, schema, target and rare class, as 64 digits."""
    hashed = pd.util.hash_pandas_object(table.frame, index=True).to_numpy().tobytes()
    described = repr((table.schema, table.target, table.rare_class)).encode()
    return hashlib.sha256(described + hashed).hexdigest()


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a Parquet file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    frame.to_parquet(temporary, index=False)
    temporary.replace(path)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StoreError(f"{path}: cannot be read: {error}; is this a run directory?") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path}: expected a JSON object")
    return content


def _epoch(lease: TextIO) -> int:
    """Return the epoch of the last driver; 0 for none, or for one killed while it signed."""
    lease.seek(0)
    try:
        return int(json.loads(lease.read())["epoch"])
    except (ValueError, TypeError, KeyError):
        return 0


def _holder(lease: TextIO) -> str:
    lease.seek(0)
    try:
        record = json.loads(lease.read())
        return f"process {record['pid']} on {record['host']}"
    except (ValueError, TypeError, KeyError):
        return "which has just started"


def _with_whole_paths(settings: RunSettings) -> RunSettings:
    """Return settings whose tables are found from any working directory."""
    keys = ("path", "test_path", "metadata")
    tables = []
    for entry in settings.tables:
        given = {key: getattr(entry, key) for key in keys if getattr(entry, key) is not None}
        # A table in memory has a name where others have a path.
        whole = {
            key: type(value)(Path(value).absolute())
            for key, value in given.items()
            if Path(value).exists()
        }
        tables.append(entry.model_copy(update=whole))
    return settings.model_copy(update={"tables": tuple(tables)})


def _table_changes(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    # Where a file lies, or what it is called, changes no row as long as it says the same.
    if before["content_sha256"] == now["content_sha256"]:
        return []
    changed = _differences(before["settings"], now["settings"], f"tables.{name}.")
    rows = f"the rows or columns of table {name!r} are not what they were"
    return changed or [f"{rows} ({before['n_rows']} rows then, {now['n_rows']} now)"]


def _table_record(settings: RunSettings, name: str, table: Table) -> dict[str, Any]:
    own = next(entry for entry in settings.tables if entry.label == name)
    return {
        "settings": own.model_dump(mode="json"),
        "content_sha256": content_sha256(table),
        "n_rows": len(table),
    }


def _differences(before: object, now: object, prefix: str = "") -> list[str]:
    """Return `key: old -> new` for every leaf that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for key in sorted(before.keys() | now.keys())
            for line in _differences(before.get(key), now.get(key), f"{prefix}{key}.")
        ]
    return [] if before == now else [f"{prefix.rstrip('.')}: {before!r} -> {now!r}"]


def _versions() -> dict[str, str]:
    return {package: version(package) for package in _PACKAGES}
