from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rddg_ray.config import MISSING_TOKENS
from rddg_ray.errors import DataError
from rddg_ray.inference import infer, refresh
from rddg_ray.schema import Column
from rddg_ray.texts import as_text, read_cells


def _infer(
    cells: Sequence[object], name: str = "x", dtype: Any = "str", **more: Any
) -> tuple[Column, pd.Series]:
    return infer(name, pd.Series(list(cells), dtype=dtype), MISSING_TOKENS, **more)


def _texts(n: int, form: str = "{}") -> list[str]:
    return [form.format(i * 7 % 101) for i in range(n)]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2", "3"], "numerical"),
        (["1.5", "2", "-3e2"], "numerical"),
        (["0", "1", "1"], "boolean"),
        (["t", "f"], "boolean"),
        (["Yes", "No", ""], "boolean"),
        (["True", "FALSE"], "boolean"),
        (["Yes", "no", "yes"], "categorical"),
        (["a", "b", "a"], "categorical"),
        (["007", "123", "94105"], "categorical"),
        (["none", "bank", "none"], "categorical"),
        (["2020-01-01", "2021-12-31"], "datetime"),
        (["a", "a", "a"], "constant"),
        (["5", "5", "5"], "constant"),
        (["", "?", "NA"], "constant"),
        (["a", "", "a"], "categorical"),
        (["5", "", "5"], "numerical"),
        (["1,5", "2,5", "2,5"], "categorical"),
        (["\u0661", "\u0662", "\u0662"], "categorical"),
        (["1_000", "2", "2"], "categorical"),
    ],
)
def test_the_kind_follows_from_the_cells(cells: list[str], kind: str) -> None:
    assert _infer(cells)[0].kind == kind


@pytest.mark.parametrize(
    ("cells", "decimals", "fixed"),
    [
        (["1", "2", "30"], 0, True),
        (["1.5", "2", "3.25"], 2, False),
        (["1.50", "2.00", "3.25"], 2, True),
        (["1.50", "2.50", "3.50"], 2, True),
        (["34.0", "35.0", ""], 0, False),
        (["1e3", "2e3", "5e4"], 0, True),
        (["1.5e-3", "2e-3", "1"], 4, False),
        (["-0.0", "-0", "2"], 0, False),
        (["1E-300", "2", "3"], 300, False),
        (["1E-99999999999", "2", "3"], 324, False),
    ],
)
def test_decimals_are_the_most_places_written(cells: list[str], decimals: int, fixed: bool) -> None:
    column, _ = _infer(cells)
    assert (column.kind, column.decimals, column.fixed_decimals) == ("numerical", decimals, fixed)


@pytest.mark.parametrize("text", ["0.1", "1.10", "12345.678", "9007199254740992", "1e-7", "-3.14"])
def test_a_number_is_the_float_nearest_to_its_text(text: str) -> None:
    column, values = _infer([text, "1", "2"])
    assert values[0] == float(text)
    assert column.decode(column.encode(values[0])) == float(text)


def test_minus_zero_is_zero() -> None:
    _, values = _infer(["-0.0", "0", "1.5"])
    assert not np.signbit(values.to_numpy()).any()


@pytest.mark.parametrize("token", ["", "?", "NA", "NaN", "null", "  ", " ? "])
def test_a_missing_cell_stays_missing_and_may_be_generated(token: str) -> None:
    column, values = _infer(["1", token, "2"])
    assert column.kind == "numerical"
    assert column.has_missing
    assert values.isna().tolist() == [False, True, False]


def test_a_column_without_gaps_has_no_missing() -> None:
    assert not _infer(["1", "2", "3"])[0].has_missing


def test_categories_stand_most_frequent_first_and_then_by_text() -> None:
    assert _infer(["b", "c", "a", "c"])[0].categories == ("c", "a", "b")


def test_a_range_is_what_the_cells_show() -> None:
    column, _ = _infer(["3", "-1.5", ""])
    assert (column.minimum, column.maximum) == (-1.5, 3.0)


def test_a_column_of_gaps_is_a_constant_without_a_value() -> None:
    column, _ = _infer(["", "", ""])
    assert (column.kind, column.constant, column.has_missing) == ("constant", None, True)


