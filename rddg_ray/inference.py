"""Reading a column's nature from its cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.errors import DataError
from rddg_ray.metadata import describe
from rddg_ray.schema import Column, Storage, is_id_name, parse_datetime
from rddg_ray.spelling import as_written
from rddg_ray.texts import CODE, as_text, canonical, is_number, is_too_long, number_style

_BOOLEANS = ({"t", "f"}, {"true", "false"}, {"yes", "no"}, {"y", "n"}, {"0", "1"})
# Day before month where a column's dates fit both; metadata's datetime_format decides otherwise.
_DATETIME_FORMS = (
    "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d",
    "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%d %H:%M:%S%z", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%d %H:%M:%S.%f%z", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d %b %Y", "%b %d, %Y",
)  # fmt: skip
_MAX_DECIMALS = 324
_ID_MIN_ROWS = 10
_TEXT_ID_MIN_ROWS = 50
_TEXT_ID_SHARE = 0.9
# A text among this many different numbers, in at most this share of the values, is a slip.
_STRAY_MIN_NUMBERS = 20
_STRAY_SHARE = 0.1
# So many different values that read as numbers with separators or a unit are numbers, no bins.
_FORMATTED_MIN = 20


def infer(
    name: str,
    series: pd.Series,
    missing_values: Collection[str],
    said: Mapping[str, Any] | None = None,
    *,
    is_target: bool = False,
) -> tuple[Column, pd.Series]:
    """Return what a column is, and its cells in canonical form.

    Args:
        name: Header text.
        series: Cells as text (from CSV) or typed (from Parquet or a data frame), `(n_rows,)`.
        missing_values: Texts that mean a missing cell.
        said: What metadata says of the column; it wins over what is inferred.
        is_target: The target is a class label, so its numbers are categories.

    Returns:
        The column, and a series of float64 (numerical; datetime as POSIX seconds) or `str`
        with NaN for missing.

    Raises:
        DataError: If metadata names a kind that a cell contradicts, a column of numbers holds a
            few texts, or its numbers are written with separators or units; the message names
            the column, the row and the value.
    """
    said = said or {}
    if is_target or isinstance(series.dtype, pd.CategoricalDtype):
        # Whoever made a column of categories meant them, also where they look like numbers.
        said = {"kind": "categorical", **said, **({"kind": "categorical"} if is_target else {})}
    text, storage = as_text(name, series, missing_values)
    column = _column(name, text, storage, said, is_target=is_target)
    values = canonical(text, column)
    if storage == "text":
        column = as_written(column, series, text)
    return refresh(describe(column, said), values), values


def _column(
    name: str, text: pd.Series, storage: Storage, said: Mapping[str, Any], *, is_target: bool
) -> Column:
    distinct = [str(value) for value in text.dropna().unique()]
    base = Column(name, "categorical", storage=storage)
    kind = said.get("kind")
    is_constant = not distinct or (len(distinct) == 1 and bool(text.notna().all()))
    if is_constant and kind != "id" and not is_target:
        value = f"{distinct[0]!r:.40}" if distinct else "empty"
        return replace(base, kind="constant", constant=distinct[0] if distinct else None,
                       left_out=f"constant: every cell is {value}")  # fmt: skip
    left_out = "id: the metadata says so" if kind == "id" else ""
    if kind is None:
        kind, left_out = _guess(name, text, distinct, storage)
    if kind == "numerical":
        return _numerical(base, text, distinct, said.get("decimals"))
    if kind == "datetime":
        form = said.get("datetime_format") or datetime_form(distinct)
        if form is None:
            raise DataError(
                f"column {name!r}: no known date form fits {distinct[0]!r} and the other cells; "
                "give datetime_format in a metadata file"
            )
        return replace(base, kind="datetime", datetime_format=str(form))
    if kind == "boolean" and len(distinct) > 2:
        raise DataError(
            f"column {name!r}: metadata says boolean, but it has the values {distinct[:3]}"
        )
    return replace(base, kind=kind, left_out=left_out)  # type: ignore[arg-type]  # one of the rest


def _numerical(base: Column, text: pd.Series, distinct: list[str], said: int | None) -> Column:
    written = [_decimals(value) for value in distinct if is_number(value)]
    needed = [_decimals(value, significant=True) for value in distinct if is_number(value)]
    # Whole numbers written as 34.0 are integers: what pandas makes of integers beside a gap.
    most = max(written, default=0) if any(needed) else 0
    if said is not None and said < max(needed, default=0):
        worst = max(filter(is_number, distinct), key=lambda v: _decimals(v, significant=True))
        row = int(np.flatnonzero(text == worst)[0])
        raise DataError(
            f"column {base.name!r}, row {row + 1}: {worst!r} has more than the {said} decimals "
            f"that metadata gives; set decimals to {max(needed)}, or round the column"
        )
    most = most if said is None else said
    is_fixed = base.storage == "text" and bool(written) and set(written) == {most}
    whole = {places for places, least in zip(written, needed, strict=True) if least == 0}
    zeros = whole.pop() if base.storage == "text" and len(whole) == 1 else 0
    return replace(
        base, kind="numerical", decimals=most, fixed_decimals=is_fixed, whole_zeros=zeros
    )


def _guess(name: str, text: pd.Series, distinct: list[str], storage: Storage) -> tuple[str, str]:
    """Return the kind of a column, and why it is not learned where it is not."""
    is_pair = len(distinct) == 2 and {value.casefold() for value in distinct} in _BOOLEANS
    if is_pair or storage == "boolean":
        return "boolean", ""
    n_numbers = sum(map(is_number, distinct))
    if n_numbers == len(distinct):
        if any(map(is_too_long, distinct)):
            return _text_kind(text, distinct, 0)
        why = _why_integer_id(name, text, distinct)
        return ("id", why) if why else ("numerical", "")
    if storage == "datetime" or datetime_form(distinct):
        return "datetime", ""
    if len(distinct) == len(text) >= _ID_MIN_ROWS and is_id_name(name):
        return "id", "id: named as one, and every value differs"
    _check_formatted(name, text, distinct, n_numbers)
    _check_stray_text(name, text, distinct, n_numbers)
    return _text_kind(text, distinct, _TEXT_ID_MIN_ROWS)


def _text_kind(text: pd.Series, distinct: list[str], n_least: int) -> tuple[str, str]:
    n_present = int(text.notna().sum())
    if n_present < n_least or len(distinct) <= _TEXT_ID_SHARE * n_present:
        return "categorical", ""
    if len(distinct) == n_present:
        return "id", "id: every value differs"
    return "id", (
        f"id: {len(distinct)} of {n_present} values differ; to learn it, set its sdtype to "
        "categorical in a metadata file"
    )


def _check_formatted(name: str, text: pd.Series, distinct: list[str], n_numbers: int) -> None:
    """Refuse numbers that are written with separators, a decimal comma or one unit."""
    styles = {value: style for value in distinct if (style := number_style(value)) is not None}
    common = Counter(styles.values()).most_common(1)[0][0] if styles else ("", "")
    found = [value for value, style in styles.items() if style in (common, ("", ""))]
    n_read, n_all = len(found) + n_numbers, len(distinct)
    is_most = 2 * len(found) > n_all
    is_rest = len(found) > _STRAY_SHARE * n_all and n_read >= (1 - _STRAY_SHARE) * n_all
    if n_read < _FORMATTED_MIN or not (is_most or is_rest):
        return
    row = int(np.flatnonzero(text == found[0])[0])
    what = "a currency or unit" if any(common) else "separators or a decimal comma"
    raise DataError(
        f"column {name!r}, row {row + 1}: {found[0]!r} reads as a number with {what}, and so do "
        f"most of its {n_all} different values. Write plain numbers such as 1234.5, or "
        "set sdtype to categorical or id in a metadata file"
    )


def _check_stray_text(name: str, text: pd.Series, distinct: list[str], n_numbers: int) -> None:
    n_texts = len(distinct) - n_numbers
    if n_numbers < _STRAY_MIN_NUMBERS or n_texts > _STRAY_SHARE * len(distinct):
        return
    stray = next(value for value in distinct if not is_number(value))
    if any(map(CODE.match, distinct)):
        return
    row = int(np.flatnonzero(text == stray)[0])
    raise DataError(
        f"column {name!r}, row {row + 1}: {stray!r} stands among {n_numbers} different numbers. "
        "Correct the cell, name the text in missing_values, or set sdtype to categorical or id "
        "in a metadata file"
    )


def _why_integer_id(name: str, text: pd.Series, distinct: list[str]) -> str:
    """Return why numbers are ids; empty where they are not."""
    if len(distinct) < len(text) or len(text) < _ID_MIN_ROWS or max(map(_decimals, distinct)) > 0:
        return ""
    if is_id_name(name):
        return "id: named as one, and every value differs"
    is_count = bool(np.all(np.diff(text.astype("float64").to_numpy()) == 1))
    return "id: counts up by one from row to row" if is_count else ""


def _decimals(text: str, *, significant: bool = False) -> int:
    """Return the decimal places of a number as written, or without zeros at the end."""
    if "." not in text and "e" not in text and "E" not in text:
        return 0
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    places = len(fraction)
    if significant:
        digits = (whole + fraction).rstrip("0")
        places -= len(whole + fraction) - len(digits) if digits.strip("+-") else places
    # No float is smaller than 5e-324, whatever an exponent says.
    return min(max(0, places - int(exponent or 0)), _MAX_DECIMALS)


def datetime_form(distinct: list[str]) -> str | None:
    """Return the first known form that reads every value, or None."""
    if not distinct or not any(character.isdigit() for character in distinct[0]):
        return None
    for form in _DATETIME_FORMS:
        if all(parse_datetime(value, form) is not None for value in distinct):
            return form
    return None


def refresh(column: Column, values: pd.Series) -> Column:
    """Return the column with ranges, categories and missingness as these cells show them."""
    present = values.dropna()
    has_missing = bool(len(present) < len(values))
    if column.kind in ("categorical", "boolean"):
        counts = present.value_counts()
        ordered = sorted(counts.index, key=lambda value: (-int(counts[value]), str(value)))
        return replace(
            column,
            categories=tuple(map(str, ordered)),
            spellings=tuple(pair for pair in column.spellings if pair[0] in counts.index),
            has_missing=has_missing,
        )
    if column.kind in ("numerical", "datetime"):
        low, high = (present.min(), present.max()) if len(present) else (None, None)
        return replace(
            column,
            minimum=None if low is None else float(low),
            maximum=None if high is None else float(high),
            has_missing=has_missing,
        )
    return replace(column, has_missing=has_missing)
