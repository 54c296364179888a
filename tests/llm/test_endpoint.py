"""The HTTP client against a real server on loopback that answers by script."""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import traceback
from dataclasses import replace
from email.utils import formatdate
from time import time

import pytest
from aiohttp import web

from rddg_ray.errors import ConfigError, LLMError, PermanentLLMError, TransientLLMError
from rddg_ray.exchange import Completion, Prompt, Usage
from rddg_ray.llm import OpenAIEndpoint
from rddg_ray.llm.failures import concerns_prompt

PROMPT = Prompt("You write rows.", "Write 2 new rows.", "generation", max_completion_tokens=50)
KEY = "sk-very/secret+key=1234567890"


def completed(server, prompt=PROMPT, key=None, **options) -> Completion:
    async def call():
        async with server as running:
            endpoint = OpenAIEndpoint(running.base_url, "some-model", key, **options)
            try:
                return await endpoint.complete(prompt), running
            finally:
                await endpoint.aclose()

    return asyncio.run(call())


def failure(server, prompt=PROMPT, key=None, **options) -> LLMError:
    with pytest.raises(LLMError) as caught:
        completed(server, prompt, key, **options)
    return caught.value


@pytest.fixture
def reply_with(scripted, answer, chat):
    """Return a function that makes a server which answers with such a completion."""
    return lambda **body: scripted(answer(body=chat(**body)))


def refusal(message="no", code=None, kind=None):
    return {"error": {"message": message, "type": kind, "code": code, "param": None}}


def test_a_completion_carries_text_model_tokens_and_finish_reason(scripted, answer, chat):
    details = {"prompt_tokens_details": {"cached_tokens": 5}}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10} | details
    completion, server = completed(scripted(answer(body=chat("a,b", usage=usage))))
    assert completion.text == "a,b"
    assert completion.model == "served-model"
    assert completion.usage == Usage(1, 7, 3, 5)
    assert completion.finish_reason == "stop"
    assert 0 < completion.latency_s < 60
    assert server.bodies == [
        {
            "model": "some-model",
            "max_completion_tokens": 50,
            "messages": [
                {"role": "system", "content": "You write rows."},
                {"role": "user", "content": "Write 2 new rows."},
            ],
        }
    ]


def test_half_a_surrogate_pair_in_a_reply_can_be_stored(scripted, answer, chat):
    completion, _ = completed(scripted(answer(body=chat("hi \ud83d there"))))
    assert completion.text == "hi ? there"
    assert completion.text.encode("utf-8")


def test_settings_left_open_are_not_sent(scripted, answer, chat):
    _, server = completed(scripted(answer(body=chat())), Prompt("", "hi", "relations"))
    messages = [{"role": "user", "content": "hi"}]
    assert server.bodies == [{"model": "some-model", "messages": messages}]


def test_the_key_is_sent_and_a_keyless_server_gets_a_dummy(scripted, answer, chat):
    _, with_key = completed(scripted(answer(body=chat())), key=KEY)
    _, without = completed(scripted(answer(body=chat())))
    assert with_key.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert without.headers[0]["Authorization"] == "Bearer none"


def test_the_organization_of_another_provider_is_not_sent(scripted, answer, chat, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-private")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-private")
    _, server = completed(scripted(answer(body=chat())))
    assert "private" not in str(server.headers)


@pytest.mark.parametrize(
    ("body", "text", "reason"),
    [
        ({"content": None}, "", "stop"),
        ({"content": None, "message": {"refusal": "I will not"}}, "", "content_filter"),
        ({"content": "half a r", "finish_reason": "length"}, "half a r", "length"),
        ({"content": None, "finish_reason": "content_filter"}, "", "content_filter"),
        ({"content": [{"type": "thinking"}, {"type": "text", "text": "a"}]}, "a", "stop"),
    ],
)
def test_odd_contents_become_text_and_a_finish_reason(reply_with, body, text, reason):
    completion, _ = completed(reply_with(**body))
    assert (completion.text, completion.finish_reason) == (text, reason)


