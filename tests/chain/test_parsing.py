from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rddg_ray.cell_text import csv_line
from rddg_ray.codes import Codes
from rddg_ray.novelty import Row
from rddg_ray.parsing import ParsedReply, RowParser
from rddg_ray.reply_lines import prose
from rddg_ray.schema import Column
from rddg_ray.table import Table

COLUMNS = (
    Column("Class", "categorical", categories=("healthy", "ill")),
    Column("age", "numerical"),
    Column("dose", "numerical", decimals=2, has_missing=True),
    Column("sex", "categorical", categories=("F", "M"), has_missing=True),
    Column("ward", "categorical", categories=("north", "south", "a, b")),
)
CODES = Codes({
    "Class": {"healthy": "KJZ", "ill": "UDE"},
    "sex": {"F": "SD6", "M": "GCF"},
    "ward": {"north": "N0E", "south": "HF9", "a, b": "P81"},
})  # fmt: skip
PARSER = RowParser(COLUMNS, CODES, ("healthy", "ill"))
HEALTHY: Row = ("healthy", 64.0, 1.5, "F", "north")
ILL: Row = ("ill", 70.0, None, "M", "south")


def parse(text: str, finish_reason: str = "stop") -> ParsedReply:
    return PARSER.parse(text, finish_reason)


def rows(text: str) -> list[Row]:
    reply = parse(text)
    assert reply.rejects == ()
    return [row.values for row in reply.rows]


BOTH = [HEALTHY, ILL]
READABLE = {
    "plain": "KJZ,64,1.5,SD6,N0E\nUDE,70,,GCF,HF9",
    "labels": "A.\nKJZ,64,1.5,SD6,N0E\nB.\nUDE,70,,GCF,HF9\n",
    "header": "Class,age,dose,sex,ward\nKJZ,64,1.5,SD6,N0E\nClass,age,dose,sex,ward\n"
    "UDE,70,,GCF,HF9",
    "spaces": "KJZ, 64, 1.5, SD6, N0E\nUDE , 70 , , GCF , HF9 ",
    "fence": "```csv\nKJZ,64,1.5,SD6,N0E\n```\n\n```\nUDE,70,,GCF,HF9\n```",
    "chat": "Sure! Here are the rows, as you asked, in CSV, balanced:\n\nKJZ,64,1.5,SD6,N0E\n"
    "And now, for the second class, another one:\nUDE,70,,GCF,HF9\n\nLet me know, if more, helps!",
    "bold labels": "**A.**\nKJZ,64,1.5,SD6,N0E\n**Class B (UDE):**\nUDE,70,,GCF,HF9",
    "heading labels": '### Class A ("KJZ")\nKJZ,64,1.5,SD6,N0E\n## B = UDE\nUDE,70,,GCF,HF9',
    "label before a row": "A. KJZ,64,1.5,SD6,N0E\nB. UDE,70,,GCF,HF9",
    "numbers": "1. KJZ,64,1.5,SD6,N0E\n2) UDE,70,,GCF,HF9",
    "bullets": "- KJZ,64,1.5,SD6,N0E\n* UDE,70,,GCF,HF9",
    "quote marks": "> KJZ,64,1.5,SD6,N0E\n> UDE,70,,GCF,HF9",
    "row names": "Row 1: KJZ,64,1.5,SD6,N0E\nRow 2: UDE,70,,GCF,HF9",
    "row numbers as a column": "#,Class,age,dose,sex,ward\n1,KJZ,64,1.5,SD6,N0E\n"
    "2,UDE,70,,GCF,HF9",
    "row numbers without a header": "1,KJZ,64,1.5,SD6,N0E\n2,UDE,70,,GCF,HF9",
    "markdown": "| Class | age | dose | sex | ward |\n|---|---:|---:|:--|---|\n"
    "| KJZ | 64 | 1.5 | SD6 | N0E |\n| UDE | 70 |  | GCF | HF9 |",
    "tabs": "KJZ\t64\t1.5\tSD6\tN0E\nUDE\t70\t\tGCF\tHF9",
    "semicolons": "KJZ;64;1.5;SD6;N0E\nUDE;70;;GCF;HF9",
    "quoted": '"KJZ","64","1.5","SD6","N0E"\n"UDE","70","","GCF","HF9"',
    "brackets": '["KJZ", "64", "1.5", "SD6", "N0E"],\n[UDE, 70, , GCF, HF9]',
    "a comma at the end": "KJZ,64,1.5,SD6,N0E,\nUDE,70,,GCF,HF9,",
    "units": "KJZ,64 years,1.50 mg,SD6,N0E\nUDE,70 y,N/A,GCF,HF9",
    "other case": "kjz,64,1.5,sd6,n0e\nude,70,,gcf,hf9",
    "bold rows": "**KJZ,64,1.5,SD6,N0E**\n`UDE,70,,GCF,HF9`",
    "windows line ends": "KJZ,64,1.5,SD6,N0E\r\nUDE,70,,GCF,HF9\r\n",
    "thinking": "<think>\nKJZ,1,1,SD6,N0E would be too young\n</think>\nKJZ,64,1.5,SD6,N0E\n"
    "UDE,70,,GCF,HF9",
    "the class left out": "A.\n64,1.5,SD6,N0E\nB.\n70,,GCF,HF9",
    "the class cell empty": "A.\n,64,1.5,SD6,N0E\nB.\n,70,,GCF,HF9",
    "sections by class name": "KJZ:\n64,1.5,SD6,N0E\n**UDE**\n70,,GCF,HF9",
    "columns in another order": "age,dose,sex,ward,Class\n64,1.5,SD6,N0E,KJZ\n70,,GCF,HF9,UDE",
    "too many places": "KJZ,64.2,1.499,SD6,N0E\nUDE,70.0,,GCF,HF9",
}  # fmt: skip


