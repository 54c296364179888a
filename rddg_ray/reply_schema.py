"""The JSON schema of a generation reply, for endpoints with structured output."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from rddg_ray.codes import Codes
from rddg_ray.errors import ConfigError
from rddg_ray.schema import Column

ROWS_KEY = "rows"
# Names beyond this are refused as property names by some endpoints.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# OpenAI's documented limits on a strict schema: 5,000 properties, 10 levels, 1,000 values of
# enumerations (500 until 2025, and still elsewhere) of which one with more than 250 may have
# 15,000 characters, 120,000 characters of names and values. Lists are kept to what the older
# limits allow; names cannot be, so the present ones count.
_MOST_PROPERTIES = 5_000
_MOST_CHARACTERS = 120_000
_MOST_ENUM_VALUES = 500
_MOST_ENUM_CHARACTERS = 7_500


def reply_keys(columns: Sequence[Column]) -> tuple[str, ...]:
    """Return the property of each column in a JSON row: its name, where every endpoint takes it.

    Other names (with spaces, letters beyond ASCII, more than 64 characters) are stood for by
    `column_0`, `column_1`, ... by the column's place.
    """
    taken = {column.name for column in columns}
    keys = []
    for place, column in enumerate(columns):
        key = column.name
        if not _PLAIN_KEY.fullmatch(key):
            key = f"column_{place}"
            while key in taken:
                key += "_"
            taken.add(key)
        keys.append(key)
    return tuple(keys)


def reply_schema(columns: Sequence[Column], codes: Codes) -> str:
    """Return the schema as JSON: an object whose `rows` lists one flat object a row.

    It keeps the rules of strict mode: every property is required, none may be added, a cell
    that may be missing has a type with `null`. Categories are listed as they cross to the
    endpoint, the target's first and then from the shortest list on, as far as limits on
    enumerations go; the cells of other columns are plain texts.

    A chain's schema never changes, so that an endpoint compiles and caches it once.

    Args:
        columns: Target first, then features (`Table.prompt_columns`).
        codes: What stands for category values.

    Raises:
        ConfigError: If the table has more columns than a schema may have properties.
    """
    keys = reply_keys(columns)
    shown = [codes.coded(column) for column in columns]
    listed = _listed(shown)
    cells = {
        key: _cell(column, is_listed=place in listed, described=key != column.name)
        for place, (key, column) in enumerate(zip(keys, shown, strict=True))
    }
    _check_size(cells)
    rows = {"type": "array", "items": _object(cells)}
    return json.dumps(_object({ROWS_KEY: rows}), ensure_ascii=False, separators=(",", ":"))


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _cell(column: Column, *, is_listed: bool, described: bool) -> dict[str, Any]:
    kind = "string"
    if column.kind == "numerical":
        kind = "integer" if column.decimals == 0 else "number"
    cell: dict[str, Any] = {"type": [kind, "null"] if column.has_missing else kind}
    if is_listed:
        cell["enum"] = [*column.categories, None] if column.has_missing else [*column.categories]
    if described:
        cell["description"] = column.name
    return cell


def _listed(columns: Sequence[Column]) -> set[int]:
    """Return the places of the columns whose categories are listed."""
    with_values = [place for place, column in enumerate(columns) if column.categories]
    with_values.sort(key=lambda place: (place > 0, len(columns[place].categories), place))
    listed, n_values, n_characters = set(), 0, 0
    for place in with_values:
        values = columns[place].categories
        n_values += len(values) + columns[place].has_missing
        n_characters += sum(map(len, values))
        if n_values > _MOST_ENUM_VALUES or n_characters > _MOST_ENUM_CHARACTERS:
            break
        listed.add(place)
    return listed


def _check_size(cells: dict[str, Any]) -> None:
    values = [value or "" for cell in cells.values() for value in cell.get("enum", ())]
    n_characters = sum(map(len, [*cells, *values]))
    if len(cells) + 1 > _MOST_PROPERTIES or n_characters > _MOST_CHARACTERS:
        raise ConfigError(
            f"generation.reply_format: 'json_schema' does not do for a table of {len(cells)} "
            f"columns, whose names and values have {n_characters:,} characters (a schema may have "
            f"{_MOST_PROPERTIES:,} properties and {_MOST_CHARACTERS:,} characters); set it to csv"
        )
