"""Answers that break off or are no HTTP, over a bare socket."""

from __future__ import annotations

import asyncio
import socket

import pytest

from rddg_ray.errors import TransientLLMError
from rddg_ray.exchange import Prompt
from rddg_ray.llm import OpenAIEndpoint, RetryingEndpoint
from rddg_ray.llm.failures import may_be_paid

PROMPT = Prompt("", "hi", "generation")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
JSON = b"application/json"
GOOD_BODY = (
    b'{"id":"x","object":"chat.completion","created":0,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"fine"},"finish_reason":"stop"}]}'
)


def failure(*answers: bytes, n_attempts: int = 1) -> tuple[object, int]:
    """Serve the answers in order, the last again and again; return the outcome and the count."""

    async def main():
        n_connections = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal n_connections
            n_connections += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answers[min(n_connections, len(answers)) - 1])
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = OpenAIEndpoint(f"http://127.0.0.1:{port}/v1", "m", timeout_s=5)
        endpoint = RetryingEndpoint(client, n_attempts, initial_delay_s=0.001)
        (outcome,) = await asyncio.gather(endpoint.complete(PROMPT), return_exceptions=True)
        await endpoint.aclose()
        server.close()
        await server.wait_closed()
        return outcome, n_connections

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", None),
        (b"HTTP/1.1 200 O", None),
        (HEAD % (JSON, 1000) + b'{"id": "x", "cho', None),
        (HEAD % (JSON, 0), 200),
        (HEAD % (b"text/plain", 0), 200),
        (HEAD % (JSON, 2) + b"[]", 200),
        (HEAD % (JSON, 4) + b"null", 200),
        (HEAD % (b"text/html", 6) + b"<html>", 200),
        (b"\x00\x01\x02 this is no HTTP\r\n\r\n", 200),
    ],
)
def test_an_answer_that_breaks_off_is_transient_and_may_have_been_paid(answer, status):
    error, _ = failure(answer)
    assert isinstance(error, TransientLLMError)
    assert error.status == status
    assert may_be_paid(error)
    assert "127.0.0.1" in str(error)


def test_a_web_page_of_a_failing_server_is_its_failure():
    error, _ = failure(
        b"HTTP/1.1 503 Away\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\n<"
    )
    assert isinstance(error, TransientLLMError)
    assert error.status == 503
    assert not may_be_paid(error)


def test_half_a_reply_is_asked_again_and_a_page_at_most_three_times():
    half, page = HEAD % (JSON, 1000) + b'{"id":', HEAD % (b"text/html", 6) + b"<html>"
    reply, n = failure(half, half, HEAD % (JSON, len(GOOD_BODY)) + GOOD_BODY, n_attempts=6)
    assert (reply.text, n) == ("fine", 3)
    error, n = failure(page, n_attempts=6)
    assert isinstance(error, TransientLLMError)
    assert n == 3
    assert "given up after 3 attempts" in str(error)


def test_a_server_that_is_not_there_was_surely_not_paid():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def call():
        endpoint = OpenAIEndpoint(f"http://127.0.0.1:{port}/v1", "m")
        try:
            await endpoint.complete(PROMPT)
        finally:
            await endpoint.aclose()

    with pytest.raises(TransientLLMError) as caught:
        asyncio.run(call())
    assert caught.value.reached is False
    assert not may_be_paid(caught.value)
