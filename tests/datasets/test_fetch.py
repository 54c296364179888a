"""Files are trusted by their hash only; downloads go over a real server on loopback."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rddg_ray.datasets.download import MAX_BYTES
from rddg_ray.datasets.fetch import (
    Origin,
    Source,
    SourceFile,
    default_cache_dir,
    read_files,
)
from rddg_ray.errors import ConfigError, DataError

DATA = b"a,b\n1,2\n"
MORE = b"a,b\n3,4\n"


def source_file(name: str, data: bytes) -> SourceFile:
    return SourceFile(name, hashlib.sha256(data).hexdigest())


ONE = Source("toy", (source_file("toy.csv", DATA),), "https://example.org/toy")
TWO = Source(
    "pair",
    (source_file("one.csv", DATA), source_file("two.csv", MORE)),
    "https://example.org/pair",
)


@dataclass
class Web:
    """A server on loopback, with what it serves and what it was asked for."""

    url: str
    pages: dict[str, bytes]
    asked: list[str] = field(default_factory=list)
    short_by: int = 0
    """Bytes of each answer that are promised but never sent."""


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("no_proxy", "*")  # a proxy of the machine must not see loopback

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            body = state.pages.get(self.path.partition("?")[0])
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) - state.short_by])

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Web(f"http://127.0.0.1:{server.server_port}", {"/toy.csv": DATA})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def files_under(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_download_is_kept_and_not_repeated(web: Web, tmp_path: Path) -> None:
    origin = Origin(url=f"{web.url}/toy.csv", cache_dir=tmp_path)
    assert read_files(ONE, origin) == [DATA]
    assert read_files(ONE, origin) == [DATA]
    assert web.asked == ["/toy.csv"]
    assert files_under(tmp_path) == ["toy.csv"]


def test_a_kept_download_needs_no_url(web: Web, tmp_path: Path) -> None:
    read_files(ONE, Origin(url=f"{web.url}/toy.csv", cache_dir=tmp_path))
    assert read_files(ONE, Origin(cache_dir=tmp_path)) == [DATA]


def test_an_altered_download_is_refused_and_leaves_nothing(web: Web, tmp_path: Path) -> None:
    web.pages["/toy.csv"] = b"a,b\n1,3\n"
    with pytest.raises(DataError) as caught:
        read_files(ONE, Origin(url=f"{web.url}/toy.csv", cache_dir=tmp_path))
    message = str(caught.value)
    assert "toy.csv" in message
    assert hashlib.sha256(DATA).hexdigest() in message
    assert hashlib.sha256(b"a,b\n1,3\n").hexdigest() in message
    assert files_under(tmp_path) == []


def test_a_download_cut_short_is_refused_and_leaves_nothing(web: Web, tmp_path: Path) -> None:
    web.short_by = 3
    with pytest.raises(DataError):
        read_files(ONE, Origin(url=f"{web.url}/toy.csv", cache_dir=tmp_path))
    assert files_under(tmp_path) == []


def test_a_page_that_is_not_there_names_the_url_and_the_status(web: Web, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"127\.0\.0\.1:\d+/gone\.csv answered 404"):
        read_files(ONE, Origin(url=f"{web.url}/gone.csv", cache_dir=tmp_path))
    assert files_under(tmp_path) == []


def test_a_download_larger_than_any_catalogued_file_is_stopped(web: Web, tmp_path: Path) -> None:
    web.pages["/toy.csv"] = bytes(MAX_BYTES + 1)
    with pytest.raises(DataError, match="sends more than"):
        read_files(ONE, Origin(url=f"{web.url}/toy.csv", cache_dir=tmp_path))
    assert files_under(tmp_path) == []


def test_a_server_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot download http://127\.0\.0\.1:1/toy\.csv"):
        read_files(ONE, Origin(url="http://127.0.0.1:1/toy.csv", cache_dir=tmp_path))


def test_a_key_in_a_url_stays_out_of_the_error(web: Web, tmp_path: Path) -> None:
    address = web.url.removeprefix("http://")
    web.pages["/toy.csv"] = b"other"
    url = f"http://{address}/toy.csv?token=hunter2"
    with pytest.raises(DataError) as caught:
        read_files(ONE, Origin(url=url, cache_dir=tmp_path))
    assert "hunter2" not in str(caught.value)
    assert web.asked == ["/toy.csv?token=hunter2"]
    with pytest.raises(ConfigError) as refused:
        read_files(ONE, Origin(url="ftp://me:hunter2@example.org/x", cache_dir=tmp_path))
    assert "hunter2" not in str(refused.value)


def test_a_folder_url_gives_every_file_of_a_set(web: Web, tmp_path: Path) -> None:
    web.pages.update({"/data/one.csv": DATA, "/data/two.csv": MORE})
    origin = Origin(url=f"{web.url}/data/", cache_dir=tmp_path)
    assert read_files(TWO, origin) == [DATA, MORE]
    assert files_under(tmp_path) == ["one.csv", "two.csv"]


def test_a_file_url_is_read_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "toy.csv"
    file.write_bytes(DATA)
    cache = tmp_path / "cache"
    assert read_files(ONE, Origin(url=file.as_uri(), cache_dir=cache)) == [DATA]
    assert files_under(cache) == ["toy.csv"]


def test_a_damaged_file_in_the_cache_is_replaced(web: Web, tmp_path: Path) -> None:
    origin = Origin(url=f"{web.url}/toy.csv", cache_dir=tmp_path)
    read_files(ONE, origin)
    (tmp_path / "toy" / "toy.csv").write_bytes(b"damaged")
    assert read_files(ONE, origin) == [DATA]
    assert len(web.asked) == 2


def test_a_local_path_is_read_in_place_under_any_name(tmp_path: Path) -> None:
    file = tmp_path / "renamed.csv"
    file.write_bytes(DATA)
    cache = tmp_path / "cache"
    assert read_files(ONE, Origin(path=file, cache_dir=cache)) == [DATA]
    assert not cache.exists()


def test_a_folder_gives_its_files_by_name(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_bytes(DATA)
    (tmp_path / "two.csv").write_bytes(MORE)
    assert read_files(TWO, Origin(path=tmp_path)) == [DATA, MORE]


def test_an_altered_local_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "toy.csv"
    file.write_bytes(DATA + b"\n")
    with pytest.raises(DataError, match="expected SHA-256"):
        read_files(ONE, Origin(path=file))
    assert file.exists()


def test_a_file_nowhere_names_where_to_get_it(tmp_path: Path) -> None:
    for origin in (Origin(cache_dir=tmp_path), Origin(path=tmp_path / "no.csv")):
        with pytest.raises(DataError, match=r"https://example\.org/toy"):
            read_files(ONE, origin)


def test_contradictory_or_unusable_origins_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="both given"):
        read_files(ONE, Origin(path=tmp_path, url="https://example.org/toy.csv"))
    with pytest.raises(ConfigError, match="must start with one of http://"):
        read_files(ONE, Origin(url="toy.csv", cache_dir=tmp_path))
    with pytest.raises(DataError, match="a malformed url"):
        read_files(ONE, Origin(url="http://[::1/toy.csv", cache_dir=tmp_path))
    with pytest.raises(ConfigError, match="2 files"):
        read_files(TWO, Origin(url="http://127.0.0.1:1/one.csv", cache_dir=tmp_path))
    (tmp_path / "one.csv").write_bytes(DATA)
    with pytest.raises(DataError, match="is one file"):
        read_files(TWO, Origin(path=tmp_path / "one.csv"))


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot write to the cache"):
        read_files(ONE, Origin(url="http://127.0.0.1:1/x", cache_dir=tmp_path / "taken"))


def test_the_default_cache_lies_under_the_home_directory() -> None:
    folder = default_cache_dir()
    assert folder.is_relative_to(Path.home())
    assert "rddg_ray" in folder.parts