def test_a_call_without_usage_counts_as_one_call_of_unknown_size(scripted, answer, chat):
    completion, _ = completed(scripted(answer(body=chat(usage=None))))
    assert completion.usage == Usage(n_calls=1)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_statuses_that_may_pass_are_transient(scripted, answer, status):
    error = failure(scripted(answer(status, refusal())))
    assert isinstance(error, TransientLLMError)
    assert error.status == status


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "context_length_exceeded", "longer than the model reads"),
        (400, "content_filter", "content filter"),
        (400, None, "does not accept the request"),
        (401, "invalid_api_key", "refused the key"),
        (402, None, "no credit"),
        (403, None, "key's rights"),
        (404, "model_not_found", "endpoint.model"),
        (413, None, "larger than the endpoint accepts"),
        (422, None, "a field of the request"),
        (429, "insufficient_quota", "billing"),
    ],
)
def test_refusals_are_permanent_and_say_what_to_do(scripted, answer, status, code, words):
    error = failure(scripted(answer(status, refusal("server's words", code))))
    assert isinstance(error, PermanentLLMError)
    assert (error.status, error.code) == (status, code)
    assert words in str(error)
    assert f"({status})" in str(error)
    assert "server's words" in str(error)


def test_quota_told_by_type_is_permanent_too(scripted, answer):
    error = failure(scripted(answer(429, refusal(kind="insufficient_quota"))))
    assert isinstance(error, PermanentLLMError)
    assert error.code == "insufficient_quota"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "Retry-After": "7"}, 0.25),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({}, None),
    ],
)
def test_the_wait_a_server_asks_for_is_read(scripted, answer, headers, seconds):
    error = failure(scripted(answer(429, refusal(), headers)))
    assert isinstance(error, TransientLLMError)
    assert error.retry_after_s == seconds


def test_a_date_to_retry_after_is_counted_from_now(scripted, answer):
    # An HTTP date has whole seconds, and the call takes less than a minute.
    headers = {"Retry-After": formatdate(time() + 600, usegmt=True)}
    error = failure(scripted(answer(503, refusal(), headers)))
    assert isinstance(error, TransientLLMError)
    assert 540 <= error.retry_after_s <= 601


def test_a_key_in_the_servers_body_is_in_no_part_of_the_error(scripted, answer):
    quoted = "sk-very%2Fsecret%2Bkey%3D1234567890"
    echo = refusal(f"bad key {KEY} in 'Bearer {KEY}' or {quoted}", code=KEY, kind=KEY)
    for status in (401, 500):
        error = failure(scripted(answer(status, echo)), key=KEY)
        shown = "".join(traceback.format_exception(error)) + repr(error.__dict__)
        shown += repr(pickle.loads(pickle.dumps(error)).__dict__)
        assert "secret" not in shown
        assert "[key removed]" in str(error)
        assert error.__context__ is None or "secret" not in str(error.__context__)
        assert error.__cause__ is None


def test_servers_that_know_only_max_tokens_are_asked_again_once(scripted, answer, chat):
    unknown = answer(422, {"detail": [{"loc": ["body", "max_completion_tokens"]}]})

    async def calls():
        async with scripted(unknown, answer(body=chat())) as server:
            endpoint = OpenAIEndpoint(server.base_url, "m")
            await endpoint.complete(PROMPT)
            await endpoint.complete(PROMPT)
            await endpoint.aclose()
            return [sorted(body.keys() - {"model", "messages"}) for body in server.bodies]

    assert asyncio.run(calls()) == [["max_completion_tokens"], ["max_tokens"], ["max_tokens"]]


def test_a_cap_that_is_refused_under_both_names_is_permanent(scripted, answer):
    body = {"error": {"message": "too large", "param": "max_completion_tokens"}}
    assert isinstance(failure(scripted(answer(400, body))), PermanentLLMError)


def test_an_error_in_the_body_of_a_200_is_an_error(scripted, answer):
    busy = failure(scripted(answer(body={"error": {"code": 429, "message": "slow down"}})))
    assert isinstance(busy, TransientLLMError)
    assert busy.status == 429
    broke = failure(scripted(answer(body={"error": {"code": 402, "message": "pay"}})))
    assert isinstance(broke, PermanentLLMError)


def test_a_web_page_instead_of_a_completion_points_to_the_address(scripted, answer):
    page = answer(raw="<html>welcome</html>", content_type="text/html")
    error = failure(scripted(page))
    assert isinstance(error, TransientLLMError)
    assert error.status == 200
    assert "endpoint.base_url" in str(error)


def test_broken_json_and_missing_choices_are_transient(scripted, answer, chat):
    assert isinstance(failure(scripted(answer(raw='{"id": "x", "cho'))), TransientLLMError)
    assert isinstance(failure(scripted(answer(body=chat(choices=[])))), TransientLLMError)


def test_a_slow_server_is_a_transient_time_out(scripted, answer, chat):
    error = failure(scripted(answer(body=chat(), delay_s=3)), timeout_s=0.2)
    assert isinstance(error, TransientLLMError)
    assert "within 0.2 s" in str(error)


