"""From prompt text to structure."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from rddg_ray.llm.embedded.reading import read_block, read_prompt
from rddg_ray.llm.embedded.remarks import Remark, read_remarks
from rddg_ray.llm.embedded.statements import Formula, Implication, Range, read_statements

HEADER = ["diagnosis", "age", "sex", "since"]
ENTRIES = {
    "age": "number, 1 decimals, from 18 to 90.5, unit years, may be empty. Age at admission.",
    "sex": 'one of "N0E", "HF9", "K, \\"L\\""',
    "since": "date, format %Y-%m-%d, from 2020-01-31 to 2021-12-01. First visit.",
}
ROWS = {
    "KJZ": [["KJZ", "30", "N0E", "2020-02-01"], ["KJZ", "", "HF9", "2020-03-01"]],
    "UDE": [["UDE", "51.5", "N0E", "2021-02-01"]],
}


def test_a_generation_prompt_is_read_whole(write_generation):
    text = write_generation(
        HEADER, ENTRIES, ROWS, {"A": 15, "B": 7}, rules="a rule", feedback="a report"
    )
    reading = read_prompt(text)
    assert reading.phase == "generation"
    assert reading.requests == (("A", 15), ("B", 7))
    assert reading.classes == {"A": "KJZ", "B": "UDE"}
    assert reading.rows == {"A": ROWS["KJZ"], "B": ROWS["UDE"]}
    assert (reading.rules, reading.feedback) == ("a rule", "a report")
    diagnosis, age, sex, since = reading.columns
    assert diagnosis.name == "diagnosis"
    assert (age.kind, age.minimum, age.maximum) == ("number", 18.0, 90.5)
    assert (sex.kind, sex.categories) == ("category", ("N0E", "HF9", 'K, "L"'))
    assert (since.kind, since.date_format) == ("date", "%Y-%m-%d")
    assert since.cell(since.number("2021-05-06")) == "2021-05-06"
    assert since.cell(since.minimum) == "2020-01-31"


def test_relations_and_constraints_prompts_are_told_apart(write_relations, write_constraints):
    assert read_prompt(write_relations(HEADER, ENTRIES, ROWS)).phase == "relations"
    reading = read_prompt(write_constraints(HEADER, ENTRIES, ROWS, "what was seen"))
    assert reading.phase == "constraints"
    assert reading.relations == "what was seen"
    assert [column.name for column in reading.columns] == HEADER


def test_a_constraints_prompt_may_come_without_an_analysis(write_constraints):
    prompt = write_constraints(HEADER, ENTRIES, ROWS, "gone").replace("## Relations\ngone\n\n", "")
    reading = read_prompt(prompt)
    assert (reading.phase, reading.relations) == ("constraints", "")


def test_headings_in_a_models_own_text_do_not_end_its_section(write_constraints, write_generation):
    analysis = "## Rows\nage rises\n\n## Rules\nnone"
    reading = read_prompt(write_constraints(HEADER, ENTRIES, ROWS, analysis))
    assert reading.relations == analysis
    rules = "## Rules for class A\n## Rows\n## Task\n1. be good"
    reading = read_prompt(write_generation(HEADER, ENTRIES, ROWS, {"A": 1}, rules=rules))
    assert reading.rules == rules
    assert reading.rows["B"] == ROWS["UDE"]


def test_names_and_cells_with_commas_quotes_braces_and_newlines_survive(write_generation):
    header = ['the "class"', 'price, "net" {EUR}', "two\nlines", "{{x}}"]
    rows = {
        'a "b"': [['a "b"', "1.5", "A.\nB.", "{% raw %}"], ['a "b"', "2.5", "## Task", ","]],
        "c\nd": [["c\nd", "3.5", "x", ""]],
    }
    reading = read_prompt(write_generation(header, {}, rows, {"A": 3, "B": 2}))
    assert [column.name for column in reading.columns] == header
    assert reading.rows == {"A": rows['a "b"'], "B": rows["c\nd"]}
    assert reading.classes == {"A": 'a "b"', "B": "c\nd"}
    assert reading.requests == (("A", 3), ("B", 2))


def test_a_class_named_like_a_request_asks_for_nothing(write_generation):
    rows = {"9 new rows of class B": [["9 new rows of class B", "1"]], "x": [["x", "2"]]}
    reading = read_prompt(write_generation(["t", "n"], {}, rows, {"A": 4}))
    assert reading.requests == (("A", 4),)


def test_kinds_and_places_are_found_from_the_rows_where_none_are_told():
    text = "c,n,k,w\nA.\na,1.25,x,64.0\na,2.50,y,61.0\nB.\nb,,x,5.0\n\n3 new rows under A.\n"
    reading = read_prompt(text)
    _, n, k, w = reading.columns
    assert (n.kind, n.decimals, n.suffix) == ("number", 2, "")
    assert (k.kind, k.categories) == ("category", ("x", "y"))
    assert (w.decimals, w.suffix, w.cell(63.0)) == (0, ".0", "63.0")
    assert (n.cell(-0.001), n.cell(math.nan)) == ("0.00", "")


def test_a_text_without_rows_is_none_of_the_phases():
    assert read_prompt("Hello, who are you?").phase is None
    assert read_block("a,b\nc,d\n") == ((), {})


def test_the_published_prompts_are_read(shared: Path):
    path = shared / "recordings" / "sick.jsonl"
    recorded = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    readings = [read_prompt(line["prompt"]) for line in recorded]
    assert [reading.phase for reading in readings] == [line["phase"] for line in recorded]
    for reading in readings[2:]:
        assert reading.requests == (("A", 15), ("B", 15))
        assert {letter: len(rows) % 15 for letter, rows in reading.rows.items()} == {"A": 0, "B": 0}
        assert len(reading.columns) == 28


FEEDBACK = """Overall:
- Adjust mean values closer to: "age" 51.3 (was 48.0); "a; \\"b\\" (was 1)" -4.2 (was 6.1)
- Maintain variance similar to: "age" 18.9 (was 12.1); "when" 3.5 days (was 2 days)
- Strengthen correlation between: "TT4" and "FTI" 0.72 (was 0.31)
- Weaken correlation between: "x" and "y" -0.02 (was -0.40)
Class B ("U; D"):
- Align distribution patterns for: "T3" 0.41; "T4" 0.38
- Align category shares for: "sex" "SD6" 0.62 (was 0.90)
- Something else entirely: "age" 1 (was 2)"""


def test_every_feedback_sentence_is_read():
    assert read_remarks(FEEDBACK) == [
        Remark("mean", None, ("age",), "51.3", "48.0"),
        Remark("mean", None, ('a; "b" (was 1)',), "-4.2", "6.1"),
        Remark("std", None, ("age",), "18.9", "12.1"),
        Remark("std", None, ("when",), "3.5 days", "2 days"),
        Remark("correlation", None, ("TT4", "FTI"), "0.72", "0.31"),
        Remark("correlation", None, ("x", "y"), "-0.02", "-0.40"),
        Remark("distribution", "B", ("T3",), "0.41", ""),
        Remark("distribution", "B", ("T4",), "0.38", ""),
        Remark("share", "B", ("sex", "SD6"), "0.62", "0.90"),
    ]


@pytest.mark.parametrize(
    "name", ["age", 'price, "net" {EUR}', "two\nlines", "a is between b and c"]
)
def test_statements_are_read_back_as_they_were_written(name):
    statements = [
        Range('K, "Z"', name, "-1.5", "77"),
        Range(None, name, "2020-01-01", "2021-01-01"),
        Formula(name, "TT4", "/", "T4U", 0.5),
        Implication("flag", "JYW", name, "2.013504330446369", is_number=True),
        Implication(name, "M5F", "other", 'R, "I"', is_number=False),
    ]
    lines = [f"{n}. {statement.sentence()}." for n, statement in enumerate(statements, start=1)]
    found = read_statements("\n".join(["Some prose.", *lines, "- More prose is between us."]))
    assert [*found.ranges, *found.formulas, *found.implications] == statements
