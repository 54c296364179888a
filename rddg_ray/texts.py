"""Cells of any source as text, and text as canonical values."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from functools import lru_cache

import numpy as np
import pandas as pd

from rddg_ray.errors import DataError
from rddg_ray.schema import Column, Storage, parse_datetime, parse_number

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_CURRENCY = (
    r"[$€£¥₹]|(?:EUR|USD|GBP|CHF|JPY|CNY|INR|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|BRL|Fr\.|Rs\.?)"
)
_FORMATTED = re.compile(
    rf"\(?[+\-\u2212]?\s*(?P<before>{_CURRENCY})?\s*[+\-\u2212]?"
    r"(?P<digits>[0-9]{1,3}(?:[.,'\u2019\u00a0\u202f ][0-9]{3})+(?:[.,][0-9]+)?|"
    r"[0-9]+(?:[.,][0-9]+)?|[.,][0-9]+)"
    r"\s*(?P<after>[%‰$€£¥₹]|[°µ]?[^\W\d_][^\s\d]*[23²³]?)?\)?"
)
# "007" is a code, not the number seven.
CODE = re.compile(r"[+-]?0\d", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
# Beyond it neighbouring integers are the same 64-bit float.
_MAX_EXACT = 2**53
_OBJECT_STORAGE: dict[str, Storage] = {
    "boolean": "boolean",
    "integer": "integer",
    "floating": "float",
    "mixed-integer-float": "float",
    "decimal": "float",
    "date": "datetime",
    "datetime": "datetime",
    "datetime64": "datetime",
}


def is_number(text: str) -> bool:
    """Return whether a text is written as a decimal number (not a code such as `007`)."""
    return bool(_NUMBER.fullmatch(text)) and not CODE.match(text)


def number_style(text: str) -> tuple[str, str] | None:
    """Return the currency or unit before and after a number that is not written plainly.

    Returns:
        Both texts, empty where there is none: of "1,476.56 EUR" ("", "EUR"), of "51,81" two
        empty ones. None for a plain number and for what is no number at all.
    """
    found = _FORMATTED.fullmatch(text)
    if found is None or is_number(text) or CODE.match(found["digits"]):
        return None
    return found["before"] or "", found["after"] or ""


def is_too_long(text: str) -> bool:
    """Return whether a text is an integer that a 64-bit float would change."""
    # The length first: Python refuses to read integers of thousands of digits.
    if len(text) < 16 or not _INTEGER.fullmatch(text):
        return False
    return len(text) > 20 or abs(int(text)) > _MAX_EXACT


def as_text(
    name: str, series: pd.Series, missing_values: Collection[str], form: str | None = None
) -> tuple[pd.Series, Storage]:
    """Return cells as stripped text with NaN for missing, and the source's type.

    Args:
        name: Header text, for errors.
        series: Cells as text or typed.
        missing_values: Texts that mean a missing cell.
        form: `strftime` form for typed dates; the shortest that loses nothing by default.

    Raises:
        DataError: If a cell is an infinite number.
    """
    if isinstance(series.dtype, pd.CategoricalDtype):
        dtype = series.cat.categories.dtype
        is_integer = pd.api.types.is_integer_dtype(dtype)
        series = series.astype("Int64" if is_integer else object)
    storage = _storage(series)
    if storage == "float" and pd.api.types.infer_dtype(series, skipna=True) != "decimal":
        text = _float_texts(name, series)
    elif storage == "datetime":
        text = _moment_texts(pd.to_datetime(series), form)
    else:
        text = series.astype("str").str.strip()
    text = text.where(series.notna())
    return text.where(~text.isin(list(missing_values))), storage


def _storage(series: pd.Series) -> Storage:
    if series.dtype == object:
        return _OBJECT_STORAGE.get(pd.api.types.infer_dtype(series, skipna=True), "text")
    if pd.api.types.is_bool_dtype(series.dtype):
        return "boolean"
    if pd.api.types.is_integer_dtype(series.dtype):
        return "integer"
    if pd.api.types.is_float_dtype(series.dtype):
        return "float"
    return "datetime" if pd.api.types.is_datetime64_any_dtype(series.dtype) else "text"


def _float_texts(name: str, series: pd.Series) -> pd.Series:
    present = series.dropna()
    is_single = present.dtype != object and present.dtype.itemsize < 8
    numbers = present.to_numpy(dtype=np.float32 if is_single else np.float64)
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(series.notna())[np.flatnonzero(~np.isfinite(numbers))[0]])
        raise DataError(
            f"column {name!r}, row {row + 1}: {series.iloc[row]!r} is no finite number; replace "
            "it or leave the cell empty"
        )
    # Through its text a single keeps the digits it was written with: 0.1, not 0.10000000149.
    texts = [_float_text(float(str(number)) if is_single else float(number)) for number in numbers]
    return pd.Series(texts, index=present.index, dtype="str").reindex(series.index)


def _float_text(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) <= _MAX_EXACT else repr(number)


def _moment_texts(moments: pd.Series, form: str | None) -> pd.Series:
    zone = ""
    if moments.dt.tz is not None:
        moments, zone = moments.dt.tz_convert("UTC"), "%z"
    if form is None:
        present = moments.dropna()
        if (present.dt.microsecond != 0).any():
            form = "%Y-%m-%d %H:%M:%S.%f" + zone
        elif zone or (present != present.dt.normalize()).any():
            form = "%Y-%m-%d %H:%M:%S" + zone
        else:
            form = "%Y-%m-%d"
    return moments.dt.strftime(form).astype("str")


def read_cells(series: pd.Series, column: Column, missing_values: Collection[str]) -> pd.Series:
    """Return further cells of a known column in canonical form; see `canonical`.

    A text that is one of the column's categories is never taken for a missing cell.

    Raises:
        DataError: If a cell is no number or date; the message names column, row and value.
    """
    missing = set(missing_values) - set(column.categories)
    text, _ = as_text(column.name, series, missing, column.datetime_format)
    return canonical(text, column)


def canonical(text: pd.Series, column: Column) -> pd.Series:
    """Return cell texts of a column in canonical form.

    Returns:
        A series of float64 (numerical; datetime as POSIX seconds) or `str`, NaN for missing.

    Raises:
        DataError: If a cell is no number or date; the message names column, row and value.
    """
    if column.kind not in ("numerical", "datetime"):
        return text.astype("str").where(text.notna())
    form = column.datetime_format or ""
    parsed: dict[str, float] = {}
    for value in text.dropna().unique():
        if column.kind == "datetime":
            number = parse_datetime(value, form)
        else:
            number = None if is_too_long(value) else parse_number(value)
        if number is None:
            raise DataError(_wrong_cell(text, column, value))
        # Adding 0.0 turns -0.0 into 0.0, which would otherwise be another row's text.
        parsed[value] = number + 0.0
    return text.map(parsed, na_action="ignore").astype("float64")


def _wrong_cell(text: pd.Series, column: Column, value: str) -> str:
    where = f"column {column.name!r}, row {int(np.flatnonzero(text == value)[0]) + 1}: {value!r}"
    if column.kind == "datetime":
        return f"{where} is not a date ({column.datetime_format})"
    if is_too_long(value):
        return f"{where} has more digits than a number keeps; make the column an id or categorical"
    return f"{where} is not a number"


@lru_cache(maxsize=4096)
def quoted(text: str) -> str:
    """Return a text as a JSON string, so that any name fits on one line and can be read back."""
    words = json.dumps(text, ensure_ascii=False)
    # JSON leaves these as they are, but many readers end a line at them.
    return words.translate({ord(mark): f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"})
