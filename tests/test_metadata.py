from __future__ import annotations

from typing import Any

import pytest

from rddg_ray.errors import DataError
from rddg_ray.metadata import columns_of_metadata, describe
from rddg_ray.schema import Column


def _said(columns: dict[str, Any], **more: Any) -> dict[str, dict[str, Any]]:
    return columns_of_metadata({"columns": columns, **more}, "meta.json")


def _refusal(content: object) -> str:
    with pytest.raises(DataError) as caught:
        columns_of_metadata(content, "meta.json")
    return str(caught.value)


def test_a_single_table_file_names_kinds_and_words() -> None:
    said = _said(
        {
            "age": {"sdtype": "numerical", "computer_representation": "Int64", "unit": "years"},
            "born": {"sdtype": "datetime", "datetime_format": "%Y", "description": "year"},
        }
    )
    assert said == {
        "age": {"kind": "numerical", "decimals": 0, "unit": "years"},
        "born": {"kind": "datetime", "datetime_format": "%Y", "description": "year"},
    }


def test_a_multi_table_file_with_one_table_is_read() -> None:
    content = {"tables": {"t": {"columns": {"a": {"sdtype": "boolean"}}}}, "relationships": []}
    assert columns_of_metadata(content, "m") == {"a": {"kind": "boolean"}}


def test_the_primary_key_is_an_id() -> None:
    said = _said({"n": {"sdtype": "numerical"}}, primary_key="n")
    assert said["n"]["kind"] == "id"


@pytest.mark.parametrize("sdtype", ["email", "phone_number", "first_name", "unknown"])
def test_personal_data_is_an_id_that_is_never_shown(sdtype: str) -> None:
    assert _said({"c": {"sdtype": sdtype}})["c"]["kind"] == "id"


@pytest.mark.parametrize("role", ["id", "ignore"])
def test_a_role_takes_a_column_out_of_the_features(role: str) -> None:
    assert _said({"c": {"sdtype": "numerical", "role": role}})["c"]["kind"] == "id"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "expected a JSON object, found list"),
        ({}, "there is no 'columns' object"),
        ({"tables": {"a": {}, "b": {}}}, "must hold exactly one table"),
        ({"columns": {"a": 1}}, "column 'a': expected an object, found 1"),
        ({"columns": {"a": {"sdtyp": "id"}}}, "column 'a': unknown key 'sdtyp'; known: ["),
        ({"columns": {"a": {"role": "label"}}}, "role 'label' is not one of"),
        ({"columns": {"a": {"sdtype": "numeric"}}}, "did you mean 'numerical'?"),
        ({"columns": {"a": {"sdtype": "Categorical"}}}, "did you mean 'categorical'?"),
        ({"columns": {"a": {"decimals": "2"}}}, "decimals = '2' must be a whole number"),
        ({"columns": {"a": {"decimals": -1}}}, "decimals = -1 must be a whole number"),
        ({"columns": {"a": {"unit": 3}}}, "unit = 3 must be a text"),
    ],
)
def test_what_metadata_cannot_say_is_refused_with_file_and_column(
    content: object, said: str
) -> None:
    assert said in _refusal(content)
    assert _refusal(content).startswith("meta.json: ")


def test_words_are_taken_over_and_the_kind_is_not() -> None:
    column = describe(Column("a", "id"), {"kind": "numerical", "unit": "kg", "description": "w"})
    assert (column.kind, column.unit, column.description) == ("id", "kg", "w")