@pytest.mark.parametrize("text", READABLE.values(), ids=READABLE.keys())
def test_rows_are_found_in_chat(text: str) -> None:
    assert rows(text) == BOTH


def test_a_quoted_cell_may_hold_commas_quotes_and_newlines() -> None:
    columns = (COLUMNS[0], Column("t", "categorical", categories=('a "b", c', "two\nlines", "x")))
    parser = RowParser(columns, Codes(), ("healthy", "ill"))
    reply = parser.parse('healthy,"a ""b"", c"\nill,"two\nlines"\nhealthy,x')
    assert reply.rejects == ()
    assert [row.values[1] for row in reply.rows] == ['a "b", c', "two\nlines", "x"]


def test_a_stray_quote_costs_its_own_row_only() -> None:
    reply = parse('KJZ,64,1.5,SD6,N0E\nKJZ,"65,1.5,SD6,N0E\nUDE,70,,GCF,HF9\nUDE,70,,GCF,"HF9"')
    assert [row.values for row in reply.rows] == [HEALTHY, ILL, ILL]
    assert [reject.reason for reject in reply.rejects] == ["column_count"]


def test_thousands_are_read_only_inside_quotes() -> None:
    assert rows('KJZ,64,"1,234.5",SD6,N0E')[0][2] == 1234.5
    assert parse("KJZ,64,1,234.5,SD6,N0E").rejects[0].reason == "column_count"


def test_a_number_beyond_the_range_of_real_rows_is_accepted() -> None:
    columns = (COLUMNS[0], Column("age", "numerical", minimum=18.0, maximum=90.0))
    reply = RowParser(columns, Codes(), ("healthy", "ill")).parse("ill,-3\nill,900")
    assert [row.values[1] for row in reply.rows] == [-3.0, 900.0]


