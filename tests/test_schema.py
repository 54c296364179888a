from __future__ import annotations

import math
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rddg_ray.errors import DataError
from rddg_ray.schema import Column, Schema, is_id_name, parse_datetime, parse_number

HOSTILE = (
    "a,b",
    'say "hi"',
    "{EUR}",
    "line\nbreak",
    "naïve 日本",
    "none",
    "N/A",
    "1.0",
    "-",
    "=1+1",
)


def _number(decimals: int, **more: object) -> Column:
    return Column("x", "numerical", decimals=decimals, **more)  # type: ignore[arg-type]  # by name


@given(st.integers(0, 6), st.integers(-(10**9), 10**9), st.booleans())
def test_a_number_with_decimals_survives_being_written_and_read(
    decimals: int, digits: int, fixed: bool
) -> None:
    value = digits / 10**decimals
    column = _number(decimals, fixed_decimals=fixed)
    assert column.decode(column.encode(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_of_any_size_survives_where_all_its_places_are_kept(value: float) -> None:
    column = _number(400)
    assert column.decode(column.encode(value)) == value


@given(st.floats(-1e6, 1e6), st.integers(0, 8))
def test_writing_a_read_number_changes_nothing(value: float, decimals: int) -> None:
    column = _number(decimals)
    text = column.encode(value)
    assert column.encode(column.decode(text)) == text
    assert len(text.partition(".")[2]) <= decimals
    assert "e" not in text


@pytest.mark.parametrize(
    ("decimals", "fixed", "value", "text"),
    [
        (0, False, 7.0, "7"),
        (0, False, 2.0**53, "9007199254740992"),
        (0, False, 1e22, "10000000000000000000000"),
        (0, False, -0.4, "0"),
        (2, False, 2.5, "2.5"),
        (2, True, 2.5, "2.50"),
        (2, False, 3.0, "3"),
        (2, True, 3.0, "3.00"),
        (2, False, -0.0, "0"),
        (2, True, -0.001, "0.00"),
        (6, False, 0.000012, "0.000012"),
        (1, False, 1e22, "10000000000000000000000"),
        (3, False, math.nan, ""),
    ],
)
def test_a_number_is_written_with_its_columns_places(
    decimals: int, fixed: bool, value: float, text: str
) -> None:
    assert _number(decimals, fixed_decimals=fixed).encode(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12.0), (" 12.345 ", 12.35), ("1.2e1", 12.0), ("+3", 3.0), (".5", 0.5), ("-0.0", 0.0)],
)
def test_a_number_is_read_in_any_notation(text: str, value: float) -> None:
    number = _number(2).decode(text)
    assert number == value
    assert math.copysign(1, float(number or 0.0)) == 1 or value < 0


@pytest.mark.parametrize("text", ["abc", "1_000", "nan!", "inf", "1e999", "12 kg", "1,5", "0x1F"])
def test_a_text_that_is_no_number_is_refused_with_column_and_text(text: str) -> None:
    with pytest.raises(DataError) as caught:
        _number(2).decode(text)
    assert f"column 'x': {text!r} is not a number" in str(caught.value)


@pytest.mark.parametrize("text", ["", " ", "?", "NA", "n/a", "NaN", "null", "None", "<NA>"])
def test_words_for_a_gap_are_missing_where_gaps_were_seen(text: str) -> None:
    assert _number(1, has_missing=True).decode(text) is None
    assert Column("c", "categorical", categories=("a",), has_missing=True).decode(text) is None


@pytest.mark.parametrize("kind", ["numerical", "categorical", "boolean", "datetime"])
def test_a_gap_is_refused_where_real_rows_have_none(kind: str) -> None:
    column = Column("c", kind, categories=("a", "b"), datetime_format="%Y")  # type: ignore[arg-type]  # a kind
    with pytest.raises(DataError, match="'' is missing, but real rows never are"):
        column.decode("")


def test_a_category_called_none_is_a_category_and_not_a_gap() -> None:
    column = Column("c", "categorical", categories=("none", "bank"), has_missing=True)
    assert column.decode("none") == "none"
    assert column.decode("None") == "none"
    assert column.decode("") is None


@pytest.mark.parametrize("category", HOSTILE)
def test_a_hostile_category_survives_being_written_and_read(category: str) -> None:
    column = Column("c", "categorical", categories=HOSTILE, has_missing=True)
    assert column.decode(column.encode(category)) == category


