"""Calls and questions after models read what goes wrong alike, and tell no key."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import pytest

from rddg_ray.config import EndpointSettings
from rddg_ray.errors import LLMError, PermanentLLMError, TransientLLMError
from rddg_ray.exchange import Prompt
from rddg_ray.llm import OpenAIEndpoint
from rddg_ray.llm.failures import may_be_paid
from rddg_ray.llm.probing import list_models

KEY = "secret-key-of-a-test-0123456789"
PROMPT = Prompt("", "hi", "generation")


async def ask(kind: str, base_url: str) -> LLMError:
    if kind == "models":
        settings = EndpointSettings(
            kind="openai", base_url=base_url, model="m", api_key_env="RDDG_TEST_KEY", timeout_s=5
        )
        [error] = await asyncio.gather(list_models(settings), return_exceptions=True)
    else:
        endpoint = OpenAIEndpoint(base_url, "m", KEY, timeout_s=5)
        async with contextlib.aclosing(endpoint):
            [error] = await asyncio.gather(endpoint.complete(PROMPT), return_exceptions=True)
    assert isinstance(error, LLMError), error
    return error


def answered(kind: str, answer: bytes) -> LLMError:
    """Return the error that comes of an answer's bytes, which end the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def main() -> LLMError:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        try:
            return await ask(kind, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        finally:
            server.close()

    return asyncio.run(main())


def refused(kind: str, status: int, error: dict[str, object], *headers: bytes) -> LLMError:
    body = json.dumps({"error": error}).encode()
    lines = [b"HTTP/1.1 %d No" % status, b"Content-Type: application/json", *headers]
    head = b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", b""])
    return answered(kind, head + body)


@pytest.fixture(params=["models", "call"], autouse=True)
def kind(request, monkeypatch) -> str:
    monkeypatch.setenv("RDDG_TEST_KEY", KEY)
    return request.param


def test_a_quota_that_is_told_by_the_error_s_type_is_no_matter_of_waiting(kind):
    error = refused(kind, 429, {"message": "pay", "type": "insufficient_quota"})
    assert isinstance(error, PermanentLLMError)
    assert (error.status, error.code) == (429, "insufficient_quota")
    assert "billing" in str(error)


def test_what_a_refusal_tells_of_limits_is_kept(kind):
    headers = b"Retry-After: 7", b"x-ratelimit-limit-requests: 60"
    error = refused(kind, 429, {"message": "slow down"}, *headers)
    assert isinstance(error, TransientLLMError)
    assert error.retry_after_s == 7.0
    assert dict(error.rate_headers) == {"x-ratelimit-limit-requests": "60"}


def test_a_code_that_is_a_number_is_read_as_its_digits(kind):
    error = refused(kind, 403, {"message": "not here", "code": 403})
    assert isinstance(error, PermanentLLMError)
    assert (error.status, error.code) == (403, "403")


def test_no_word_of_a_refusal_tells_the_key(kind):
    told = {"message": f"who is {KEY}", "code": f"bad-{KEY}", "type": KEY}
    error = refused(kind, 401, told)
    assert KEY not in f"{error} {error.code!r}"
    assert error.__context__ is None


def test_an_answer_that_breaks_off_came_from_a_server_that_was_reached(kind):
    error = answered(kind, b"HTTP/1.1 200 O")
    assert isinstance(error, TransientLLMError)
    assert error.reached
    assert may_be_paid(error)


def test_what_is_no_http_is_unreadable_with_status_200(kind):
    error = answered(kind, b"\x00\x01\x02 this is no HTTP\r\n\r\n")
    assert isinstance(error, TransientLLMError)
    assert error.status == 200
    assert "unreadable answer" in str(error)


def test_a_closed_port_was_not_reached(kind):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    error = asyncio.run(ask(kind, base_url))
    assert isinstance(error, TransientLLMError)
    assert not error.reached
    assert f"cannot reach {base_url}" in str(error)