REFUSED = {
    "KJZ,64,1.5,SD6": "column_count",
    "KJZ,64,1.5,SD6,N0E,N0E": "column_count",
    "KJZ,old,1.5,SD6,N0E": "not_a_number",
    "KJZ,64,1.5,QQQ,N0E": "unknown_category",
    "KJZ,,1.5,SD6,N0E": "missing_value",
    "KJZ,64,1.5,SD6,": "missing_value",
    "ZZZ,64,1.5,SD6,N0E": "out_of_class",
    "- 3. ZZZ,64,1.5,SD6,N0E": "out_of_class",
    "| KJZ | 64 | 1.5 | QQQ | N0E |": "unknown_category",
    "XXX,old,new,QQQ,WWW": "out_of_class",
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_a_row_that_cannot_be_read_is_refused_with_its_reason(text: str, reason: str) -> None:
    reply = parse(f"KJZ,64,1.5,SD6,N0E\n{text}\nUDE,70,,GCF,HF9")
    assert [row.values for row in reply.rows] == BOTH
    assert [(reject.reason, reject.text) for reject in reply.rejects] == [(reason, text)]
    assert [row.position for row in reply.rows] == [0, 2]
    assert reply.rejects[0].position == 1


def test_a_date_of_another_form_is_refused() -> None:
    columns = (COLUMNS[0], Column("on", "datetime", datetime_format="%Y-%m-%d"), COLUMNS[1])
    parser = RowParser(columns, Codes(), ("healthy", "ill"))
    reply = parser.parse("ill,2024-02-03,5\nill,3 Feb,5")
    assert [reject.reason for reject in reply.rejects] == ["not_a_date"]
    assert len(reply.rows) == 1


def test_a_reject_names_the_column_and_the_value() -> None:
    assert "'age'" in parse("KJZ,old,1.5,SD6,N0E").rejects[0].detail
    assert "'old'" in parse("KJZ,old,1.5,SD6,N0E").rejects[0].detail
    assert "4 cells" in parse("KJZ,64,1.5,SD6").rejects[0].detail


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot help with that.",
        "No, I can write no rows, sorry.",
        "Class A, the healthy one, is older, on the whole, than B.",
        "---\n\n***\n| | |\n",
        "C.",
        "Here are 15 rows, 5 columns each:",
    ],
)
def test_prose_makes_neither_rows_nor_rejects(text: str) -> None:
    assert parse(text) == ParsedReply()


def test_half_a_character_in_a_reply_does_not_break_what_is_kept_of_it() -> None:
    (reject,) = parse("KJZ,64,1.5,SD6,\ud83d").rejects
    assert reject.text.encode("utf-8") == b"KJZ,64,1.5,SD6,?"
    assert prose("rule \ud83d") == "rule ?"


def test_the_class_cell_counts_where_a_label_contradicts_it() -> None:
    assert rows("A.\nUDE,70,,GCF,HF9\nB.\nKJZ,64,1.5,SD6,N0E") == [ILL, HEALTHY]


def test_a_row_without_its_class_needs_a_known_label_above() -> None:
    assert [reject.reason for reject in parse("64,1.5,SD6,N0E").rejects] == ["column_count"]
    below_unknown = parse("A.\n64,1.5,SD6,N0E\nC.\n64,1.5,SD6,N0E")
    assert (len(below_unknown.rows), len(below_unknown.rejects)) == (1, 1)


def test_the_last_line_of_a_cut_reply_is_refused_even_if_it_reads_as_a_row() -> None:
    for tail in ("UDE,70,,GCF,HF9", "UDE,70,,GCF", "UDE,70", "UDE", '"UDE",70,,GCF,"a,'):
        reply = parse(f"KJZ,64,1.5,SD6,N0E\n{tail}", "length")
        assert [row.values for row in reply.rows] == [HEALTHY], tail
        assert [reject.reason for reject in reply.rejects] == ["truncated"], tail


def test_a_line_that_ended_before_the_cut_is_whole() -> None:
    assert parse("KJZ,64,1.5,SD6,N0E\nUDE,70,,GCF,HF9\n", "length").rejects == ()
    assert len(parse("KJZ,64,1.5,SD6,N0E\nUDE,70,,GCF,HF9\n", "length").rows) == 2
    assert parse("KJZ,64,1.5,SD6,N0E\nAnd so on", "length").rejects == ()


