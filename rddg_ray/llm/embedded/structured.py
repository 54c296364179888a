"""Replies that follow a JSON schema (`response_format`)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rddg_ray.llm.embedded.columns import PromptColumn

Schema = Mapping[str, Any]


def schema_fault(schema: Any) -> str | None:
    """Return why a schema is refused, or None.

    It must keep OpenAI's rules of strict mode (every property required, none added, an object
    outermost) and have an array of objects at its top, in which rows are written: the sampler
    writes nothing else.
    """
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return "schema must have a 'type' of 'object'."
    if (fault := _object_fault(schema)) is not None:
        return fault
    if _rows_property(schema) is None:
        return "the embedded endpoint needs an array of objects to write rows in."
    return None


def structured_reply(
    rows: Iterable[Sequence[str]], columns: Sequence[PromptColumn], schema: Schema
) -> str:
    """Return rows as JSON that follows the schema.

    Args:
        rows: Cells in the columns' order. A row with a cell that no value of the schema can say
            is left out.
        columns: The prompt's.
        schema: One without `schema_fault`. A property stands for the column of its name, or of
            its description, or else for the one in its place.
    """
    found = _rows_property(schema)
    if found is None:
        raise ValueError(f"a schema without an array of objects: {schema}")
    name, items = found
    cells = items["properties"]
    places = _places(cells, columns)
    objects = [_object(row, cells, places) for row in rows]
    lists: dict[str, list[Any]] = {
        key: [] for key, value in schema["properties"].items() if value["type"] == "array"
    }
    content = lists | {name: [item for item in objects if item is not None]}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _object_fault(schema: Schema) -> str | None:
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not all(
        isinstance(v, dict) for v in properties.values()
    ):
        return "an object must have 'properties'."
    if schema.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false."
    if sorted(schema.get("required") or ()) != sorted(properties):
        return "'required' is required to be supplied and to include every key in properties."
    for value in properties.values():
        inner = value.get("items") if value.get("type") == "array" else value
        if isinstance(inner, dict) and inner.get("type") == "object":
            fault = _object_fault(inner)
            if fault is not None:
                return fault
    return None


def _rows_property(schema: Schema) -> tuple[str, Schema] | None:
    for name, value in schema["properties"].items():
        items = value.get("items")
        if value.get("type") == "array" and isinstance(items, dict) and items.get("properties"):
            return name, items
    return None


def _places(cells: Schema, columns: Sequence[PromptColumn]) -> list[int]:
    """Return the column of each property."""
    by_name = {column.name: place for place, column in reversed(list(enumerate(columns)))}
    return [
        by_name.get(name, by_name.get(cell.get("description", ""), min(place, len(columns) - 1)))
        for place, (name, cell) in enumerate(cells.items())
    ]


def _object(row: Sequence[str], cells: Schema, places: Sequence[int]) -> dict[str, Any] | None:
    try:
        return {
            name: _value(row[place], cell)
            for (name, cell), place in zip(cells.items(), places, strict=True)
        }
    except ValueError:
        return None


def _value(text: str, cell: Schema) -> Any:
    """Return the JSON value of a cell.

    Raises:
        ValueError: If the schema has none for it.
    """
    kinds = [cell["type"]] if isinstance(cell["type"], str) else cell["type"]
    if text == "" and "null" in kinds:
        return None
    if "enum" in cell and text not in cell["enum"]:
        raise ValueError(f"{text!r} is not in the enum")
    if "string" in kinds:
        return text
    number = float(text)
    if not math.isfinite(number) or not {"integer", "number"} & set(kinds):
        raise ValueError(f"{text!r} is none of {kinds}")
    return round(number) if "integer" in kinds else number
