"""Structured output over HTTP: what is asked with a schema is answered by it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.error
import urllib.request

import pandas as pd
import pytest

from rddg_ray.config import EmbeddedSettings, GenerationSettings
from rddg_ray.llm import OpenAIEndpoint
from rddg_ray.llm.embedded import MODEL, EmbeddedServer, serve_in_thread
from rddg_ray.llm.embedded.caching import PrefixCache
from rddg_ray.llm.embedded.columns import PromptColumn
from rddg_ray.llm.embedded.replying import reply
from rddg_ray.llm.embedded.structured import schema_fault, structured_reply
from rddg_ray.synthesis import Synthesis
from rddg_ray.table import from_frame

NAMES = ['price, "net" {EUR}', "größe\n(cm)", "bought on", "note", "class"]
ROW = {"type": "object", "properties": {"t": {"type": "string"}, "n": {"type": "number"}},
       "required": ["t", "n"], "additionalProperties": False}  # fmt: skip
SCHEMA = {"type": "object", "properties": {"rows": {"type": "array", "items": ROW}},
          "required": ["rows"], "additionalProperties": False}  # fmt: skip
USER = "t,n\nA.\na,1.5\na,2.5\na,4.0\n\nWrite 9 new rows of class A."


def hostile():
    notes = ["{{ x }}", "a, b", 'say "hi"', "```", "two\nlines", "ünï", "}, {", "| pipe |"]
    labels = ["low", "1. mid", "-high", "low"]
    rows = [
        (None if i % 5 == 4 else i + 0.25, 150 + 7 * i % 40, f"2024-0{1 + i % 9}-1{i % 7}",
         None if i % 8 == 7 else notes[i % 8], labels[i % 4])
        for i in range(48)
    ]  # fmt: skip
    return from_frame(pd.DataFrame(rows, columns=NAMES), "class", name='host "ile"')


def ran(study: Synthesis, server: EmbeddedServer):
    async def run():
        state, prompts, replies = study.start(), [], []
        async with contextlib.aclosing(OpenAIEndpoint(server.base_url, MODEL)) as endpoint:
            while not study.is_done(state):
                asked = study.ask(state)
                answers = [await endpoint.complete(prompt) for prompt in asked]
                state, _ = study.tell(state, answers)
                prompts += asked
                replies += answers
        return state, prompts, replies

    return asyncio.run(run())


@pytest.mark.parametrize("codes", [True, False])
def test_a_chain_in_json_reaches_its_target_on_columns_of_any_name(codes):
    table = hostile()
    wanted = {"low": 20, "1. mid": 7, "-high": 31}
    settings = GenerationSettings(reply_format="json_schema", codes=codes)
    study = Synthesis(table, None, settings, method="rddg", random_state=0, targets=wanted)
    with serve_in_thread(EmbeddedSettings(malformed_share=0.3)) as server:
        state, prompts, replies = ran(study, server)
    assert state.counts == wanted
    # Held to the schema, no row is malformed; some still repeat real ones.
    assert set(study.rejects_frame(state)["reason"]) <= {"copy", "repeat", "surplus"}
    for prompt, answer in zip(prompts[2:], replies[2:], strict=True):
        schema = json.loads(prompt.response_schema)
        cells = schema["properties"]["rows"]["items"]["properties"]
        rows = json.loads(answer.text)["rows"]
        assert rows
        for row in rows:
            assert list(row) == list(cells)
            for key, cell in cells.items():
                assert row[key] in cell["enum"] if "enum" in cell else True
                assert not isinstance(row[key], str) or "string" in cell["type"]
    assert prompts[0].response_schema is None
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(replies[0].text)


def test_a_reply_in_json_that_the_cap_cuts_keeps_its_whole_rows():
    settings = GenerationSettings(
        reply_format="json_schema", max_completion_tokens=310, max_rounds=1
    )
    study = Synthesis(hostile(), None, settings, method="epic", random_state=0,
                      targets={"low": 15})  # fmt: skip
    with serve_in_thread() as server:
        state, _, replies = ran(study, server)
    assert replies[0].finish_reason == "length"
    assert 0 < state.counts["low"] < 15
    assert study.rejects_frame(state)["reason"].tolist().count("truncated") == 1


def test_the_cap_and_the_schema_leave_the_sampler_s_draw_alone():
    messages = [("user", USER)]
    lines = reply(messages, EmbeddedSettings(malformed_share=0.0)).splitlines()[2:]
    rows = json.loads(reply(messages, EmbeddedSettings(malformed_share=0.0), SCHEMA))["rows"]
    assert [f"{row['t']},{row['n']}" for row in rows] == lines
    whole, cut = (asked({"max_tokens": cap}) for cap in (1000, 3))
    assert whole.startswith(cut)


def asked(fields):
    """Return the reply's text, or the error that a 400 told."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": USER}]} | fields
    with serve_in_thread() as server:
        request = urllib.request.Request(
            f"{server.base_url}/chat/completions", json.dumps(body).encode()
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.loads(response.read())["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as error:
            with error:
                return json.loads(error.read())["error"]


@pytest.mark.parametrize(
    ("response_format", "words"),
    [
        ({"type": "json_object"}, "reply formats other than text and json_schema"),
        ({"type": "json_schema"}, "'type' of 'object'"),
        ({"type": "json_schema", "json_schema": {"schema": {**SCHEMA, "required": []}}},
         "every key in properties"),
        ("json", "reply formats other than"),
    ],
)  # fmt: skip
def test_formats_it_does_not_do_are_refused_by_the_field_s_name(response_format, words):
    error = asked({"response_format": response_format})
    assert error["param"] == "response_format"
    assert words in error["message"]


def test_free_text_may_be_asked_for_by_name():
    assert asked({"response_format": {"type": "text"}}) == asked({})


@pytest.mark.parametrize(
    "change",
    [
        {"type": "array"},
        {"additionalProperties": True},
        {"required": ["rows", "more"]},
        {"properties": {}, "required": []},
        {"properties": {"rows": {"type": "array", "items": {**ROW, "required": ["t"]}}}},
        {"properties": {"rows": {"type": "array", "items": {"type": "string"}}}},
    ],
)
def test_a_schema_that_strict_mode_refuses_has_a_fault(change):
    assert schema_fault(SCHEMA) is None
    assert schema_fault({**SCHEMA, **change}) is not None


def test_values_take_the_type_that_the_schema_gives_them():
    cells = {
        "a": {"type": "integer"}, "b": {"type": ["number", "null"]},
        "key": {"type": "string", "enum": ["x", "y"], "description": "c, d"},
    }  # fmt: skip
    row = {**ROW, "properties": cells, "required": list(cells)}
    schema = {**SCHEMA, "properties": {"rows": {"type": "array", "items": row}}}
    columns = [PromptColumn(name, "number") for name in ("c, d", "a", "b")]
    rows = [["x", "3.0", "0.50"], ["y", "4", ""], ["z", "4", "1"], ["x", "", "1"]]
    assert json.loads(structured_reply(rows, columns, schema)) == {
        "rows": [{"a": 3, "b": 0.5, "key": "x"}, {"a": 4, "b": None, "key": "y"}]
    }


def test_the_beginning_of_a_prompt_is_cached_from_1024_tokens_on_in_steps_of_128():
    cache = PrefixCache()
    assert cache.see("a" * 4 * 1500) == 0
    cases = {"a" * 4 * 1023: 0, "a" * 4 * 1024: 1024, "a" * 4 * 1300 + "b": 1280,
             "a" * 4 * 9000: 1408, "b" + "a" * 4 * 1500: 0}  # fmt: skip
    assert {text: cache.see(text) for text in cases} == cases
    assert cache.see("a" * 4 * 9000) == 1024 + 128 * ((9000 - 1024) // 128)


def test_a_chain_is_told_of_the_tokens_that_the_endpoint_had_in_its_cache():
    columns = {f"measure_{i}": [(7 * i + 3 * r) % 50 for r in range(40)] for i in range(60)}
    frame = pd.DataFrame(columns | {"y": ["a", "b"] * 20})
    described = dict.fromkeys(columns, "a measure with a rather long description of it")
    table = from_frame(frame, "y", descriptions=described)
    settings = GenerationSettings(reference_rows_per_class=3, request_rows_per_class=5)
    study = Synthesis(table, None, settings, method="epic", random_state=0,
                      targets={"a": 10, "b": 10})  # fmt: skip
    with serve_in_thread() as server:
        state, prompts, replies = ran(study, server)
    cached = [answer.usage.cached_tokens for answer in replies]
    assert cached[0] == 0
    # The header of the rows is the last that two rounds share.
    one, other = (prompt.system + prompt.user for prompt in prompts)
    stays = next(at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    assert stays > len(prompts[0].system) + prompts[0].user.index("## Rows")
    expected = 1024 + 128 * ((stays // 4 - 1024) // 128)
    assert cached[1:] == [expected] * len(cached[1:])
    assert state.usage.cached_tokens == sum(cached)
