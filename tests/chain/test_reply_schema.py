"""The JSON schema of a generation reply."""

from __future__ import annotations

import json
import re
from typing import Any

import pandas as pd
import pytest

from rddg_ray.codes import Codes
from rddg_ray.errors import ConfigError
from rddg_ray.reply_schema import reply_keys, reply_schema
from rddg_ray.schema import Column
from rddg_ray.table import Table, from_frame


def cells(columns: Any, codes: Codes | None = None) -> dict[str, Any]:
    schema = json.loads(reply_schema(columns, codes or Codes()))
    return dict(schema["properties"]["rows"]["items"]["properties"])


def listing(name: str, n_values: int, width: int = 4) -> Column:
    values = tuple(f"{i:0{width}d}v" for i in range(n_values))
    return Column(name, "categorical", categories=values)


def objects(schema: Any) -> list[dict[str, Any]]:
    inner = [found for value in schema.values() if isinstance(value, dict)
             for found in objects(value)]  # fmt: skip
    return [schema, *inner] if schema.get("type") == "object" else inner


def test_every_object_keeps_the_rules_of_strict_mode(hostile: Table) -> None:
    schema = json.loads(reply_schema(hostile.prompt_columns, Codes()))
    found = objects(schema)
    assert len(found) == 2
    for item in found:
        assert item["required"] == list(item["properties"])
        assert item["additionalProperties"] is False
    assert schema["type"] == "object"
    assert found[1] == schema["properties"]["rows"]["items"]


def test_types_follow_the_columns_and_a_cell_that_may_be_missing_may_be_null() -> None:
    frame = pd.DataFrame({
        "whole": [1, 2, 3, 4] * 5, "real": [0.5, None, 2.25, 3.0] * 5, "word": list("abca") * 5,
        "some": ["p", None, "q", "q"] * 5, "day": ["2024-01-02", "2024-03-04"] * 10,
        "y": list("uvuv") * 5,
    })  # fmt: skip
    table = from_frame(frame, "y")
    assert cells(table.prompt_columns) == {
        "y": {"type": "string", "enum": ["u", "v"]},
        "whole": {"type": "integer"},
        "real": {"type": ["number", "null"]},
        "word": {"type": "string", "enum": ["a", "b", "c"]},
        "some": {"type": ["string", "null"], "enum": ["q", "p", None]},
        "day": {"type": "string"},
    }


def test_codes_stand_for_categories(hostile: Table) -> None:
    codes = Codes.draw(hostile.prompt_columns, 0)
    enum = cells(hostile.prompt_columns, codes)["class"]["enum"]
    assert enum == [codes.encode("class", label) for label in
                    hostile.prompt_columns[0].categories]  # fmt: skip
    assert "1. mid" not in reply_schema(hostile.prompt_columns, codes)


def test_a_name_that_some_endpoint_refuses_has_a_key_and_stands_in_the_description(
    hostile: Table,
) -> None:
    keys = reply_keys(hostile.prompt_columns)
    assert keys == ("class", "column_1", "column_2", "column_3", "note")
    found = cells(hostile.prompt_columns)
    assert list(found) == list(keys)
    assert found["column_1"]["description"] == 'price, "net" {EUR}'
    assert "description" not in found["note"]


def test_keys_are_plain_and_differ_whatever_the_names() -> None:
    names = ["column_1", "ä", "", "x" * 65, "x" * 64, "a b", "a\nb", "column_2", "column_1_"]
    keys = reply_keys([Column(name, "numerical") for name in names])
    assert len(set(keys)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", key) for key in keys)
    assert keys[0] == "column_1"


def test_lists_of_categories_stop_at_the_limits_of_a_schema() -> None:
    found = cells([listing("y", 60), listing("long", 441), listing("short", 40), listing("b", 400)])
    # 60 and 40 leave room for 400 of the 500 values, so the longest list is left out.
    assert ["enum" in cell for cell in found.values()] == [True, False, True, True]
    wide = cells([listing("y", 2), listing("wide", 20, width=400)])
    assert ["enum" in cell for cell in wide.values()] == [True, False]


def test_the_target_is_listed_before_shorter_lists() -> None:
    found = cells([listing("y", 300), listing("a", 2), listing("b", 250)])
    assert ["enum" in cell for cell in found.values()] == [True, True, False]


def test_a_table_with_more_columns_than_a_schema_may_have_is_named() -> None:
    columns = [listing("y", 2), *(Column(f"c{i}", "numerical") for i in range(5_000))]
    with pytest.raises(ConfigError, match=r"generation\.reply_format: .*5001 columns.* to csv"):
        reply_schema(columns, Codes())
