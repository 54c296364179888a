from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable

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
        ("3 mg/dL", 3.0),
        ("5 kg/m²", 5.0),
        ("5 cm3", 5.0),
        ("37.5 °C", 37.5),
        ("8 µg", 8.0),
        ("12 %", 12.0),
        ("+3 kg", 3.0),
        ("12/h", 12.0),
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
    [
        "45-50",
        ">45",
        "1/2",
        "12k",
        "3 million",
        "3,14",
        "1,23",
        "about",
        "inf",
        "1_0",
        "4 5",
        "3 to 5",
        "10 or 12",
        "5 e1",
        "2.5 x 10^3",
        "5 of 10",
        "12 dozen",
        "2 hundred",
        "5 lakhs",
        "5 millions",
        "5k",
        "3 k",
        "5 K",
        "7 mn",
        "2bn",
        "5 kUSD",
        "5 Mio.",
        "5 hundred/year",
        "3 to",
        "5e",
        "2 x",
        "5 kg 200",
        "5 US dollars",
        "2 ½",
        "10³",
        "+-3",
        "5h30",
    ],
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


WRITTEN = st.tuples(
    st.sampled_from(["", "-", "$", "-€", "~"]),
    st.decimals(0, 10**6, places=2).map(lambda number: f"{number:,}"),
    st.sampled_from(["", " "]),
)


@given(WRITTEN, st.sampled_from(["", "kg", "%", "°C", "µm", "mg/dL", "m/s", "m²", "EUR", "years"]))
def test_one_number_with_one_unit_is_read_as_that_number(
    written: tuple[str, str, str], unit: str
) -> None:
    before, digits, space = written
    sign = "-" if "-" in before else ""
    assert plain_number(before + digits + space + unit) == sign + digits.replace(",", "")


@given(
    WRITTEN,
    st.sampled_from(["hundred", "thousand", "million", "billion", "dozen", "lakh", "crore"]),
    st.sampled_from(["", "s"]),
    st.sampled_from([str.lower, str.upper, str.title]),
)
def test_a_number_with_a_number_word_is_refused(
    written: tuple[str, str, str], word: str, plural: str, case: Callable[[str], str]
) -> None:
    assert plain_number("".join(written) + case(word + plural)) is None


@given(
    st.integers(0, 999),
    st.sampled_from(
        [" to ", " or ", " of ", "-", " - ", "/", " x ", "x", "*", " e", "^", ":", " "]
    ),
    st.integers(0, 999),
    st.sampled_from(["", " kg"]),
)
def test_two_numbers_are_never_read_as_one(
    first: int, between: str, second: int, unit: str
) -> None:
    assert plain_number(f"{first}{between}{second}{unit}") is None


@given(st.text(st.sampled_from("0123456789.,-+ $%kgxe/tom²½'~"), max_size=12))
def test_whatever_is_read_is_one_finite_number(text: str) -> None:
    number = plain_number(text)
    if number is not None:
        assert math.isfinite(float(number))
        # One run of digits and separators, and at most the power of a unit such as m2.
        assert len(re.findall(r"[\d][\d.,']*|\.\d+", re.sub(r"m\^?[23]", "", text))) == 1
