from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rddg_ray.constraints import split_reply
from rddg_ray.constraints.lenient_json import MAX_ERRORS, LenientJson
from rddg_ray.constraints.replies import MAX_RULES

RANGE = {"type": "range", "column": "x", "low": 0}
ORDER = {"type": "order", "columns": ["x", "y"]}


def fenced(body: str, tag: str = "json") -> str:
    return f"1. Be good.\n\n```{tag}\n{body}\n```\n\nThat is all."


@pytest.mark.parametrize(
    "text",
    [
        fenced(json.dumps([RANGE, ORDER])),
        fenced(json.dumps([RANGE, ORDER], indent=2), tag=""),
        fenced(json.dumps({"rules": [RANGE, ORDER]})),
        fenced(f"{json.dumps(RANGE)}\n{json.dumps(ORDER)}"),
        fenced(f"{json.dumps(RANGE)},\n{json.dumps(ORDER)},"),
        fenced("[{'type': 'range', 'column': 'x', 'low': 0,}, // all\n"
               "# and\n{type: \"order\", columns: ['x', 'y',] /* so */},]"),
        fenced(json.dumps([RANGE])).replace("That is all.", fenced(json.dumps([ORDER]))),
        f"1. Be good.\n\n{json.dumps([RANGE, ORDER])}\n\nThat is all.",
        f"1. Be good.\n{json.dumps(RANGE)}\nand\n{json.dumps(ORDER)}\nThat is all.",
    ],
)  # fmt: skip
def test_rules_are_found_however_they_are_written(text: str) -> None:
    reply = split_reply(text)
    assert list(reply.items) == [RANGE, ORDER]
    assert reply.errors == ()
    assert reply.prose.startswith("1. Be good.")
    assert reply.prose.endswith("That is all.")
    assert "{" not in reply.prose


def test_a_reply_that_was_cut_off_keeps_its_whole_rules() -> None:
    text = "1. Be good.\n```json\n" + json.dumps([RANGE, ORDER])
    reply = split_reply(text[:-20])
    assert list(reply.items) == [RANGE]
    assert len(reply.errors) >= 1


def test_one_broken_rule_does_not_take_the_others_with_it() -> None:
    body = f'[{json.dumps(RANGE)}, {{"type": oops, "column": "a}}b"}}, {json.dumps(ORDER)}]'
    reply = split_reply(fenced(body))
    assert list(reply.items) == [RANGE, ORDER]
    assert len(reply.errors) == 1
    assert "'oops' is no value" in reply.errors[0]


def test_what_is_no_rule_stays_prose() -> None:
    text = "Use these:\n```\na,b\n1,2\n```\nand {brace} [1, 2] and more."
    assert split_reply(text).prose == text
    assert split_reply(text).items == ()


def test_a_flood_of_rules_is_cut_and_said() -> None:
    reply = split_reply(fenced(json.dumps([RANGE] * (MAX_RULES + 5))))
    assert len(reply.items) == MAX_RULES
    assert str(MAX_RULES + 5) in reply.errors[0]


def test_deep_nesting_is_refused_not_followed() -> None:
    assert split_reply("```json\n" + "[" * 100_000).items == ()
    assert split_reply('```json\n{"type": ' + '{"a":' * 5_000).items == ()


def test_what_cannot_be_read_is_passed_over_after_a_while() -> None:
    for text in ("[" + "," * 50_000, "[{\n" * 30_000, "[" + "'x\" " * 20_000, '{"a": [' * 20_000):
        for reply in (split_reply(text), split_reply(f"```json\n{text}")):
            assert len(reply.errors) <= MAX_ERRORS + 2
            assert reply.items == ()


@given(st.text(alphabet="{}[]\"'`:,\\ntypecolumnrulewhn0123456789.-+#/* \n", max_size=300))
def test_any_text_near_json_can_be_read(text: str) -> None:
    reply = split_reply(text)
    assert all(isinstance(item, dict) for item in reply.items)


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    split_reply("```json\n[" + text)
    split_reply(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(values)
def test_the_lenient_reader_reads_json_as_json(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        # Twelve leaves nest less deep than the reader goes.
        reader = LenientJson(text)
        assert reader.read() == value
        assert (reader.errors, reader.end) == ([], len(text))
