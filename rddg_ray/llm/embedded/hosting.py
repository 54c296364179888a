"""Ways to keep an embedded server running: in a thread, or in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from rddg_ray.config import EmbeddedSettings
from rddg_ray.llm.embedded.server import EmbeddedServer


@contextlib.contextmanager
def serve_in_thread(
    settings: EmbeddedSettings | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
) -> Iterator[EmbeddedServer]:
    """Run a server in a thread of its own for as long as the context lasts.

    Yields:
        The server, listening; its `base_url` is what clients need.

    Raises:
        ConfigError: If the address cannot be listened on.
    """
    server = EmbeddedServer(settings, host, port, api_key)
    hosted = _Hosted(server)
    hosted.start()
    try:
        yield server
    finally:
        hosted.stop()


class _Hosted:
    """A server with a thread and an event loop of its own."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        # A daemon: a caller that is killed in the middle must not be kept alive by it.
        self._thread = threading.Thread(target=self._run, name="embedded-endpoint", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            # The loop may end by itself between the check and the call.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        await self._server.start()
        self._ready.set()
        try:
            await self._stopping.wait()
        finally:
            await self._server.stop()


def serve(
    host: str,
    port: int,
    settings: EmbeddedSettings,
    *,
    api_key: str | None = None,
    on_start: Callable[[str], None] | None = None,
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM.

    Args:
        host: Address to listen on.
        port: Port to listen on, 0 for any free one.
        settings: Random state, flaws, latency and injected errors.
        api_key: Key that requests must carry, or None to ask for none.
        on_start: Called with the base URL once the server listens.

    Raises:
        ConfigError: If the address cannot be listened on.
    """
    asyncio.run(_serve_until_signal(EmbeddedServer(settings, host, port, api_key), on_start))


async def _serve_until_signal(
    server: EmbeddedServer, on_start: Callable[[str], None] | None
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    await server.start()
    try:
        for name in (signal.SIGINT, signal.SIGTERM):
            # Windows has no such handlers; there an interrupt ends `asyncio.run` by itself.
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(name, stopping.set)
        if on_start is not None:
            on_start(server.base_url)
        await stopping.wait()
    finally:
        await server.stop()