@given(st.lists(st.text(min_size=1), min_size=1, max_size=8, unique=True), st.data())
def test_any_category_text_survives_being_written_and_read(
    categories: list[str], data: st.DataObject
) -> None:
    column = Column("c", "categorical", categories=tuple(categories))
    category = data.draw(st.sampled_from(categories))
    assert column.decode(column.encode(category)) == category


@pytest.mark.parametrize(("text", "category"), [("NO", "No"), (" yes ", "Yes"), ("1.0", "1")])
def test_a_category_is_known_in_other_case_space_or_notation(text: str, category: str) -> None:
    assert Column("c", "categorical", categories=("Yes", "No", "1")).decode(text) == category


def test_an_exact_spelling_wins_over_a_similar_one() -> None:
    column = Column("c", "categorical", categories=("A", "a", "1", "1.0"))
    assert [column.decode(text) for text in ("A", "a", "1", "1.0")] == ["A", "a", "1", "1.0"]


def test_an_unknown_category_is_refused_with_column_and_text() -> None:
    with pytest.raises(DataError, match="column 'c': 'z' is not one of its categories"):
        Column("c", "categorical", categories=("a",)).decode("z")


@given(st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001 - as cells are
def test_a_date_survives_being_written_and_read(moment: datetime) -> None:
    column = Column("d", "datetime", datetime_format="%Y-%m-%d %H:%M:%S")
    seconds = moment.replace(microsecond=0, tzinfo=UTC).timestamp()
    assert column.decode(column.encode(seconds)) == seconds


@pytest.mark.parametrize("text", ["2020-02-30", "30/01/2020", "soon"])
def test_a_text_that_is_no_date_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(DataError, match="is no date of the form %Y-%m-%d"):
        Column("d", "datetime", datetime_format="%Y-%m-%d").decode(text)


@pytest.mark.parametrize(
    ("text", "form", "seconds"),
    [
        ("1970-01-02", "%Y-%m-%d", 86400.0),
        ("1969-12-31", "%Y-%m-%d", -86400.0),
        ("1970-01-01T02:00:00+0200", "%Y-%m-%dT%H:%M:%S%z", 0.0),
        ("x", "%Y", None),
    ],
)
def test_dates_count_seconds_from_1970_in_utc(text: str, form: str, seconds: float | None) -> None:
    assert parse_datetime(text, form) == seconds


@pytest.mark.parametrize(("text", "value"), [("1e3", 1000.0), ("1_0", None), ("nan", None)])
def test_a_number_is_what_a_table_writes_as_one(text: str, value: float | None) -> None:
    assert parse_number(text) == value


def test_a_schema_finds_columns_by_name() -> None:
    schema = Schema((Column("a", "id"), Column("b", "constant")))
    assert schema["b"].kind == "constant"
    assert schema.names == ("a", "b")
    with pytest.raises(DataError, match="there is no column 'c'"):
        schema["c"]


@pytest.mark.parametrize(
    ("form", "unpadded", "text"),
    [
        ("%m/%d/%Y", "dm", "2/5/2020"),
        ("%m/%d/%Y", "m", "2/05/2020"),
        ("%m/%d/%Y", "", "02/05/2020"),
        ("%d.%m.%Y %H:%M", "H", "05.02.2020 9:07"),
        ("%%d %d", "d", "%d 5"),
    ],
)
def test_a_date_is_written_with_or_without_zeros_in_front(
    form: str, unpadded: str, text: str
) -> None:
    column = Column("d", "datetime", datetime_format=form, unpadded=unpadded)
    moment = datetime(2020, 2, 5, 9, 7, tzinfo=UTC)
    assert column.encode(moment.timestamp()) == text


@given(st.dates(date(1000, 1, 1)), st.sampled_from(["", "dm", "d", "m"]))
def test_a_date_without_zeros_in_front_is_read_again(day: date, unpadded: str) -> None:
    column = Column("d", "datetime", datetime_format="%m/%d/%Y", unpadded=unpadded)
    seconds = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    assert column.decode(column.encode(seconds)) == seconds


@pytest.mark.parametrize("name", ["id", "ID", "row_id", "patientID", "Unnamed: 0", "index", "uuid"])
def test_some_names_say_that_a_column_holds_ids(name: str) -> None:
    assert is_id_name(name)


@pytest.mark.parametrize("name", ["acid", "zip", "paid", "keyboard", "amount"])
def test_other_names_do_not(name: str) -> None:
    assert not is_id_name(name)
