"""Get a file from a path, a URL or the cache, and trust it only by its hash."""

from __future__ import annotations

import hashlib
import sys
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from rddg_ray.datasets.download import SCHEMES, download, without_secrets
from rddg_ray.errors import ConfigError, DataError


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set.

    Attributes:
        name: Its usual name.
        sha256: SHA-256 of its bytes, 64 lower-case hexadecimal digits.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Source:
    """All files of a data set.

    Attributes:
        dataset: Name of the data set, also the name of its folder in the cache.
        files: The files.
        homepage: Page named in errors as the place to get them from.
    """

    dataset: str
    files: tuple[SourceFile, ...]
    homepage: str

    @property
    def listing(self) -> str:
        """The number of files and their names, for errors."""
        return f"{len(self.files)} files ({', '.join(file.name for file in self.files)})"


@dataclass(frozen=True)
class Origin:
    """Where the user says a data set's files are.

    Attributes:
        path: A file (for a set of one file), or a folder that holds the files by name.
        url: URL of the file, or of a folder if it ends in `/`; http, https or file.
        cache_dir: Folder for downloads; None for `default_cache_dir()`.
    """

    path: Path | None = None
    url: str | None = None
    cache_dir: Path | None = None


def default_cache_dir() -> Path:
    """Return the folder for downloads by the convention of the platform.

    Returns:
        `~/.cache/rddg_ray/datasets` on Linux, `~/Library/Caches/rddg_ray/datasets` on macOS,
        `~/AppData/Local/rddg_ray/Cache/datasets` on Windows. No setting outside the arguments
        changes it.

    Raises:
        ConfigError: If the user has no home directory.
    """
    try:
        home = Path.home()
    except RuntimeError as error:
        raise ConfigError(f"no home directory for the cache ({error}); give cache_dir") from error
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "rddg_ray" / "datasets"
    if sys.platform == "win32":
        return home / "AppData" / "Local" / "rddg_ray" / "Cache" / "datasets"
    return home / ".cache" / "rddg_ray" / "datasets"


def read_files(source: Source, origin: Origin) -> list[bytes]:
    """Return the bytes of a data set's files, each with the hash of the catalog.

    A path is read where it is. A URL is downloaded into the cache, once. With neither, the
    files must be in the cache already.

    Args:
        source: The files.
        origin: Where they are.

    Returns:
        The bytes of each file, in the order of `source.files`.

    Raises:
        ConfigError: If both a path and a URL are given, the URL is of no known kind, or the
            cache cannot be written.
        DataError: If a file is absent, cannot be downloaded, or has another hash; then nothing
            of it is left in the cache.
    """
    if origin.path is not None and origin.url is not None:
        raise ConfigError(
            f"data set {source.dataset!r}: path ({origin.path}) and url are both given; drop one"
        )
    if origin.path is not None:
        return [_read_path(file, source, origin.path) for file in source.files]
    folder = (origin.cache_dir or default_cache_dir()) / source.dataset
    return [_read_cached(file, source, origin.url, folder) for file in source.files]


def check_hash(data: bytes, file: SourceFile, place: str, homepage: str) -> bytes:
    """Return `data` if its SHA-256 is the one of the catalog.

    Args:
        data: The bytes of the file.
        file: Name and expected hash.
        place: Where the bytes came from, for the error.
        homepage: Where the right file is, for the error.

    Returns:
        `data`.

    Raises:
        DataError: If the hash differs; names the file and both hashes.
    """
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise DataError(
            f"{file.name} from {place} is not the file the catalog knows: expected SHA-256 "
            f"{file.sha256}, found {found} ({len(data)} bytes). Copies on the web are often "
            f"altered; see {homepage}, or load the file as a table of your own"
        )
    return data


def _read_path(file: SourceFile, source: Source, path: Path) -> bytes:
    if path.is_file() and len(source.files) > 1:
        raise DataError(
            f"data set {source.dataset!r} has {source.listing}, but path {path} is one file; "
            f"give the folder that holds them"
        )
    place = path / file.name if path.is_dir() else path
    try:
        data = place.read_bytes()
    except OSError as error:
        raise DataError(
            f"data set {source.dataset!r}: cannot read {place} ({error.strerror}); get "
            f"{file.name} from {source.homepage}"
        ) from error
    return check_hash(data, file, str(place), source.homepage)


def _read_cached(file: SourceFile, source: Source, url: str | None, folder: Path) -> bytes:
    cached = folder / file.name
    if cached.is_file():
        data = cached.read_bytes()
        if hashlib.sha256(data).hexdigest() == file.sha256:
            return data
        # A cache that was tampered with or cut short is worth nothing, and easily refilled.
        cached.unlink()
    if url is None:
        raise DataError(
            f"data set {source.dataset!r} is not shipped with this package and not in the cache "
            f"({cached}). Get {file.name} (SHA-256 {file.sha256}) from {source.homepage} and "
            f"give its path, or give the url of a copy"
        )
    place = _file_url(file, source, url)
    shown = without_secrets(place)
    return download(place, cached, lambda data: check_hash(data, file, shown, source.homepage))


def _file_url(file: SourceFile, source: Source, url: str) -> str:
    if not url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        raise ConfigError(
            f"data set {source.dataset!r}: url {without_secrets(url)!r} must start with one of "
            f"{', '.join(f'{scheme}://' for scheme in SCHEMES)}"
        )
    if url.endswith("/"):
        return url + urllib.parse.quote(file.name)
    if len(source.files) > 1:
        raise ConfigError(
            f"data set {source.dataset!r} has {source.listing}; give the url of the folder that "
            f"holds them, ending in /, not {without_secrets(url)!r}"
        )
    return url