def test_a_connection_cut_in_the_middle_is_transient(scripted, answer):
    error = failure(scripted(answer(hang_up=True)))
    assert isinstance(error, TransientLLMError)
    assert "cannot reach" in str(error)


def test_a_server_that_is_not_there_is_transient_and_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def call():
        endpoint = OpenAIEndpoint(f"http://127.0.0.1:{port}/v1", "m")
        try:
            await endpoint.complete(PROMPT)
        finally:
            await endpoint.aclose()

    with pytest.raises(TransientLLMError, match=f"cannot reach http://127.0.0.1:{port}/v1"):
        asyncio.run(call())


def test_the_clients_connections_are_no_limit_on_calls_at_once(chat):
    n_calls = 150  # aiohttp's own limit is 100

    async def calls() -> int:
        arrived, all_here = 0, asyncio.Event()

        async def handle(request: web.Request) -> web.Response:
            nonlocal arrived
            arrived += 1
            if arrived == n_calls:
                all_here.set()
            await all_here.wait()
            return web.json_response(chat())

        application = web.Application()
        application.router.add_post("/v1/chat/completions", handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=n_calls).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        endpoint = OpenAIEndpoint(address, "m", timeout_s=20)
        replies = await asyncio.gather(*(endpoint.complete(PROMPT) for _ in range(n_calls)))
        await endpoint.aclose()
        await runner.cleanup()
        return len(replies)

    assert asyncio.run(calls()) == n_calls


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://host/v1", "http://", "http://h:x/v1"])
def test_an_address_that_is_none_is_named(address):
    with pytest.raises(ConfigError, match=r"endpoint\.base_url"):
        OpenAIEndpoint(address, "m")


def test_a_password_in_the_address_is_not_in_messages(scripted, answer):
    async def call():
        async with scripted(answer(500, refusal())) as server:
            address = server.base_url.replace("//", "//user:hidden@")
            endpoint = OpenAIEndpoint(address, "m")
            try:
                await endpoint.complete(PROMPT)
            finally:
                await endpoint.aclose()

    with pytest.raises(TransientLLMError) as caught:
        asyncio.run(call())
    assert "hidden" not in str(caught.value)


SCHEMA = '{"type": "object", "properties": {}, "required": [], "additionalProperties": false}'
STRUCTURED = replace(PROMPT, response_schema=SCHEMA)


def test_a_schema_goes_out_as_a_strict_response_format(scripted, answer, chat):
    _, server = completed(scripted(answer(body=chat())), STRUCTURED)
    assert server.bodies[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "rows", "strict": True, "schema": json.loads(SCHEMA)},
    }


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "Invalid parameter", "param": "response_format"}}),
        (400, {"error": "'response_format.type' must be 'text'"}),
        (422, {"detail": [{"loc": ["body", "response_format"], "msg": "extra field"}]}),
        (400, {"error": {"message": "model m does not do json_schema", "code": "invalid_value"}}),
    ],
)
def test_a_server_without_structured_output_is_met_with_the_setting_to_change(
    scripted, answer, status, body
):
    error = failure(scripted(answer(status, body)), STRUCTURED, KEY)
    assert isinstance(error, PermanentLLMError)
    assert f"set generation.reply_format: csv ({status})" in str(error)
    # It is no matter of one prompt, which would let the run go on to the next.
    assert not concerns_prompt(error)


def test_a_server_s_refusal_of_the_schema_does_not_tell_the_key(scripted, answer):
    body = {"error": {"message": f"no response_format for {KEY}", "param": "response_format"}}
    assert "secret" not in str(failure(scripted(answer(400, body)), STRUCTURED, KEY))


def test_other_refusals_of_a_structured_prompt_keep_their_words(scripted, answer):
    echo = {"message": "too long: {'response_format': 1}", "code": "context_length_exceeded"}
    assert "lower generation.reference_rows" in str(
        failure(scripted(answer(400, {"error": echo})), STRUCTURED)
    )
    assert "refused the key" in str(failure(scripted(answer(401, refusal())), STRUCTURED))
    plain = failure(scripted(answer(400, refusal("no response_format"))), PROMPT)
    assert "reply_format" not in str(plain)


def test_the_older_name_of_the_cap_goes_with_a_schema_too(scripted, answer, chat):
    unknown = answer(400, {"error": {"message": "unknown", "param": "max_completion_tokens"}})
    _, server = completed(scripted(unknown, answer(body=chat())), STRUCTURED)
    assert [sorted(body.keys() - {"model", "messages"}) for body in server.bodies] == [
        ["max_completion_tokens", "response_format"],
        ["max_tokens", "response_format"],
    ]
