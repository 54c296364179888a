"""Replies in JSON, whole or not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rddg_ray.codes import Codes
from rddg_ray.json_reply import json_rows
from rddg_ray.parsing import ParsedReply, RowParser
from rddg_ray.reply_schema import reply_keys
from rddg_ray.schema import Column
from rddg_ray.table import Table

COLUMNS = (
    Column("y", "categorical", categories=("no", "yes")),
    Column("x", "numerical", decimals=2),
    Column("n", "numerical", has_missing=True),
    Column("note", "categorical", categories=("{a}", 'say "hi"', "two\nlines", "}, {")),
)
PARSER = RowParser(COLUMNS, Codes(), ("no", "yes"), reply_keys(COLUMNS))
ROWS = [
    {"y": "no", "x": 1.5, "n": 3, "note": "{a}"},
    {"y": "yes", "x": 0.25, "n": None, "note": 'say "hi"'},
    {"y": "yes", "x": -2, "n": 4, "note": "two\nlines"},
    {"y": "no", "x": 7, "n": 5, "note": "}, {"},
]
VALUES = [
    ("no", 1.5, 3.0, "{a}"),
    ("yes", 0.25, None, 'say "hi"'),
    ("yes", -2.0, 4.0, "two\nlines"),
    ("no", 7.0, 5.0, "}, {"),
]


def values(reply: ParsedReply) -> list[Any]:
    return [row.values for row in reply.rows]


def compact(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


WHOLE = compact({"rows": ROWS})


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        json.dumps({"rows": ROWS}, indent=2),
        f"Here you are:\n```json\n{WHOLE}\n```\nEnjoy {{them}}!",
        f"<think>{{maybe}}</think>{WHOLE}",
        compact(ROWS),
        "\n".join(map(compact, ROWS)),
        compact({"A": ROWS[:1], "B": ROWS[1:3], "C": ROWS[3:], "D": []}),
        compact({"data": {"rows": ROWS}}),
        compact([dict(reversed(row.items())) for row in ROWS]),
        compact([{"id": 1, **row} for row in ROWS]),
        compact([{f" {key.upper()} ": value for key, value in row.items()} for row in ROWS]),
        compact([{key: None if v is None else str(v) for key, v in r.items()} for r in ROWS]),
    ],
)
def test_rows_are_found_whatever_stands_around_them(text: str) -> None:
    reply = PARSER.parse(text)
    assert values(reply) == VALUES
    assert reply.rejects == ()


def test_a_reply_cut_anywhere_keeps_the_whole_rows_and_names_the_cut_one() -> None:
    ends = [WHOLE.index(compact(row)) + len(compact(row)) for row in ROWS]
    for end in range(len(WHOLE)):
        reply = PARSER.parse(WHOLE[:end], "length")
        n_whole = sum(end >= position for position in ends)
        assert values(reply) == VALUES[:n_whole]
        assert {reject.reason for reject in reply.rejects} <= {"truncated", "malformed"}
        assert len(reply.rejects) <= 1
    cut = PARSER.parse(WHOLE[: ends[1] + 12], "length")
    assert [(reject.reason, reject.position) for reject in cut.rejects] == [("truncated", 2)]


@pytest.mark.parametrize(
    ("change", "reason", "named"),
    [
        ({"x": "high"}, "not_a_number", "'x'"),
        ({"x": None}, "missing_value", "'x'"),
        ({"y": "maybe"}, "out_of_class", "'y'"),
        ({"note": "new"}, "unknown_category", "'note'"),
        ({"x": [1, 2]}, "not_a_number", "'x'"),
        ({"x": True}, "not_a_number", "'x'"),
    ],
)
def test_a_bad_row_has_its_reason_and_its_neighbours_stay(
    change: dict[str, Any], reason: str, named: str
) -> None:
    reply = PARSER.parse(compact({"rows": [ROWS[0], ROWS[1] | change, ROWS[2]]}))
    assert values(reply) == [VALUES[0], VALUES[2]]
    (reject,) = reply.rejects
    assert (reject.reason, reject.position) == (reason, 1)
    assert named in reject.detail
    assert json.loads(reject.text) == ROWS[1] | change


def test_a_row_without_a_column_is_named() -> None:
    row = {"y": "no", "n": 3}
    (reject,) = PARSER.parse(compact({"rows": [row]})).rejects
    assert (reject.reason, reject.detail) == ("column_count", "no value for 'x', 'note'")


def test_a_row_in_broken_json_costs_no_other() -> None:
    broken = '{"y":"no","x":1.5,"n":3,"note":"{a}" "}'
    parts = [compact(ROWS[0]), broken, "{'y': 'no'}", compact(ROWS[1]), compact(ROWS[2])]
    reply = PARSER.parse('{"rows":[' + ",".join(parts) + "]}")
    assert values(reply) == VALUES[:3]
    assert [reject.reason for reject in reply.rejects] == ["malformed"]


def test_an_endpoint_that_ignores_the_schema_may_answer_in_lines() -> None:
    assert values(PARSER.parse("y,x,n,note\nno,1.5,3,{a}\nyes,0.25,,{a}\n")) == [
        ("no", 1.5, 3.0, "{a}"),
        ("yes", 0.25, None, "{a}"),
    ]


def test_json_is_not_looked_for_where_lines_were_asked_for() -> None:
    lines = RowParser(COLUMNS, Codes(), ("no", "yes"))
    assert lines.parse(WHOLE).rows == ()
    assert values(lines.parse('no,1.5,3,"}, {"')) == [("no", 1.5, 3.0, "}, {")]


def test_columns_of_any_name_come_back_under_their_keys_or_their_names(hostile: Table) -> None:
    codes = Codes.draw(hostile.prompt_columns, 0)
    keys = reply_keys(hostile.prompt_columns)
    parser = RowParser(hostile.prompt_columns, codes, hostile.classes, keys)
    names = [column.name for column in hostile.prompt_columns]
    real = [
        [codes.encode(name, cell) if name in codes.by_column else cell
         for name, cell in zip(names, row, strict=True)]
        for row in hostile.cells(list(range(9)))
    ]  # fmt: skip
    for called in (keys, names):
        reply = parser.parse(compact({"rows": [dict(zip(called, row, strict=True))
                                               for row in real]}))  # fmt: skip
        assert reply.rejects == ()
        assert len(reply.rows) == 9
    assert reply.rows[0].values[0] == hostile.labels[0]


def test_half_a_character_becomes_a_question_mark() -> None:
    (row,) = json_rows('{"note": "a\\ud83d"}')
    assert row.cells == {"note": "a?"}


def test_numbers_keep_their_digits() -> None:
    (row,) = json_rows('{"a": 0.10, "b": 12345678901234567890, "c": 1e-7, "d": NaN, "e": -0}')
    assert row.cells == {"a": "0.10", "b": "12345678901234567890", "c": "1e-7", "d": "NaN",
                         "e": "-0"}  # fmt: skip


@given(st.text(alphabet='{}[]":,\\ab1 \n', max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    PARSER.parse(text, "length")


@pytest.mark.parametrize(
    "piece", ['{"a":', '{"a', '{"', "{", '["', '{"a":1,', '"{', '{"a":"\\', '{"a":"{"},', "}{"]
)
def test_a_long_reply_of_nothing_but_broken_rows_keeps_little_of_each(piece: str) -> None:
    n_kept = [len(row.text) for row in json_rows(piece * 20_000)]
    assert max(n_kept, default=0) <= 2_000
    assert len(n_kept) <= 20_000
