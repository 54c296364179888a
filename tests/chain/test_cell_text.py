from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rddg_ray.cell_text import CellError, CellReader, csv_cells, csv_line, plain_number
from rddg_ray.codes import Codes
from rddg_ray.schema import Column

NUMBER = Column("n", "numerical", decimals=1, has_missing=True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("45", 45.0),
        (" 45 ", 45.0),
        ("1e3", 1000.0),
        ("-2.26", -2.3),
        ("\u22122", -2.0),
        ("45 kg", 45.0),
        ("45kg", 45.0),
        ("1.8 m", 1.8),
        ("64 years", 64.0),
        ("12%", 12.0),
        ("$12", 12.0),
        ("-$12.5", -12.5),
        ("12 €", 12.0),
        ("1,234", 1234.0),
        ("1,234,567.8 USD", 1234567.8),
        ("~45", 45.0),
        ("**45**", 45.0),
        ("1e6", 1_000_000.0),
        ("", None),
        ("N/A", None),
    ],
)
def test_a_number_is_read_as_chat_writes_it(text: str, value: float | None) -> None:
    assert CellReader(NUMBER, Codes()).read(text) == value


@pytest.mark.parametrize(
    "text",
    ["45-50", ">45", "1/2", "12k", "3 million", "3,14", "1,23", "about", "inf", "1_0", "4 5"],
)
def test_what_is_not_one_number_is_refused(text: str) -> None:
    with pytest.raises(CellError) as caught:
        CellReader(NUMBER, Codes()).read(text)
    assert caught.value.reason == "not_a_number"


def test_a_number_that_no_column_could_store_is_refused() -> None:
    for column, largest in ((Column("i", "numerical"), 2**53 - 1), (NUMBER, 9e37)):
        reader = CellReader(column, Codes())
        assert reader.read(str(-largest)) == -largest
        with pytest.raises(CellError, match="too large to store"):
            reader.read(str(largest * 2))


def test_digits_keep_their_sign_and_places() -> None:
    assert plain_number("-1,234.50 EUR") == "-1234.50"
    assert plain_number("") is None


def test_a_category_is_read_in_other_case_space_and_dress() -> None:
    reader = CellReader(Column("c", "categorical", categories=("Self  employed", "no")), Codes())
    assert reader.read("self employed") == "Self  employed"
    assert reader.read(" `NO` ") == "no"


def test_of_values_that_differ_in_case_each_is_read_as_itself() -> None:
    reader = CellReader(Column("c", "categorical", categories=("a", "A", "b ")), Codes())
    assert [reader.read(text) for text in ("a", "A", "b")] == ["a", "A", "b "]


def test_with_codes_only_codes_are_values() -> None:
    column = Column("c", "categorical", categories=("x", "y"))
    reader = CellReader(column, Codes({"c": {"x": "KJZ", "y": "UDE"}}))
    assert reader.read("kjz") == "x"
    with pytest.raises(CellError) as caught:
        reader.read("x")
    assert caught.value.reason == "unknown_category"


def test_a_date_is_read_by_its_form_alone() -> None:
    reader = CellReader(Column("d", "datetime", datetime_format="%Y-%m-%d"), Codes())
    assert reader.read("1970-01-02") == 86_400.0
    assert reader.read('"1970-01-02"') == 86_400.0
    with pytest.raises(CellError) as caught:
        reader.read("02/01/1970")
    assert caught.value.reason == "not_a_date"


def test_a_missing_cell_needs_a_column_that_has_some() -> None:
    with pytest.raises(CellError) as caught:
        CellReader(Column("n", "numerical"), Codes()).read("")
    assert caught.value.reason == "missing_value"
    full = Column("c", "categorical", categories=("none", "some"))
    assert CellReader(full, Codes()).read("None") == "none"


@given(st.lists(st.text(), min_size=2))
def test_a_line_of_cells_reads_back_here_and_with_pythons_reader(cells: list[str]) -> None:
    line = csv_line(cells)
    assert next(csv.reader([line])) == cells
    assert csv_cells(line) == cells
