"""How a source writes cells where canonical cells do not say: gaps, outer space, dates."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pandas as pd

from rddg_ray.schema import Column, parse_datetime

# Directives of dates that may be written without a zero in front, the usual ones first.
_UNPADDED = ("", "dm", "d", "m", "H", "dmH")


def as_written(column: Column, series: pd.Series, text: pd.Series) -> Column:
    """Return a column with the ways of writing that its cells show.

    Args:
        column: A column read from texts.
        series: Its cells as the source has them.
        text: The same cells stripped, NaN for missing.

    Returns:
        The column with `missing_token`, `unpadded` and `spellings`, each as most cells have it.
    """
    raw = series.astype(object)
    tokens = Counter(raw[text.isna()].fillna("").astype("str").to_list())
    if tokens:
        column = replace(column, missing_token=_most_frequent(tokens))
    if column.kind == "datetime":
        return replace(column, unpadded=_unpadded(column, text))
    if column.kind not in ("categorical", "boolean", "constant"):
        return column
    differs = text.notna() & (raw.astype("str") != text)
    spellings = {
        str(value): _most_frequent(Counter(raw[text == value].astype("str").to_list()))
        for value in text[differs].unique()
    }
    return replace(
        column, spellings=tuple(pair for pair in spellings.items() if len(set(pair)) > 1)
    )


def _most_frequent(counts: Counter[str]) -> str:
    return min(counts, key=lambda value: (-counts[value], value))


def _unpadded(column: Column, text: pd.Series) -> str:
    """Return the directives written without a zero in front, if all dates agree."""
    form = column.datetime_format or ""
    seconds = {value: parse_datetime(value, form) for value in text.dropna().unique()}
    for letters in _UNPADDED:
        writer = replace(column, unpadded=letters)
        if all(writer.encode(number) == value for value, number in seconds.items()):
            return letters
    return ""
