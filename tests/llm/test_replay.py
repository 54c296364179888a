"""Recorded replies and the recording of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from rddg_ray.errors import ConfigError, PermanentLLMError
from rddg_ray.exchange import Completion, Prompt, Usage
from rddg_ray.llm import RecordingEndpoint, ReplayEndpoint
from rddg_ray.llm.replay import Recording


def asked(endpoint, *prompts: Prompt) -> list[str]:
    async def calls():
        return [(await endpoint.complete(prompt)).text for prompt in prompts]

    return asyncio.run(calls())


def prompt(user: str, phase="generation", **changes) -> Prompt:
    return Prompt("system", user, phase, **changes)


def test_a_recorded_prompt_gets_its_reply_in_any_order():
    endpoint = ReplayEndpoint([Recording("one", "1"), Recording("two", "2")])
    assert asked(endpoint, prompt("two"), prompt("one"), prompt("two")) == ["2", "1", "2"]


def test_a_prompt_recorded_twice_gives_both_replies_and_then_the_last():
    endpoint = ReplayEndpoint([Recording("one", "1"), Recording("one", "1 again")])
    assert asked(endpoint, *[prompt("one")] * 3) == ["1", "1 again", "1 again"]


def test_the_hash_of_the_whole_request_goes_before_its_text():
    warm = prompt("one", temperature=1.0)
    cold = prompt("one", temperature=0.0)
    recordings = [Recording("one", "cold", sha256=cold.sha256),
                  Recording("one", "warm", sha256=warm.sha256)]  # fmt: skip
    assert asked(ReplayEndpoint(recordings), warm, cold) == ["warm", "cold"]


def test_a_sequence_answers_unknown_prompts_by_phase_in_recorded_order():
    recordings = [
        Recording("r", "relations", "relations"),
        Recording("g0", "first", "generation"),
        Recording("g1", "second", "generation"),
    ]
    endpoint = ReplayEndpoint(recordings, sequence=True)
    prompts = [prompt("new"), prompt("other", "relations"), prompt("newer")]
    assert asked(endpoint, *prompts) == ["first", "relations", "second"]
    with pytest.raises(PermanentLLMError, match="generation prompt"):
        asked(endpoint, prompt("newest"))


def test_a_sequence_does_not_give_away_what_an_exact_match_used():
    recordings = [Recording("g0", "first", "generation"), Recording("g1", "second", "generation")]
    endpoint = ReplayEndpoint(recordings, sequence=True)
    assert asked(endpoint, prompt("g0"), prompt("new")) == ["first", "second"]


def test_a_miss_names_phase_hash_and_file(tmp_path):
    path = tmp_path / "calls.jsonl"
    path.write_text('{"prompt": "a", "reply": "b"}\n')
    missing = prompt("c", "constraints")
    with pytest.raises(PermanentLLMError) as caught:
        asked(ReplayEndpoint.from_file(path, sequence=False), missing)
    assert caught.value.code == "not_recorded"
    for part in ("constraints", missing.sha256[:16], str(path)):
        assert part in str(caught.value)


def test_what_was_recorded_is_replayed_with_its_tokens(tmp_path, scripted_endpoint):
    path = tmp_path / "new folder" / "calls.jsonl"
    replies = [
        Completion('line\n"quoted", {braces} é', "model-x", Usage(1, 9, 4, 2), "length"),
        Completion("", "model-x", Usage(1, 1, 0, 0)),
    ]
    inner = scripted_endpoint(replies)
    prompts = [prompt("a\nb\u2028c"), prompt("d", "relations")]

    async def record():
        endpoint = RecordingEndpoint(inner, path)
        for one in prompts:
            await endpoint.complete(one)
        await endpoint.aclose()

    async def replay():
        endpoint = ReplayEndpoint.from_file(path)
        return [await endpoint.complete(one) for one in reversed(prompts)]

    asyncio.run(record())
    assert inner.closed
    assert asyncio.run(replay()) == list(reversed(replies))
    lines = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
    assert [line["prompt"] for line in lines] == ["a\nb\u2028c", "d"]


def test_recordings_are_appended_to(tmp_path, scripted_endpoint):
    path = tmp_path / "calls.jsonl"
    for user in ("a", "b"):
        endpoint = RecordingEndpoint(scripted_endpoint([Completion(user * 2, "m")]), path)
        asked(endpoint, prompt(user))
    assert asked(ReplayEndpoint.from_file(path), prompt("b"), prompt("a")) == ["bb", "aa"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no recorded call"),
        ('{"prompt": "a", "reply": "b"}\n{"prompt": "a", "re', r"calls\.jsonl:2: not a line"),
        ('{"prompt": "a"}', r"calls\.jsonl:1: expected .*'reply'"),
        ("[1]", r"calls\.jsonl:1: expected"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path, content, words):
    path = tmp_path / "calls.jsonl"
    path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        ReplayEndpoint.from_file(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"endpoint\.replay_path.*nowhere"):
        ReplayEndpoint.from_file(tmp_path / "nowhere.jsonl")


def test_the_published_recordings_replay(shared: Path):
    path = shared / "recordings" / "sick.jsonl"
    recorded = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    endpoint = ReplayEndpoint.from_file(path)
    prompts = [Prompt("", line["prompt"], line["phase"]) for line in recorded]
    assert asked(endpoint, *prompts) == [line["reply"] for line in recorded]
