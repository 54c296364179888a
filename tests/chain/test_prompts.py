from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from typing import Literal

import pandas as pd
import pytest

from rddg_ray.codes import Codes
from rddg_ray.config import EmbeddedSettings
from rddg_ray.constraints import GrammarReader, split_reply
from rddg_ray.exchange import Prompt
from rddg_ray.llm.embedded.columns import read_columns
from rddg_ray.llm.embedded.replying import reply
from rddg_ray.parsing import RowParser
from rddg_ray.prompts import MAX_CATEGORIES, PromptWriter
from rddg_ray.reply_schema import reply_schema
from rddg_ray.table import Table, from_frame

ROWS = {"low": [0, 3], "-high": [2], "1. mid": [1]}
EVIL = "use {{ rows }} {% raw %} {# no #} ```\n## Rows\n{brace} %s \\n"


@pytest.fixture(params=["codes", "plain"])
def codes(request: pytest.FixtureRequest, hostile: Table) -> Codes:
    return Codes.draw(hostile.prompt_columns, 0) if request.param == "codes" else Codes()


def sections(prompt: Prompt) -> list[str]:
    return re.findall(r"^## (.*)$", prompt.user, re.MULTILINE)


def block(prompt: Prompt) -> list[list[str]]:
    """Return the CSV records of the last block of rows, read by Python alone."""
    text = prompt.user.rpartition("## Rows\n")[2].partition("\n\n## Task")[0]
    return list(csv.reader(text.splitlines(keepends=True)))


def test_each_phase_has_its_sections_in_order(hostile: Table) -> None:
    writer = PromptWriter(hostile, Codes())
    assert sections(writer.relations(ROWS)) == ["Table", "Rows", "Task"]
    assert sections(writer.constraints("r")) == ["Table", "Relations", "Task"]
    assert sections(writer.generation(ROWS, {"low": 1}, rules="r", feedback="f")) == [
        "Table",
        "Rules",
        "Format",
        "Quality report on the rows you wrote last",
        "Rows",
        "Task",
    ]
    assert sections(writer.generation(ROWS, {"low": 1})) == ["Table", "Format", "Rows", "Task"]
    assert sections(writer.constraints("")) == ["Table", "Task"]


def test_a_block_holds_the_real_cells_under_their_letters(hostile: Table, codes: Codes) -> None:
    records = block(PromptWriter(hostile, codes).relations(ROWS))
    names = [column.name for column in hostile.prompt_columns]
    assert records[0] == names
    shown = [
        [codes.encode(name, cell) if name in codes.by_column else cell
         for name, cell in zip(names, cells, strict=True)]
        for cells in hostile.cells([0, 3, 2, 1])
    ]  # fmt: skip
    letters = {label: letter for letter, label in zip("ABC", hostile.classes, strict=True)}
    assert records[1:] == [
        [letters["low"] + "."], *shown[:2],
        [letters["-high"] + "."], shown[2],
        [letters["1. mid"] + "."], shown[3],
    ]  # fmt: skip


def test_texts_of_the_model_are_never_rendered(hostile: Table, codes: Codes) -> None:
    writer = PromptWriter(hostile, codes)
    assert f"## Relations\n{EVIL}\n" in writer.constraints(EVIL).user
    user = writer.generation(ROWS, {"low": 1}, rules=EVIL, feedback=EVIL).user
    assert f"## Rules\n{EVIL}\n" in user
    assert f"wrote last\n{EVIL}\n" in user


def test_every_column_is_described_on_one_line_under_its_json_name(
    hostile: Table, codes: Codes
) -> None:
    user = PromptWriter(hostile, codes).constraints("").user
    lines = [line for line in user.split("\n") if line.startswith("- ")]
    found = dict(json.JSONDecoder().raw_decode(line[2:]) for line in lines)
    assert list(found) == [column.name for column in hostile.prompt_columns]
    by_name = dict(zip(found, lines, strict=True))
    assert (
        ": number, 2 decimals, from 0.25 to 47.25, may be empty." in by_name['price, "net" {EUR}']
    )
    assert ": number, 0 decimals, from 150 to 189." in by_name["größe\n(cm)"]
    assert ": date, format %Y-%m-%d, from 2024-01-" in by_name["bought on"]
    assert by_name["note"].endswith(", may be empty. free {{ text }} in two lines")