# Ids.


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("n", [str(i) for i in range(12)], "id"),
        ("n", [str(i) for i in range(9)], "numerical"),
        ("patient id", [str(i * i) for i in range(12)], "id"),
        ("customerID", [str(i * i) for i in range(12)], "id"),
        ("Unnamed: 0", [str(i * i) for i in range(12)], "id"),
        ("acid", [str(i * i) for i in range(12)], "numerical"),
        ("patient id", ["1", *[str(i * i) for i in range(11)]], "numerical"),
        ("key", [f"k{i}" for i in range(12)], "id"),
        ("town", [f"k{i}" for i in range(12)], "categorical"),
        ("comment", [f"text {i}" for i in range(60)], "id"),
        ("zip", [f"{i:05d}" for i in range(60)], "id"),
        ("zip", [f"{i:05d}" for i in [*range(57), 0, 1, 2]], "id"),
        ("zip", [f"{i % 50:05d}" for i in range(60)], "categorical"),
        ("note", [f"text {i}" for i in range(60)] + [""] * 60, "id"),
    ],
)
def test_an_id_is_known_by_name_or_steps_or_free_text(
    name: str, cells: list[str], kind: str
) -> None:
    assert _infer(cells, name)[0].kind == kind


@pytest.mark.parametrize("dtype", ["str", "Int64", object])
def test_integers_that_a_float_would_change_are_text(dtype: Any) -> None:
    big = 2**53
    distinct = [big + 1 + 3 * i for i in range(12)]
    cells: list[Any] = [str(i) for i in distinct] if dtype == "str" else distinct
    column, values = _infer(cells, dtype=dtype)
    assert column.kind == "id"
    assert values.tolist() == [str(i) for i in distinct]
    assert _infer([*cells[:2]] * 6, dtype=dtype)[0].kind == "categorical"


def test_a_long_integer_declared_numerical_is_refused() -> None:
    with pytest.raises(DataError, match="row 2: '9007199254740993' has more digits"):
        _infer(["1", "9007199254740993"], said={"kind": "numerical"})


def test_an_integer_of_thousands_of_digits_is_text() -> None:
    assert _infer(["9" * 5000, "8" * 5000, "8" * 5000])[0].kind == "categorical"


FREE_TEXT = (
    "id: 57 of 60 values differ; to learn it, set its sdtype to categorical in a metadata file"
)


@pytest.mark.parametrize(
    ("name", "cells", "said", "why"),
    [
        ("k", ["7"] * 12, None, "constant: every cell is '7'"),
        ("k", ["", "?", "NA"], None, "constant: every cell is empty"),
        ("n", [str(i) for i in range(12)], None, "id: counts up by one from row to row"),
        ("key", [str(i * i) for i in range(12)], None, "id: named as one, and every value differs"),
        ("key", [f"k{i}" for i in range(12)], None, "id: named as one, and every value differs"),
        ("zip", [f"{i:05d}" for i in range(60)], None, "id: every value differs"),
        ("zip", [f"{i:05d}" for i in [*range(57), 0, 1, 2]], None, FREE_TEXT),
        ("c", ["a", "b", "a"], {"kind": "id"}, "id: the metadata says so"),
        ("c", ["a", "b", "a"], None, ""),
    ],
)  # fmt: skip
def test_a_column_that_is_not_learned_says_why(
    name: str, cells: list[str], said: dict[str, Any] | None, why: str
) -> None:
    assert _infer(cells, name, said=said)[0].left_out == why


# Numbers that are not written plainly.


