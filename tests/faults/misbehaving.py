"""An HTTP server between a run and the embedded sampler that answers as bad servers do."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
from aiohttp import web

from rddg_ray.config import EmbeddedSettings
from rddg_ray.llm.embedded.bodies import completion_body
from rddg_ray.llm.embedded.enforcement import Enforcer
from rddg_ray.llm.embedded.replying import reply
from rddg_ray.llm.embedded.requests import read_request

MEGABYTE = 2**20
CALL_HEADER = "x-rddg-call"
Fault = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


class MisbehavingServer:
    """Gives the embedded sampler's replies, and faults instead of some of them.

    Which attempts of which calls go wrong follows from the random state, the call's name and
    the attempt's number alone, whatever the order in which requests arrive.

    Args:
        faults: Names in `FAULTS`; each wrong answer is one of these, evenly.
        share: Share of attempts that go wrong.
        settings: The sampler's, and limits that are enforced on every request.
        random_state: Seeds the choice of attempts and faults.

    Attributes:
        share: As given; may be set while the server runs.
        arrivals: Requests by the name of their call.
        answers: Sane replies, and odd ones in a sane envelope, by the name of their call.
        n_faults: Wrong answers by fault.
        n_over_limits: Requests beyond the limits.
        most_in_flight: Requests at once, those whose client had hung up left out.
        keys: Authorization headers seen.
        prompts: What the user's message of each request said, in order of arrival.
    """

    def __init__(
        self,
        *faults: str,
        share: float = 1.0,
        settings: EmbeddedSettings | None = None,
        random_state: int = 0,
    ) -> None:
        self.share = share
        self.arrivals: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.n_faults: Counter[str] = Counter()
        self.n_over_limits = 0
        self.most_in_flight = 0
        self.keys: set[str] = set()
        self.prompts: list[str] = []
        self.base_url = ""
        self._faults = faults
        self._settings = settings or EmbeddedSettings()
        self._enforcer = Enforcer(self._settings)
        self._random_state = random_state
        self._in_flight: list[web.Request] = []

    @property
    def n_requests(self) -> int:
        """Return how many requests arrived."""
        return self.arrivals.total()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat request, one way or another."""
        self._in_flight.append(request)
        self.most_in_flight = max(self.most_in_flight, sum(map(_is_open, self._in_flight)))
        try:
            return await self._answer(request)
        finally:
            self._in_flight.remove(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        call = request.headers.get(CALL_HEADER, "")
        attempt = self.arrivals[call]
        self.arrivals[call] += 1
        self.keys.add(request.headers.get("Authorization", ""))
        chat = read_request(await request.read())
        self.prompts.append(chat.messages[-1][1])
        admission = self._enforcer.admit(time.monotonic(), chat.prompt_tokens, chat.max_tokens)
        if admission.retry_after_s is not None:
            self.n_over_limits += 1
            wait_s = str(math.ceil(admission.retry_after_s))
            return _refusal(429, headers={"Retry-After": wait_s})
        body = completion_body(chat, reply(chat.messages, self._settings), self.n_requests)
        fault = self._fault(call, attempt)
        if fault is not None:
            self.n_faults[fault] += 1
        if fault is None or fault in ODD_REPLIES:
            self.answers[call] += 1
        await asyncio.sleep(self._settings.latency_s)
        return web.json_response(body) if fault is None else await FAULTS[fault](request, body)

    def _fault(self, call: str, attempt: int) -> str | None:
        rng = np.random.default_rng([self._random_state, zlib.crc32(call.encode()), attempt])
        if rng.random() >= self.share:
            return None
        return str(rng.choice(list(self._faults)))


@contextlib.contextmanager
def serving(server: MisbehavingServer) -> Iterator[MisbehavingServer]:
    """Run a server in a thread of its own for as long as the context lasts."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def main() -> None:
        application = web.Application(client_max_size=64 * MEGABYTE)
        application.router.add_post("/v1/chat/completions", server.chat)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()
        await stopping.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()


def _is_open(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def _refusal(
    status: int, code: str | None = None, headers: dict[str, str] | None = None, message: str = ""
) -> web.Response:
    error = {"message": message or f"Status {status}.", "type": "error", "code": code}
    return web.json_response({"error": error}, status=status, headers=headers or {})


def _refused(status: int, code: str | None = None, headers: dict[str, str] | None = None) -> Fault:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return _refusal(status, code, headers)

    return answer


def _page(status: int) -> Fault:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        text = "<!DOCTYPE html><html><body><h1>Sign in</h1></body></html>"
        return web.Response(status=status, text=text, content_type="text/html")

    return answer


def _json(make: Callable[[dict[str, Any]], Any]) -> Fault:
    """Return a fault that changes the reply's JSON (or its text, where that is what it makes)."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        made = make(body)
        text = made if isinstance(made, str) else json.dumps(made)
        return web.Response(text=text, content_type="application/json")

    return answer


def _said(make: Callable[[str], str]) -> Fault:
    """Return a fault that changes what the model said."""

    def change(body: dict[str, Any]) -> dict[str, Any]:
        message = body["choices"][0]["message"]
        message["content"] = make(message["content"])
        return body

    return _json(change)


def _raw(make: Callable[[bytes], bytes], *, reset: bool = False) -> Fault:
    """Return a fault that writes bytes of its own to the connection and ends it."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        transport = request.transport
        if transport is not None:
            transport.write(make(json.dumps(body).encode()))
            await asyncio.sleep(0.01)  # what is written goes out before a reset
            _hang_up(transport, reset)
        return web.Response()

    return answer


def _hang_up(transport: asyncio.Transport, reset: bool) -> None:
    if reset:
        # Closed with a linger of 0 s, a connection ends with a reset instead of a farewell.
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    else:
        transport.close()


def _head(n_bytes: int) -> bytes:
    return (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"Content-Length: {n_bytes}\r\n\r\n"
    ).encode()


def _echo(make: Callable[[str], web.Response]) -> Fault:
    """Return a fault that tells the client its own Authorization header, and forms of it."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        coded = base64.b64encode(given.encode()).decode()
        return make(f"Refused: Authorization={given} ({quote(given, safe='')}, {coded})")

    return answer


def _page_of(text: str) -> web.Response:
    page = f"<html><body><pre>{text}</pre></body></html>"
    return web.Response(text=page, content_type="text/html")


def _error_of(text: str) -> web.Response:
    return web.json_response({"error": {"message": text, "code": 502}})


async def _silence(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    while _is_open(request):
        await asyncio.sleep(0.02)
    return web.Response()


async def _trickle(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Send a byte now and then: each read is in time, and the reply never ends."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        for byte in json.dumps(body).encode():
            await response.write(bytes([byte]))
            await asyncio.sleep(0.05)
            if not _is_open(request):
                break
    return response


async def _in_pieces(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Send the whole reply in pieces that tear characters apart."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    data = json.dumps(body, ensure_ascii=False).encode()
    step = max(1, len(data) // 40) | 1
    for start in range(0, len(data), step):
        await response.write(data[start : start + step])
        await asyncio.sleep(0.001)
    return response


def _repeated(text: str) -> Callable[[str], str]:
    return lambda said: text * (MEGABYTE // len(text))


PROSE = "I am sorry, but as a careful assistant I would rather talk about tables in general."
WRONG_COLUMNS = "name,city\n" + "Ann,Oslo\nBob,Rome\n" * 8
UPSTREAM = {"error": {"message": "The provider behind this router is away.", "code": 502}}

FAULTS: dict[str, Fault] = {
    "429": _refused(429, "rate_limit_exceeded"),
    "429 with Retry-After": _refused(429, "rate_limit_exceeded", {"Retry-After": "1"}),
    "429 with a moment": _refused(429, "rate_limit_exceeded", {"retry-after-ms": "30"}),
    "429 of a quota": _refused(429, "insufficient_quota"),
    "408": _refused(408),
    "409": _refused(409),
    "500": _refused(500, "server_error"),
    "503": _refused(503, None, {"Retry-After": "0"}),
    "503 page": _page(503),
    "400 context": _refused(400, "context_length_exceeded"),
    "400 filter": _refused(400, "content_filter"),
    "401": _refused(401, "invalid_api_key"),
    "402": _refused(402),
    "403": _refused(403),
    "404": _refused(404, "model_not_found"),
    "reset": _raw(lambda data: b"", reset=True),
    "reset in the reply": _raw(lambda data: _head(len(data)) + data[: len(data) // 2], reset=True),
    "hung up": _raw(lambda data: b""),
    "half a reply": _raw(lambda data: _head(len(data)) + data[: len(data) // 2]),
    "short length": _raw(lambda data: _head(len(data) // 2) + data),
    "silence": _silence,
    "trickle": _trickle,
    "pieces": _in_pieces,
    "cut JSON": _json(lambda body: json.dumps(body)[:-40]),
    "nothing": _json(lambda body: ""),
    "no choice": _json(lambda body: {**body, "choices": []}),
    "page": _page(200),
    "error in a 200": _json(lambda body: UPSTREAM),
    "echo 401": _echo(lambda text: _refusal(401, text, message=text)),
    "echo 429": _echo(lambda text: _refusal(429, text, {"retry-after-ms": "30"}, text)),
    "echo 500": _echo(lambda text: _refusal(500, text, message=text)),
    "echo page": _echo(_page_of),
    "echo in a 200": _echo(_error_of),
    "empty text": _said(lambda said: ""),
    "prose": _said(lambda said: PROSE),
    "wrong columns": _said(lambda said: WRONG_COLUMNS),
    "a megabyte of rows": _said(lambda said: (said + "\n") * (MEGABYTE // (len(said) + 1))),
    "a megabyte of one line": _said(_repeated("word, ")),
    "a megabyte of quotes": _said(_repeated('he said, "well,' + 200 * " and so on" + "\n")),
}
"""Every way to go wrong, by name."""

ODD_REPLIES = frozenset(
    {"pieces", "empty text", "prose", "wrong columns"}
    | {name for name in FAULTS if name.startswith("a megabyte")}
)
"""Faults that are a reply all the same: HTTP and JSON are as they should be."""
