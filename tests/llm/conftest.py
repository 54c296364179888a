"""A real HTTP server that answers what a test tells it to, and an endpoint that does too."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from rddg_ray.exchange import CallId, Completion, Prompt


@dataclass
class Answer:
    """One scripted answer: JSON unless `raw` is given; `delay_s` passes before it."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: str | None = None
    content_type: str = "application/json"
    delay_s: float = 0.0
    hang_up: bool = False


@dataclass
class ScriptedServer:
    """Answers in order, the last one again and again; keeps what it was sent."""

    answers: list[Answer]
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    base_url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.headers.append(dict(request.headers))
        answer = self.answers[min(len(self.bodies), len(self.answers)) - 1]
        await asyncio.sleep(answer.delay_s)
        if answer.hang_up:
            assert request.transport is not None
            request.transport.close()
        text = json.dumps(answer.body) if answer.raw is None else answer.raw
        return web.Response(
            status=answer.status,
            text=text,
            headers=answer.headers,
            content_type=answer.content_type,
        )


@contextlib.asynccontextmanager
async def _scripted(*answers: Answer) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer(list(answers))
    application = web.Application()
    application.router.add_post("/v1/chat/completions", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


@dataclass
class ScriptedEndpoint:
    """Answers with the outcomes given, in order, the last one again and again."""

    outcomes: Sequence[Completion | Exception]
    hold_s: float = 0.0
    n_calls: int = 0
    n_now: int = 0
    most_at_once: int = 0
    closed: bool = False

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        outcome = self.outcomes[min(self.n_calls, len(self.outcomes) - 1)]
        self.n_calls += 1
        self.n_now += 1
        self.most_at_once = max(self.most_at_once, self.n_now)
        await asyncio.sleep(self.hold_s)
        self.n_now -= 1
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def scripted() -> Callable[..., contextlib.AbstractAsyncContextManager[ScriptedServer]]:
    """Return an async context manager: a server that gives these answers."""
    return _scripted


@pytest.fixture
def answer() -> type[Answer]:
    """Return the class of scripted answers."""
    return Answer


@pytest.fixture
def scripted_endpoint() -> type[ScriptedEndpoint]:
    """Return the class of scripted endpoints."""
    return ScriptedEndpoint


@pytest.fixture
def chat() -> Callable[..., dict[str, Any]]:
    """Return a function that makes the body of a chat completion."""

    def body(content: Any = "hello", **changes: Any) -> dict[str, Any]:
        message = {"role": "assistant", "content": content} | changes.pop("message", {})
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": changes.pop("finish_reason", "stop"),
        }
        whole = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "served-model",
            "choices": [choice],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }
        return {key: value for key, value in (whole | changes).items() if value is not None}

    return body