def _numbers(form: str, n: int = 40) -> list[str]:
    return [form.format(1000 + i * 37 + i / 100) for i in range(n)]


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        (_numbers("{:,.2f} EUR"), "a currency or unit"),
        (_numbers("${:,.2f}"), "a currency or unit"),
        (_numbers("CHF {:.0f}"), "a currency or unit"),
        (_numbers("{:.0f}%"), "a currency or unit"),
        (_numbers("{:.1f} kg"), "a currency or unit"),
        (_numbers("{:.1f} mg/dL"), "a currency or unit"),
        (_numbers("{:,.0f}"), "separators or a decimal comma"),
        ([cell.replace(",", "'") for cell in _numbers("{:,.0f}")], "separators"),
        ([cell.replace(",", " ") for cell in _numbers("{:,.0f}")], "separators"),
        ([cell.replace(".", ",") for cell in _numbers("{:.2f}")], "separators"),
        ([f"{i},{i % 7}1" for i in range(500)], "a decimal comma"),
        ([f"({cell})" if i % 2 else cell for i, cell in enumerate(_numbers("{:,.0f}"))], "separ"),
        ([*_numbers("{:,.0f}", 20), *(str(i * i) for i in range(20))], "separators"),
        ([*_numbers("{:,.2f} EUR", 30), *(f"none {i}" for i in range(20))], "a currency or unit"),
    ],
)
def test_numbers_with_separators_or_units_are_refused_and_never_become_ids(
    cells: list[str], what: str
) -> None:
    with pytest.raises(DataError) as caught:
        _infer(cells, "amount")
    said = str(caught.value)
    assert "column 'amount', row 1: " in said or "column 'amount', row 2: " in said
    assert what in said
    assert "Write plain numbers such as 1234.5, or set sdtype to categorical or id" in said


@pytest.mark.parametrize("kind", ["categorical", "id"])
def test_metadata_may_say_that_numbers_with_units_are_none(kind: str) -> None:
    assert _infer(_numbers("{:,.2f} EUR"), said={"kind": kind})[0].kind == kind


@pytest.mark.parametrize(
    "cells",
    [
        ["<100 EUR", "100-200 EUR", ">200 EUR"] * 20,
        ["10%", "20%", "50%"] * 20,
        ["1,5", "2,5", "7,25"] * 20,
        [f"Street {i}" for i in range(40)] * 2,
        [f"T{i}" for i in range(40)] * 2,
        [f"{i}{'abcdef'[i % 6]}" for i in range(40)] * 2,
        [f"{i:03d} kg" for i in range(40)] * 2,
        [f"{i}-{i + 5}" for i in range(40)] * 2,
        [f"10:{i:02d}" for i in range(40)] * 2,
        [f"1.{i}.3" for i in range(40)] * 2,
        [*(str(i * 1000) for i in range(30)), *(f"PC {i}" for i in range(30))] * 2,
    ],
)
def test_bins_and_codes_with_digits_are_categories(cells: list[str]) -> None:
    assert _infer(cells)[0].kind == "categorical"


@given(
    st.lists(st.integers(1000, 10**9), min_size=20, max_size=30, unique=True),
    st.sampled_from(["{:,}.5", "{} EUR", "€ {}", "{},25", "{}%", "-{:,}.00 USD"]),
)
def test_no_column_of_formatted_numbers_is_taken_for_something_else(
    numbers: list[int], form: str
) -> None:
    with pytest.raises(DataError, match="reads as a number with"):
        _infer([form.format(number) for number in numbers])


# Dates.


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        (["2020-01-31", "1999-12-01"], "%Y-%m-%d"),
        (["2020-01-31 10:00:00", "1999-12-01 23:59:59"], "%Y-%m-%d %H:%M:%S"),
        (["2020-01-31T10:00:00", "1999-12-01T23:59:59"], "%Y-%m-%dT%H:%M:%S"),
        (["2020-01-31T10:00:00+0100", "1999-12-01T23:59:59Z"], "%Y-%m-%dT%H:%M:%S%z"),
        (["31/01/2020", "01/02/2020"], "%d/%m/%Y"),
        (["01/31/2020", "01/02/2020"], "%m/%d/%Y"),
        (["01/02/2020", "03/04/2020"], "%d/%m/%Y"),
        (["31.01.2020", "01.02.2020"], "%d.%m.%Y"),
        (["31 Jan 2020", "1 Feb 2020"], "%d %b %Y"),
    ],
)
def test_the_form_of_dates_is_the_first_that_reads_all_of_them(cells: list[str], form: str) -> None:
    column, _ = _infer(cells)
    assert (column.kind, column.datetime_format) == ("datetime", form)


def test_metadata_decides_between_day_and_month() -> None:
    said = {"kind": "datetime", "datetime_format": "%m/%d/%Y"}
    column, values = _infer(["01/02/1970", "01/03/1970"], said=said)
    assert values.tolist() == [86400.0, 172800.0]
    assert column.encode(values[1]) == "01/03/1970"