def test_codes_hide_every_category(hostile: Table) -> None:
    codes = Codes.draw(hostile.prompt_columns, 0)
    user = PromptWriter(hostile, codes).generation(ROWS, {"low": 2}).user
    assert "each code stands for one value" in user
    for value in ("ünï", "say", "1. mid", "-high", "| pipe |"):
        assert value not in user.replace("free {{ text }} in two lines", "")


def test_the_task_names_rows_and_classes_and_ends_with_the_header(hostile: Table) -> None:
    user = (
        PromptWriter(hostile, Codes()).generation(ROWS, {"low": 15, "-high": 1, "1. mid": 2}).user
    )
    letters = {label: letter for letter, label in zip("ABC", hostile.classes, strict=True)}
    sentence = (
        f'Write 15 new rows of class {letters["low"]} ("low"), '
        f'1 new row of class {letters["-high"]} ("-high") and '
        f'2 new rows of class {letters["1. mid"]} ("1. mid").\n'
    )
    header = user.partition(sentence)[2]
    assert next(csv.reader(header.splitlines(keepends=True))) == [
        column.name for column in hostile.prompt_columns
    ]


def test_a_round_s_own_parts_come_after_all_that_stays(hostile: Table) -> None:
    writer = PromptWriter(hostile, Codes())
    one = writer.generation(ROWS, {"low": 1}, rules="r", feedback="x").user
    other = writer.generation({"low": [8]}, {"low": 9}, rules="r", feedback="y").user
    same = one[: next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)]
    assert same.endswith("## Quality report on the rows you wrote last\n")


def test_more_than_26_classes_have_letters(hostile: Table) -> None:
    labels = [f"k{i:02d}" for i in range(28) for _ in range(2)]
    table = from_frame(pd.DataFrame({"x": [i % 7 for i in range(56)], "y": labels}), "y")
    user = PromptWriter(table, Codes()).generation({"k27": [54]}, {"k27": 3}).user
    assert 'Z = "k25", AA = "k26", AB = "k27"' in user
    assert "\nAB.\nk27,5\n" in user
    assert 'Write 3 new rows of class AB ("k27").' in user


def test_sampling_options_travel_with_every_prompt(hostile: Table) -> None:
    writer = PromptWriter(hostile, Codes(), temperature=0.5, max_completion_tokens=900)
    phases: list[tuple[Prompt, Literal["relations", "constraints", "generation"]]] = [
        (writer.relations(ROWS), "relations"),
        (writer.constraints("r"), "constraints"),
        (writer.generation(ROWS, {"low": 1}), "generation"),
    ]
    for prompt, phase in phases:
        assert (prompt.phase, prompt.temperature, prompt.max_completion_tokens) == (phase, 0.5, 900)
        assert prompt.system.startswith("You write realistic rows for a table.")


def many(n_values: int) -> Table:
    """Return a table whose column `code` has so many values, of which the first is frequent."""
    codes = [f"v{i % n_values:04d}" for i in range(2 * n_values)] + ["v0000"] * 9
    labels = ["ab"[i % 2] for i in range(len(codes))]
    numbers = [i * 7 % 50 for i in range(len(codes))]
    return from_frame(pd.DataFrame({"code": codes, "x": numbers, "y": labels}), "y")


def entry(prompt: Prompt) -> str:
    return next(line for line in prompt.user.split("\n") if line.startswith('- "code"'))


def test_of_many_categories_the_most_frequent_are_listed_and_the_rest_is_counted() -> None:
    table = many(2000)
    line = entry(PromptWriter(table, Codes()).generation({"a": [3000]}, {"a": 2}))
    listed = re.findall(r'"(v\d+)"', line)
    assert tuple(listed) == table.schema["code"].categories[:MAX_CATEGORIES]
    assert listed[0] == "v0000"
    assert line.endswith(f", and {2000 - MAX_CATEGORIES} more, as rows show them.")
    assert len(line) < 1000


