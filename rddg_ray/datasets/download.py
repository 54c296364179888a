"""Download a file so that nothing but the right file ever gets its name."""

from __future__ import annotations

import http.client
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from rddg_ray.errors import ConfigError, DataError

SCHEMES = ("http", "https", "file")
TIMEOUT_S = 60.0
"""Longest wait for the server's next bytes."""
MAX_BYTES = 64 * 2**20
"""Largest download, far above any file of the catalog."""
_CHUNK_BYTES = 2**16


def without_secrets(url: str) -> str:
    """Return a URL for messages.

    Args:
        url: Any URL.

    Returns:
        The URL without user, password, query and fragment: those may hold a key.
    """
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "(a malformed url)"
    place = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, place, parts.path, "", ""))


def download(url: str, destination: Path, check: Callable[[bytes], bytes]) -> bytes:
    """Download to a temporary file, check the bytes, and only then give the file its name.

    Args:
        url: Where from; http, https or file.
        destination: Where to; its folder is made. Two downloads of the same file at once do
            no harm: each replaces the whole file.
        check: Returns the bytes, or raises where they are not the right ones.

    Returns:
        The bytes.

    Raises:
        ConfigError: If the folder cannot be made or written.
        DataError: If the download fails, is larger than `MAX_BYTES`, or `check` raises it; then
            nothing of it is left in the folder.
    """
    with _temporary_file(destination.parent) as (temporary, path), closing(_chunks(url)) as chunks:
        for chunk in chunks:
            temporary.write(chunk)
        temporary.close()
        data = check(path.read_bytes())
        path.replace(destination)
    return data


@contextmanager
def _temporary_file(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Open a new file in `folder`; what is not renamed by the end is removed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.NamedTemporaryFile(  # noqa: SIM115  # closed and removed below
            dir=folder, prefix=".download-", delete=False
        )
    except OSError as error:
        raise ConfigError(
            f"cannot write to the cache {folder} ({error.strerror}); give another cache_dir"
        ) from error
    path = Path(temporary.name)
    try:
        yield temporary, path
    finally:
        temporary.close()
        path.unlink(missing_ok=True)


def _chunks(url: str) -> Generator[bytes]:
    n_bytes = 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            while chunk := response.read(_CHUNK_BYTES):
                n_bytes += len(chunk)
                if n_bytes > MAX_BYTES:
                    raise DataError(
                        f"{without_secrets(url)} sends more than {MAX_BYTES} bytes, far more "
                        f"than any file of the catalog; check the url"
                    )
                yield chunk
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(
            f"{without_secrets(url)} answered {error.code} {error.reason}; check the url"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(f"cannot download {without_secrets(url)}: {reason}") from error
