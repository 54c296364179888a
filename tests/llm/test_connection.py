"""From settings to an endpoint."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from rddg_ray.config import EndpointSettings
from rddg_ray.errors import ConfigError
from rddg_ray.exchange import Prompt
from rddg_ray.llm import connect
from rddg_ray.llm.embedded import serve_in_thread

PROMPT = Prompt("", "hello", "relations")


def completed(settings: EndpointSettings):
    async def call():
        async with contextlib.aclosing(connect(settings)) as endpoint:
            return await endpoint.complete(PROMPT)

    return asyncio.run(call())


def test_embedded_settings_reach_the_running_server():
    with serve_in_thread() as server:
        settings = EndpointSettings().model_copy(update={"base_url": server.base_url})
        completion = completed(settings)
    assert completion.model == "embedded-sampler"
    assert "not a language model" in completion.text


def test_openai_settings_send_the_key_of_the_variable(monkeypatch):
    monkeypatch.setenv("A_KEY", "abc")
    with serve_in_thread(api_key="abc") as server:
        settings = EndpointSettings(base_url=server.base_url, api_key_env="A_KEY")
        assert completed(settings).model == "embedded-sampler"


def test_replay_settings_read_the_file(tmp_path):
    path = tmp_path / "calls.jsonl"
    path.write_text('{"prompt": "hello", "reply": "hi"}')
    assert completed(EndpointSettings(kind="replay", replay_path=path)).text == "hi"


def test_embedded_settings_without_a_server_say_what_is_missing():
    with pytest.raises(ConfigError, match=r"endpoint\.base_url is missing"):
        connect(EndpointSettings())
