"""The embedded endpoint over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import openai
import pytest

from rddg_ray.config import EmbeddedSettings
from rddg_ray.errors import ConfigError, PermanentLLMError, TransientLLMError
from rddg_ray.exchange import CallId, Prompt
from rddg_ray.llm import OpenAIEndpoint, RetryingEndpoint
from rddg_ray.llm.embedded import MODEL, EmbeddedServer, serve_in_thread

PROMPT = Prompt("s", "t,n\nA.\na,1.5\na,2.5\na,4.0\n\nWrite 9 new rows of class A.", "generation")


def fetched(url: str, body: object = None, headers: dict[str, str] | None = None):
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def chat(**fields):
    return {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]} | fields


def completed(base_url: str, prompt: Prompt = PROMPT, n_calls: int = 1, attempts: int = 1):
    async def calls():
        client = OpenAIEndpoint(base_url, MODEL)

        async def no_sleep(seconds: float) -> None:
            await asyncio.sleep(0)

        endpoint = RetryingEndpoint(client, attempts, sleep=no_sleep)
        async with contextlib.aclosing(endpoint):
            return [await endpoint.complete(prompt) for _ in range(n_calls)]

    return asyncio.run(calls())


def test_it_listens_on_loopback_and_says_what_it_is():
    with serve_in_thread() as server:
        assert server.base_url.startswith("http://127.0.0.1:")
        status, models = fetched(f"{server.base_url}/models")
        assert (status, models["object"]) == (200, "list")
        (entry,) = models["data"]
        assert (entry["id"], entry["owned_by"]) == ("embedded-sampler", "rddg_ray")
        assert "Not a language model" in entry["description"]
        assert fetched(f"{server.base_url}/models/{MODEL}") == (200, entry)
        status, health = fetched(server.base_url.removesuffix("/v1") + "/healthz")
        assert (status, health["status"]) == (200, "ok")


def test_a_completion_has_openai_s_shape_and_counts_tokens():
    with serve_in_thread() as server:
        status, body = fetched(f"{server.base_url}/chat/completions", chat())
        assert server.n_requests == 1
        assert server.statuses == {200: 1}
    assert status == 200
    content = body["choices"][0]["message"]["content"]
    assert body["model"] == MODEL
    assert body["choices"][0]["finish_reason"] == "stop"
    # One token for each four characters begun: "hello" is two.
    assert body["usage"]["prompt_tokens"] == 2
    assert body["usage"]["completion_tokens"] == -(-len(content) // 4)


def test_the_openai_client_reads_the_model_list():
    async def names(base_url: str):
        async with openai.AsyncOpenAI(base_url=base_url, api_key="none") as client:
            return [model.id async for model in client.models.list()]

    with serve_in_thread() as server:
        assert asyncio.run(names(server.base_url)) == [MODEL]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{no json", 400, None),
        (b"[]", 400, None),
        (chat(n=2), 400, "n"),
        (chat(stream=True), 400, "stream"),
        (chat(messages=[]), 400, "messages"),
        (chat(messages=[{"role": "user"}]), 400, "messages[0].content"),
        (chat(messages=["hi"]), 400, "messages[0]"),
        (chat(max_tokens=0), 400, "max_tokens"),
        (chat(model="gpt-5"), 404, "model"),
        ({"messages": []}, 400, "model"),
    ],
)
def test_what_it_cannot_do_is_refused_in_openai_s_shape(body, status, param):
    with serve_in_thread() as server:
        answered, content = fetched(f"{server.base_url}/chat/completions", body)
        assert server.statuses == {status: 1}
    assert answered == status
    assert content["error"]["param"] == param
    assert content["error"]["type"] == "invalid_request_error"
    assert content["error"]["message"]


def test_unknown_addresses_are_refused_in_openai_s_shape():
    with serve_in_thread() as server:
        status, content = fetched(f"{server.base_url}/embeddings", {})
        assert (status, "error" in content) == (404, True)
        status, content = fetched(f"{server.base_url}/chat/completions")
        assert (status, "error" in content) == (405, True)


def test_a_key_is_asked_for_only_where_one_is_set():
    with serve_in_thread(api_key="abc") as server:
        url = f"{server.base_url}/chat/completions"
        assert fetched(url, chat())[0] == 401
        assert fetched(url, chat(), {"Authorization": "Bearer wrong"})[0] == 401
        assert fetched(url, chat(), {"Authorization": "Bearer abc"})[0] == 200
        assert fetched(server.base_url.removesuffix("/v1") + "/healthz")[0] == 200
        with pytest.raises(PermanentLLMError) as caught:
            completed(server.base_url)
    assert caught.value.code == "invalid_api_key"


def test_the_same_prompt_gets_the_same_reply_after_a_restart():
    replies = []
    for _ in range(2):
        with serve_in_thread(EmbeddedSettings(random_state=3)) as server:
            replies += completed(server.base_url, n_calls=2)
    with serve_in_thread(EmbeddedSettings(random_state=4)) as server:
        other = completed(server.base_url)[0]
    assert len({reply.text for reply in replies}) == 1
    assert other.text != replies[0].text
    assert replies[0].model == MODEL


def test_a_cap_on_tokens_cuts_the_reply_and_says_so():
    with serve_in_thread() as server:
        capped = Prompt(PROMPT.system, PROMPT.user, PROMPT.phase, max_completion_tokens=5)
        whole, cut = completed(server.base_url)[0], completed(server.base_url, capped)[0]
    assert cut.text == whole.text[:20]
    assert (cut.finish_reason, cut.usage.completion_tokens) == ("length", 5)


def test_injected_errors_come_in_their_share_and_pass_on_retry():
    settings = EmbeddedSettings(error_share=0.5, error_status=429)
    with serve_in_thread(settings) as server:
        replies = completed(server.base_url, n_calls=60, attempts=30)
        statuses = server.statuses
    assert len({reply.text for reply in replies}) == 1
    assert statuses[200] == 60
    # 60 successes at a share of 1/2 take 60 errors on average, with variance 60 * 0.5 / 0.25.
    assert abs(statuses[429] - 60) < 4 * 120**0.5


def test_an_error_share_of_one_fails_every_call():
    always = serve_in_thread(EmbeddedSettings(error_share=1.0))
    with always as server, pytest.raises(TransientLLMError) as caught:
        completed(server.base_url)
    assert caught.value.status == 503


def test_latency_is_waited_for_by_calls_side_by_side():
    async def calls(base_url: str):
        endpoint = OpenAIEndpoint(base_url, MODEL)
        replies = await asyncio.gather(*(endpoint.complete(PROMPT) for _ in range(20)))
        await endpoint.aclose()
        return replies

    with serve_in_thread(EmbeddedSettings(latency_s=0.2)) as server:
        started_s = time.perf_counter()
        replies = asyncio.run(calls(server.base_url))
        elapsed_s = time.perf_counter() - started_s
    assert min(reply.latency_s for reply in replies) >= 0.2
    assert elapsed_s < 20 * 0.2


def test_a_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}"), serve_in_thread(port=port):
            pass


def test_it_can_be_started_and_stopped_inside_a_running_loop():
    async def main():
        server = EmbeddedServer(EmbeddedSettings())
        with pytest.raises(ConfigError, match="before it is started"):
            _ = server.base_url
        await server.start()
        client = OpenAIEndpoint(server.base_url, MODEL)
        reply = await client.complete(PROMPT)
        await client.aclose()
        await server.stop()
        await server.stop()
        return reply

    assert asyncio.run(main()).text.startswith("t,n\nA.\n")


def test_its_thread_ends_with_the_context_even_after_an_error():
    urls = []
    before = set(threading.enumerate())

    def fail() -> None:
        with serve_in_thread() as server:
            urls.append(server.base_url)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert set(threading.enumerate()) <= before
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{urls[0]}/models", timeout=2)


def test_serving_in_the_foreground_ends_with_a_signal():
    script = (
        "from rddg_ray.config import EmbeddedSettings\n"
        "from rddg_ray.llm.embedded import serve\n"
        "serve('127.0.0.1', 0, EmbeddedSettings(), on_start=lambda url: print(url, flush=True))\n"
        "print('ended', flush=True)\n"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as child:
        assert child.stdout is not None
        base_url = child.stdout.readline().strip()
        assert fetched(f"{base_url}/models")[0] == 200
        child.send_signal(signal.SIGTERM)
        assert child.stdout.read().strip() == "ended"
    assert child.returncode == 0


def test_over_the_limit_it_refuses_and_tells_when_to_come_back():
    settings = EmbeddedSettings(requests_per_minute=2, policy="sliding_window")
    with serve_in_thread(settings) as server:
        url = f"{server.base_url}/chat/completions"
        assert [fetched(url, chat())[0] for _ in range(3)] == [200, 200, 429]
        assert (server.n_accepted, server.n_refused) == (2, 1)

        async def call() -> None:
            async with contextlib.aclosing(OpenAIEndpoint(server.base_url, MODEL)) as client:
                await client.complete(PROMPT)

        with pytest.raises(TransientLLMError) as caught:
            asyncio.run(call())
    assert caught.value.status == 429
    assert 0 < caught.value.retry_after_s <= 60
    told = caught.value.rate_headers
    assert told["x-ratelimit-limit-requests"] == "2"
    assert told["x-ratelimit-remaining-requests"] == "0"


def test_headers_and_retry_after_can_be_left_out():
    settings = EmbeddedSettings(requests_per_minute=1, rate_headers=False, retry_after=False)
    with serve_in_thread(settings) as server:
        (completion,) = completed(server.base_url)
        with pytest.raises(TransientLLMError) as caught:
            completed(server.base_url)
    assert completion.rate is None
    assert (caught.value.status, caught.value.retry_after_s) == (429, None)
    assert not caught.value.rate_headers


def test_a_completion_carries_what_the_headers_tell():
    settings = EmbeddedSettings(requests_per_minute=60, tokens_per_minute=9_000)
    with serve_in_thread(settings) as server:
        (completion,) = completed(server.base_url)
    assert completion.rate is not None
    assert (completion.rate.limit_requests, completion.rate.remaining_requests) == (60, 59)
    # The prompt counts on arrival, and so does its cap; this one has none, so the reply counts.
    used = completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert 9_000 - used <= completion.rate.remaining_tokens <= 9_000
    assert completion == dataclasses.replace(completion, rate=None)


def test_calls_are_counted_by_their_header_arrivals_apart_from_answers():
    async def calls(base_url: str) -> None:
        endpoint = OpenAIEndpoint(base_url, MODEL, send_call_header=True)
        async with contextlib.aclosing(endpoint):
            for call in (CallId("tä/ble", "c", 0, 0), CallId("tä/ble", "c", 1, 0)):
                for _ in range(2):
                    with contextlib.suppress(TransientLLMError):
                        await endpoint.complete(PROMPT, call)

    settings = EmbeddedSettings(requests_per_minute=3, policy="fixed_window")
    with serve_in_thread(settings) as server:
        asyncio.run(calls(server.base_url))
        status, stats = fetched(server.base_url.removesuffix("/v1") + "/stats")
        first, second = "t%C3%A4%2Fble/c/0/0", "t%C3%A4%2Fble/c/1/0"
        assert server.calls == {first: 2, second: 2}
        assert server.answers == {first: 2, second: 1}
    assert status == 200
    assert (stats["calls"], stats["answers"]) == (server.calls, server.answers)
    assert (stats["n_accepted"], stats["n_refused"]) == (3, 1)
    assert stats["statuses"] == {"200": 3, "429": 1}


def test_no_call_is_named_to_a_server_unless_told_to():
    with serve_in_thread() as server:
        completed(server.base_url)
        assert server.n_requests == 1
        assert server.calls == {}


def test_the_counts_want_the_key_where_there_is_one():
    with serve_in_thread(api_key="abc") as server:
        url = server.base_url.removesuffix("/v1") + "/stats"
        assert fetched(url)[0] == 401
        assert fetched(url, headers={"Authorization": "Bearer abc"})[0] == 200