def test_dates_of_mixed_forms_are_categories() -> None:
    assert _infer(["31/01/2020", "2020-01-31", "2020-01-31"])[0].kind == "categorical"


# Typed cells.


@pytest.mark.parametrize(
    ("cells", "dtype", "kind", "storage", "canonical"),
    [
        ([1, 5, 9], "int64", "numerical", "integer", [1.0, 5.0, 9.0]),
        ([1, None, 9], "Int64", "numerical", "integer", [1.0, None, 9.0]),
        ([1.5, np.nan, 2.25], "float64", "numerical", "float", [1.5, None, 2.25]),
        ([1.5, None, 2.25], "Float64", "numerical", "float", [1.5, None, 2.25]),
        ([0.1, 0.25, np.nan], "float32", "numerical", "float", [0.1, 0.25, None]),
        ([1.0, 2.0, np.nan], "float64", "numerical", "float", [1.0, 2.0, None]),
        ([1e300, 2e-7, 1.0], "float64", "numerical", "float", [1e300, 2e-7, 1.0]),
        ([True, False, True], "bool", "boolean", "boolean", ["True", "False", "True"]),
        ([True, None, True], "boolean", "boolean", "boolean", ["True", None, "True"]),
        ([True, None, False], object, "boolean", "boolean", ["True", None, "False"]),
        ([1, None, 9], object, "numerical", "integer", [1.0, None, 9.0]),
        ([1.5, None, 9.0], object, "numerical", "float", [1.5, None, 9.0]),
        ([Decimal("1.50"), Decimal(2), None], object, "numerical", "float", [1.5, 2.0, None]),
        (["a", None, "b"], "string", "categorical", "text", ["a", None, "b"]),
        (["a", None, "b"], object, "categorical", "text", ["a", None, "b"]),
        (["a", None, "b"], "category", "categorical", "text", ["a", None, "b"]),
        ([10, 20, 10], "category", "categorical", "integer", ["10", "20", "10"]),
        ([10, None, 20], "category", "categorical", "integer", ["10", None, "20"]),
        ([True, False, None], "category", "categorical", "boolean", ["True", "False", None]),
        ([date(1970, 1, 2), None, date(1970, 1, 1)], object, "datetime", "datetime",
         [86400.0, None, 0.0]),
        ([datetime(1970, 1, 1, 1), None, datetime(1970, 1, 1)], object, "datetime", "datetime",  # noqa: DTZ001 - as frames hold them
         [3600.0, None, 0.0]),
        (["1970-01-01T00:00:00.5", None, "1970-01-02"], "datetime64[us]", "datetime", "datetime",
         [0.5, None, 86400.0]),
        (["1970-01-01T01:00", None, "1970-01-02"], "datetime64[us, Europe/Paris]", "datetime",
         "datetime", [0.0, None, 82800.0]),
    ],
)  # fmt: skip
def test_typed_cells_keep_their_meaning_and_their_type(
    cells: list[Any], dtype: Any, kind: str, storage: str, canonical: list[Any]
) -> None:
    column, values = _infer(cells, dtype=dtype)
    assert (column.kind, column.storage) == (kind, storage)
    assert column.has_missing == (None in canonical)
    assert [None if pd.isna(value) else value for value in values] == canonical


@pytest.mark.parametrize("number", [np.inf, -np.inf])
def test_an_infinite_number_is_refused_with_its_row(number: float) -> None:
    with pytest.raises(DataError, match=r"column 'x', row 3: .*inf.* is no finite number"):
        _infer([1.5, np.nan, number], dtype="float64")


# What metadata says.


@pytest.mark.parametrize(
    ("cells", "kind", "told"),
    [
        (["1", "2", "3"], "categorical", "categorical"),
        (["1", "2", "3"], "id", "id"),
        (["0", "1", "1"], "numerical", "numerical"),
        (["007", "123", "5"], "numerical", "numerical"),
        ([str(i) for i in range(12)], "numerical", "numerical"),
        (["1", "2", "2"], "boolean", "boolean"),
        (["5", "5", "5"], "categorical", "constant"),
    ],
)
def test_metadata_wins_over_what_is_inferred(cells: list[str], kind: str, told: str) -> None:
    assert _infer(cells, said={"kind": kind})[0].kind == told