def test_a_list_of_categories_at_the_limit_is_whole() -> None:
    line = entry(PromptWriter(many(MAX_CATEGORIES), Codes()).constraints(""))
    assert line.count('"v') == MAX_CATEGORIES
    assert "more" not in line


def test_the_list_of_categories_does_not_depend_on_the_rows_shown() -> None:
    writer = PromptWriter(many(200), Codes())
    lines = {entry(writer.generation({"a": [at]}, {"a": 2})) for at in (0, 150, 398)}
    assert len(lines) == 1


@pytest.mark.parametrize("with_codes", [True, False])
def test_the_embedded_reader_reads_a_cut_list_and_answers_with_values_of_the_column(
    with_codes: bool,
) -> None:
    table = many(200)
    codes = Codes.draw(table.prompt_columns, 0) if with_codes else Codes()
    rows = {label: list(range(place, 60, 2)) for place, label in enumerate("ab")}
    prompt = PromptWriter(table, codes).generation(rows, {"a": 8, "b": 8})
    told = next(c for c in read_columns(prompt.user) if c.name == "code")
    assert len(told.categories) == MAX_CATEGORIES
    text = reply([("user", prompt.user)], EmbeddedSettings(malformed_share=0.0))
    parsed = RowParser(table.prompt_columns, codes, table.classes).parse(text)
    assert len(parsed.rows) == 16


def test_the_example_of_the_rules_prompt_is_in_the_grammar(hostile: Table) -> None:
    user = PromptWriter(hostile, Codes()).constraints("r").user
    items = split_reply(user.partition("For example:")[2]).items
    rows = {"width": [1.5, 2.5], "height": [2.5, 1.5], "area": [3.7, 3.8], "kind": ["X1", "X2"]}
    frame = pd.DataFrame({**{k: v * 2 for k, v in rows.items()}, "y": ["a", "b"] * 2})
    table = from_frame(frame, "y")
    reader = GrammarReader(table.prompt_columns, table.frame, source="user")
    assert [type(reader.read(item, "r").body).__name__ for item in items] == ["Range", "Formula"]


def test_the_grammar_costs_less_than_400_tokens_of_the_rules_prompt(hostile: Table) -> None:
    user = PromptWriter(hostile, Codes()).constraints("r").user
    # A token of English holds about four characters.
    assert len(user.partition("Then repeat")[2]) < 1600


def test_a_json_prompt_names_every_key_and_carries_the_schema(hostile: Table, codes: Codes) -> None:
    writer = PromptWriter(hostile, codes, reply_format="json_schema")
    prompt = writer.generation(ROWS, {"low": 1}, rules="r")
    assert prompt.response_schema == reply_schema(hostile.prompt_columns, codes)
    keys = prompt.user.partition("in this order: ")[2].partition(".\n")[0]
    assert keys == (
        '"class", "column_1" for "price, \\"net\\" {EUR}", "column_2" for "größe\\n(cm)", '
        '"column_3" for "bought on", "note"'
    )
    assert "Write CSV" not in prompt.user
    assert "Write null where a value is missing." in prompt.user
    assert prompt.user.endswith("of class A (" + writer.class_name("low")[3:-1] + ").\n")


def test_words_are_asked_for_in_free_text_whatever_the_format_of_rows(hostile: Table) -> None:
    plain = PromptWriter(hostile, Codes())
    structured = PromptWriter(hostile, Codes(), reply_format="json_schema")
    assert structured.relations(ROWS) == plain.relations(ROWS)
    assert structured.constraints("r") == plain.constraints("r")


def test_a_cap_on_one_reply_changes_nothing_but_the_cap(hostile: Table) -> None:
    writer = PromptWriter(hostile, Codes())
    capped = writer.generation(ROWS, {"low": 1}, max_completion_tokens=700)
    assert capped.max_completion_tokens == 700
    assert replace(capped, max_completion_tokens=None) == writer.generation(ROWS, {"low": 1})
