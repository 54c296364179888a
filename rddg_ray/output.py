"""Canonical cells back to the types that the source had."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from rddg_ray.schema import Column, is_id_name, parse_datetime

_TRUTH = {"true": True, "false": False}
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
# The largest magnitude that both a float and a 64-bit integer hold exactly.
_MAX_INTEGER = 2**53


def restore(column: Column, frame: pd.DataFrame, real: pd.Series, n_before: int) -> pd.Series:
    """Return the cells of one column in the type its source had.

    Args:
        column: The column to restore.
        frame: Canonical cells; need not hold id and constant columns. Shape `(n_rows, ...)`.
        real: The column's canonical cells in the real rows, which ids count on from.
        n_before: Synthetic rows that have ids already.

    Returns:
        A series on the frame's index: `Int64` for integers, float64, `boolean`,
        datetime64 in microseconds, or `str`.
    """
    index = frame.index
    if column.kind == "id":
        return _fresh_ids(column, real, index, n_before)
    if column.kind == "constant":
        return _constant(column, index)
    values = frame[column.name]
    if column.kind == "datetime":
        if column.storage == "datetime":
            return _moments(values, column)
        return values.map(column.encode, na_action="ignore").astype("str")
    if column.kind == "numerical":
        return _numbers(values, column)
    return _typed(values, column)


def _constant(column: Column, index: pd.Index) -> pd.Series:
    values = pd.Series([column.constant] * len(index), index=index, dtype="str")
    if column.storage != "datetime" or column.constant is None:
        return _typed(values, column)
    forms = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f",
             "%Y-%m-%d %H:%M:%S%z", "%Y-%m-%d %H:%M:%S.%f%z")  # fmt: skip
    for form in forms:
        if (seconds := parse_datetime(column.constant, form)) is not None:
            whole = pd.Series([seconds] * len(index), index=index, dtype="float64")
            return _moments(whole, Column(column.name, "datetime", datetime_format=form))
    return values


def _moments(values: pd.Series, column: Column) -> pd.Series:
    # By way of whole microseconds: pandas counts float seconds in nanoseconds, whose years end
    # in 2262 and whose last digits a float does not hold.
    micros = (values * 1e6).round().astype("Int64")
    moments = pd.to_datetime(micros.to_numpy(dtype="datetime64[us]", na_value=np.datetime64("NaT")))
    if (column.datetime_format or "").endswith("%z"):
        moments = moments.tz_localize("UTC")
    return pd.Series(moments, index=values.index)


def _numbers(values: pd.Series, column: Column) -> pd.Series:
    numbers = values.astype("float64")
    is_integer = column.decimals == 0 and column.storage != "float"
    if is_integer and not (numbers.abs() > _MAX_INTEGER).any():
        return numbers.round().astype("Int64")
    return numbers


def _typed(values: pd.Series, column: Column) -> pd.Series:
    """Return categories and constants in the source's type, or as text where one is not of it."""
    texts = values.dropna().astype("str")
    if column.spellings:
        written = dict(column.spellings)
        return values.map(lambda text: written.get(text, text), na_action="ignore").astype("str")
    if column.storage == "boolean" and texts.str.casefold().isin(list(_TRUTH)).all():
        return values.map(lambda text: _TRUTH[text.casefold()], na_action="ignore").astype(
            "boolean"
        )
    if column.storage == "integer" and texts.map(lambda text: bool(_WHOLE.fullmatch(text))).all():
        return _integers(values)
    if column.storage == "float":
        numbers = pd.to_numeric(values, errors="coerce")
        if numbers.notna().sum() == len(texts):
            return numbers.astype("float64")
    return values


def _integers(values: pd.Series) -> pd.Series:
    # Through Python's integers: category texts may hold more digits than a float.
    cells = [pd.NA if pd.isna(text) else int(text) for text in values.to_list()]
    largest = max((abs(cell) for cell in cells if cell is not pd.NA), default=0)
    if largest >= 2**64:
        return values
    dtype = "UInt64" if largest >= 2**63 else "Int64"
    return pd.Series(pd.array(cells, dtype=dtype), index=values.index)


def _fresh_ids(column: Column, real: pd.Series, index: pd.Index, n_before: int) -> pd.Series:
    """Return ids no real row has: numbers counted on, or texts that say what they are."""
    texts = real.dropna().astype("str")
    if not _counts_on(column, texts):
        ids = [f"synthetic-{n_before + i + 1}" for i in range(len(index))]
        return pd.Series(ids, index=index, dtype="str")
    first = max(map(int, texts)) + 1 + n_before
    numbers = range(first, first + len(index))
    if column.storage == "integer" and first + len(index) < 2**63:
        return pd.Series(numbers, index=index, dtype="Int64")
    # Ids such as 00017 keep their width.
    width = max(texts.str.len()) if texts.str.startswith("0").any() else 0
    return pd.Series([str(number).zfill(width) for number in numbers], index=index, dtype="str")


def _counts_on(column: Column, texts: pd.Series) -> bool:
    """Return whether ids are numbers that can go on: postal codes of a text column are none."""
    if not len(texts) or not texts.map(lambda text: bool(_WHOLE.fullmatch(text))).all():
        return False
    is_code = texts.str.startswith("0").any() or not texts.is_unique
    return column.storage == "integer" or is_id_name(column.name) or not is_code