def test_numbers_as_class_names_are_not_numbering() -> None:
    columns = (Column("y", "categorical", categories=("-1", "0", "1")), COLUMNS[1])
    parser = RowParser(columns, Codes(), ("0", "1", "-1"))
    reply = parser.parse("-1,5\n0,6\n1.0,7\n1. 0,8\n- -1,9\n1,0,5")
    assert [row.values for row in reply.rows] == [
        ("-1", 5.0), ("0", 6.0), ("1", 7.0), ("0", 8.0), ("-1", 9.0),
    ]  # fmt: skip
    assert [reject.reason for reject in reply.rejects] == ["column_count"]


def test_six_classes_have_six_sections() -> None:
    labels = tuple(f"k{i}" for i in range(6))
    columns = (Column("y", "categorical", categories=labels), COLUMNS[1], COLUMNS[2])
    text = "\n".join(f"{letter}.\n{i},0.5" for i, letter in enumerate("ABCDEF"))
    reply = RowParser(columns, Codes(), labels).parse(text)
    assert [row.values for row in reply.rows] == [(f"k{i}", float(i), 0.5) for i in range(6)]


def test_hostile_rows_read_back_as_they_are(hostile: Table) -> None:
    for codes in (Codes(), Codes.draw(hostile.prompt_columns, 0)):
        parser = RowParser(hostile.prompt_columns, codes, hostile.classes)
        header = csv_line([column.name for column in hostile.prompt_columns])
        cells = [
            [codes.encode(column.name, cell) if column.categories else cell
             for column, cell in zip(hostile.prompt_columns, row, strict=True)]
            for row in hostile.cells()
        ]  # fmt: skip
        reply = parser.parse("\n".join([header, "A.", *map(csv_line, cells)]))
        assert reply.rejects == ()
        assert [
            tuple(c.encode(v) for c, v in zip(hostile.prompt_columns, row.values, strict=True))
            for row in reply.rows
        ] == hostile.row_keys()


def test_words_lose_their_thinking_and_their_fence() -> None:
    assert prose("<think>\nhm\n</think>\n\n1. a rule ") == "1. a rule"
    assert prose("```text\n1. a rule\n2. ```x```\n```") == "1. a rule\n2. ```x```"
    assert prose(" \n") == ""
    assert prose("<think>never ends") == ""


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]) | st.sampled_from('",|\n\t;-.{}'),
    min_size=1,
    max_size=8,
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[tuple[Column, ...], list[Row]]:
    n_columns = draw(st.integers(1, 5))
    columns = [Column("y", "categorical", categories=("x", "y z", "w,v"))]
    for place in range(n_columns):
        if draw(st.booleans()):
            decimals, missing = draw(st.integers(0, 4)), draw(st.booleans())
            columns.append(Column(f"n{place}", "numerical", decimals=decimals, has_missing=missing))
        else:
            values = draw(st.lists(TEXT.filter(str.strip), min_size=1, max_size=4, unique=True))
            columns.append(Column(f"c{place}", "categorical", categories=tuple(values)))
    cells = [
        st.sampled_from(c.categories)
        if c.categories
        else st.floats(-1e9, 1e9).map(lambda x, c=c: round(x, c.decimals) + 0.0)
        | (st.none() if c.has_missing else st.nothing())
        for c in columns
    ]
    return tuple(columns), draw(st.lists(st.tuples(*cells), max_size=6))


@given(tables(), st.booleans())
def test_encoded_rows_of_any_table_read_back(
    table: tuple[tuple[Column, ...], list[Row]], coded: bool
) -> None:
    columns, wanted = table
    codes = Codes.draw(columns, 0) if coded else Codes()
    lines = [
        csv_line([
            codes.encode(c.name, c.encode(v)) if c.categories else c.encode(v)
            for c, v in zip(columns, row, strict=True)
        ])
        for row in wanted
    ]  # fmt: skip
    reply = RowParser(columns, codes, columns[0].categories).parse("\n".join(lines))
    assert [row.values for row in reply.rows] == wanted
    assert reply.rejects == ()