@pytest.mark.parametrize(
    ("cells", "said", "message"),
    [
        (["1", "x"], {"kind": "numerical"}, "column 'x', row 2: 'x' is not a number"),
        (["2020", "x"], {"kind": "datetime"}, "no known date form fits '2020'"),
        (["2020", "x"], {"kind": "datetime", "datetime_format": "%Y"}, "row 2: 'x' is not a date"),
        (["a", "b", "c"], {"kind": "boolean"}, "metadata says boolean, but it has the values"),
        (["1", "2.55"], {"kind": "numerical", "decimals": 1}, "row 2: '2.55' has more than the 1"),
    ],
)
def test_a_cell_that_contradicts_metadata_is_refused_with_its_row(
    cells: list[str], said: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        _infer(cells, said=said)
    assert message in str(caught.value)


def test_metadata_may_give_more_decimals_than_were_seen() -> None:
    assert _infer(["1.5", "2"], said={"kind": "numerical", "decimals": 3})[0].decimals == 3


def test_a_target_of_numbers_is_a_class() -> None:
    column, values = _infer(["0", "1", "1"], is_target=True)
    assert (column.kind, values.tolist()) == ("categorical", ["0", "1", "1"])


# Slips.


def test_a_text_among_many_numbers_is_refused_with_its_row() -> None:
    cells = _texts(60, "{}.5")
    cells[40] = "unknown"
    with pytest.raises(DataError, match=r"column 'x', row 41: 'unknown' stands among .* numbers"):
        _infer(cells)


@pytest.mark.parametrize(
    "cells",
    [
        ["0", "1", "2", "3", "4+"] * 4,
        [*_texts(60), *["a", "b", "c", "d", "e", "f", "g", "h"]],
        [*_texts(60), "007"],
    ],
)
def test_texts_that_are_no_slip_make_a_column_of_texts(cells: list[str]) -> None:
    assert _infer(cells)[0].kind in ("categorical", "id")


def test_a_slip_named_in_missing_values_is_missing() -> None:
    cells = pd.Series([*_texts(60), "unknown"], dtype="str")
    column, values = infer("x", cells, {"unknown"})
    assert (column.kind, int(values.isna().sum())) == ("numerical", 1)


# Further cells of a known column.


def test_a_category_is_never_taken_for_a_gap() -> None:
    column = Column("c", "categorical", categories=("?", "F"))
    values = read_cells(pd.Series(["?", "NA", "F"], dtype="str"), column, MISSING_TOKENS)
    assert [None if pd.isna(value) else value for value in values] == ["?", None, "F"]


@pytest.mark.parametrize("kind", ["numerical", "datetime", "categorical", "boolean", "id"])
@pytest.mark.parametrize("cells", [[], [None, None]])
def test_cells_that_are_absent_or_missing_keep_the_columns_type(
    kind: str, cells: list[None]
) -> None:
    column = Column("c", kind, datetime_format="%Y")  # type: ignore[arg-type]  # a kind
    values = read_cells(pd.Series(cells, dtype=object), column, MISSING_TOKENS)
    assert values.dtype == ("float64" if kind in ("numerical", "datetime") else "str")
    assert values.isna().all()


def test_typed_dates_are_read_in_the_columns_form() -> None:
    column = Column("d", "datetime", datetime_format="%d/%m/%Y")
    moments = pd.Series(["1970-01-02", None], dtype="datetime64[us]")
    assert read_cells(moments, column, ()).iloc[0] == 86400.0


def test_narrowing_forgets_what_the_cells_do_not_show() -> None:
    column = Column("x", "numerical", minimum=0.0, maximum=9.0, has_missing=True)
    narrow = refresh(column, pd.Series([2.0, 3.0]))
    assert (narrow.minimum, narrow.maximum, narrow.has_missing) == (2.0, 3.0, False)
    empty = refresh(column, pd.Series([np.nan]))
    assert (empty.minimum, empty.maximum, empty.has_missing) == (None, None, True)


@pytest.mark.parametrize("text", ["  a ", "\ta\n"])
def test_space_around_a_cell_does_not_count(text: str) -> None:
    assert as_text("x", pd.Series([text], dtype="str"), ())[0].tolist() == ["a"]
