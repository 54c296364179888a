from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rddg_ray.errors import DataError
from rddg_ray.reading import read_frame, read_metadata, read_table, write_rows
from rddg_ray.schema import Column, Schema
from rddg_ray.table import from_frame, split

ROWS = "x,y\n1,a\n2,a\n3,b\n5,b\n"
NAMES = ['price, "net" {EUR}', "line\nbreak", "日本", "a;b", "'q'", "1", " x", "%", "{{ x }}"]
HOSTILE = [
    "a,b",
    'say "hi"',
    "{EUR} {{ x }}",
    "line\nbreak",
    "car\rriage",
    "both\r\nends",
    "naïve 日本",
]


def _csv(tmp_path: Path, content: str | bytes, name: str = "rows.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _refusal(path: Path, target: str = "y") -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, target)
    assert path.name in str(caught.value) or path.stem in str(caught.value)
    return str(caught.value)


# Files that must work.


@pytest.mark.parametrize("path_type", [str, Path])
def test_a_table_is_named_by_its_file(tmp_path: Path, path_type: type) -> None:
    table = read_table(path_type(_csv(tmp_path, ROWS)), "y")
    assert (table.name, len(table), table.class_counts) == ("rows", 4, {"a": 2, "b": 2})


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + ROWS,
        ROWS.replace(",", ";"),
        ROWS.replace(",", "\t"),
        ROWS.replace(",", "|"),
        ROWS.replace("\n", "\r\n"),
        ROWS.replace("\n", "\r"),
        ROWS.rstrip("\n"),
        ROWS + "\n\n",
        ROWS.replace("x", '"x"').replace("1", '"1"'),
        ROWS.replace(",", " , ").replace("x ", "x").replace(" y", "y"),
    ],
)
def test_the_same_rows_are_read_from_any_kind_of_csv(tmp_path: Path, content: str) -> None:
    table = read_table(_csv(tmp_path, content), "y")
    assert table.schema.names == ("x", "y")
    assert table.cells() == [["a", "1"], ["a", "2"], ["b", "3"], ["b", "5"]]


def test_the_header_decides_the_separator(tmp_path: Path) -> None:
    frame = read_frame(_csv(tmp_path, 'a;"b,c,d,e";y\n"1,5";2;3\n'))
    assert frame.columns.tolist() == ["a", "b,c,d,e", "y"]
    assert frame.iloc[0].tolist() == ["1,5", "2", "3"]


def test_names_and_cells_may_hold_anything(tmp_path: Path) -> None:
    frame = pd.DataFrame(dict.fromkeys(NAMES, HOSTILE * 3) | {"y": ["a", "b", "a"] * 7})
    table = from_frame(frame, "y")
    path = tmp_path / "hostile.csv"
    write_rows(table.to_output(table.frame), table.schema, path)
    again = read_table(path, "y")
    assert again.schema.names == (*NAMES, "y")
    pd.testing.assert_frame_equal(again.frame, table.frame)
    assert again.schema == table.schema


def test_a_column_without_a_name_at_the_front_is_pandas_index(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [i % 7 for i in range(20)], "y": ["a", "b"] * 10})
    frame.to_csv(tmp_path / "rows.csv")
    table = read_table(tmp_path / "rows.csv", "y")
    assert table.schema.names == ("Unnamed: 0", "x", "y")
    assert [column.name for column in table.features] == ["x"]


def test_a_question_mark_is_missing_and_none_is_a_category(tmp_path: Path) -> None:
    table = read_table(_csv(tmp_path, "a,b,y\n?,none,p\n2,bank,p\n3,none,q\n7,none,q\n"), "y")
    assert table.schema["a"].has_missing
    assert table.schema["a"].kind == "numerical"
    assert table.schema["b"].categories == ("none", "bank")


def test_other_words_for_missing_cells_can_be_named(tmp_path: Path) -> None:
    path = _csv(tmp_path, "a,y\n-9,p\n2,p\n?,q\n7,q\n")
    with_nine = read_table(path, "y", missing_values=["-9", "?"])
    assert with_nine.frame["a"].isna().tolist() == [True, False, True, False]
    without = read_table(path, "y", missing_values=[])
    assert without.schema["a"].categories == ("-9", "2", "7", "?")


def test_codes_with_zeros_in_front_stay_as_written(tmp_path: Path) -> None:
    path = _csv(tmp_path, "zip,y\n007,p\n123,p\n007,q\n94105,q\n")
    table = read_table(path, "y")
    out = tmp_path / "out.csv"
    write_rows(table.to_output(table.frame), table.schema, out)
    assert out.read_text(encoding="utf-8") == path.read_text(encoding="utf-8")


def test_a_csv_file_written_from_read_rows_is_the_same_file(tmp_path: Path) -> None:
    content = (
        "n,fixed,loose,flag,when,c,y\n"
        '10,1.50,1.5,t,31/01/2020,"a,b",0\n'
        '-3,2.00,2,f,01/02/2020,"say ""hi""",1\n'
        ",,,,,,0\n"
        "7,3.25,0.125,t,15/06/1999,c,1\n"
    )
    path = _csv(tmp_path, content)
    table = read_table(path, "y")
    out = tmp_path / "deep" / "out.csv"
    write_rows(table.to_output(table.frame), table.schema, out)
    assert out.read_text(encoding="utf-8") == content


def _rewritten(tmp_path: Path, content: str, **options: Any) -> str:
    table = read_table(_csv(tmp_path, content), "y", **options)
    out = tmp_path / "out.csv"
    write_rows(table.to_output(table.frame), table.schema, out)
    return out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "content",
    [
        "x,y\n?,a\n1,a\n?,b\n2,b\n",
        "x,gap,y\n1,NA,a\n,NA,a\n2,NA,b\n3,NA,b\n",
        "x,y\n34.0,a\n7.0,a\n12.0,b\n,b\n",
        "x,y\n1.5,a\n2.0,a\n3.25,b\n10.0,b\n",
        "x,y\n1.5,a\n2,a\n3.25,b\n10,b\n",
        "x,when,y\n1,1/1/2020,a\n2,12/25/2020,a\n3,3/30/2021,b\n5,10/7/2021,b\n",
        "x,when,y\n1,5.1.2020,a\n2,25.12.2020,a\n3,30.3.2021,b\n5,7.10.2021,b\n",
        "x,when,y\n1,2020-01-05,a\n2,2020-12-25,a\n3,2021-03-30,b\n5,2021-10-07,b\n",
        "x,city,y\n1, Bern, yes\n2, Genf, yes\n3, Bern, no\n5, Genf, no\n",
        "x,unit,y\n1, kg,a\n2, kg,a\n3, kg,b\n5, kg,b\n",
    ],
)
def test_a_csv_file_keeps_its_way_of_writing(tmp_path: Path, content: str) -> None:
    assert _rewritten(tmp_path, content) == content


def test_of_several_ways_of_writing_the_most_frequent_is_kept(tmp_path: Path) -> None:
    content = "x,c,y\n?,Bern ,a\n?,Bern,a\nNA,Bern ,b\n3,Genf,b\n5,Genf,b\n"
    assert _rewritten(tmp_path, content) == (
        "x,c,y\n?,Bern ,a\n?,Bern ,a\n?,Bern ,b\n3,Genf,b\n5,Genf,b\n"
    )


def test_prompts_show_cells_without_the_files_own_words(tmp_path: Path) -> None:
    table = read_table(_csv(tmp_path, "x,c,y\n?, Bern,a\n4.0, Genf,a\n5.0, Bern,b\n?,b,b\n"), "y")
    assert table.cells([0, 1]) == [["a", "", "Bern"], ["a", "4", "Genf"]]


def test_a_class_called_na_is_kept_when_other_words_mean_missing(tmp_path: Path) -> None:
    path = _csv(tmp_path, "x,y\n1,NA\n2,NA\n3,EU\n?,EU\n")
    assert "first in row 1 ('NA'). Where that is a class, name only other texts in" in (
        _refusal(path)
    )
    assert "missing_values (--missing on the command line); else drop those rows" in _refusal(path)
    assert read_table(path, "y", missing_values=["?"]).classes == ("EU", "NA")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_table_of_texts_and_numbers_survives_a_csv_file(
    tmp_path: Path, data: st.DataObject
) -> None:
    text = st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=8)
    n_rows = data.draw(st.integers(4, 8))
    decimals = data.draw(st.integers(0, 5))
    column = st.lists(text, min_size=n_rows, max_size=n_rows)
    numbers = st.lists(st.integers(-(10**6), 10**6), min_size=n_rows, max_size=n_rows, unique=True)
    name = data.draw(text.filter(lambda word: word not in ("", "x", "y")))
    frame = pd.DataFrame(
        {
            "x": [f"{number / 10**decimals:.{decimals}f}" for number in data.draw(numbers)],
            name: data.draw(column),
            "y": ["a", "b"] * (n_rows // 2) + ["a"] * (n_rows % 2),
        },
        dtype="str",
    )
    table = from_frame(frame, "y", missing_values=[""], metadata={name: {"kind": "categorical"}})
    path = tmp_path / "any.csv"
    out = table.to_output(table.frame)
    write_rows(out, table.schema, path)
    with path.open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == ["x", name, "y"]
    read = read_frame(path)
    again = from_frame(read, "y", missing_values=[""], metadata={name: {"kind": "categorical"}})
    pd.testing.assert_frame_equal(again.frame, table.frame)
    assert again.schema == table.schema


def test_typed_rows_survive_a_parquet_file(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "whole": pd.Series([3, None, 5, 7] * 3, dtype="Int64"),
            "big": pd.Series([2**60 + 1, None, 2**60 + 3, 2**60 + 1] * 3, dtype="Int64"),
            "small": np.array([1, 2, 3, 5] * 3, dtype="int8"),
            "unsigned": np.array([2**63 + 1, 2**63 + 3] * 6, dtype="uint64"),
            "real": [1.5, np.nan, 2.25, 4.0] * 3,
            "single": np.array([0.1, 0.25, 3.5, 0.1] * 3, dtype="float32"),
            "flag": pd.Series([True, None, False, True] * 3, dtype="boolean"),
            "when": pd.to_datetime(
                ["2020-01-01 10:00", None, "1999-01-01", "2500-01-01"] * 3, format="ISO8601"
            ).as_unit("us"),
            "grade": pd.Series(["a", None, "b", "c"] * 3, dtype="category"),
            "text": ["naïve", None, 'a,"b"', "{x}"] * 3,
            "y": [True, False, True, False] * 3,
        }
    )
    path = tmp_path / "typed.parquet"
    frame.to_parquet(path)
    table = read_table(path, "y")
    out = tmp_path / "out.parquet"
    write_rows(table.to_output(table.frame), table.schema, out)
    again = read_table(out, "y")
    pd.testing.assert_frame_equal(again.frame, table.frame)
    kinds = {column.name: (column.kind, column.storage) for column in table.schema}
    assert kinds == {
        "whole": ("numerical", "integer"),
        "big": ("categorical", "integer"),
        "small": ("numerical", "integer"),
        "unsigned": ("categorical", "integer"),
        "real": ("numerical", "float"),
        "single": ("numerical", "float"),
        "flag": ("boolean", "boolean"),
        "when": ("datetime", "datetime"),
        "grade": ("categorical", "text"),
        "text": ("categorical", "text"),
        "y": ("categorical", "boolean"),
    }
    assert {column.name: column.storage for column in again.schema} == {
        name: storage for name, (_, storage) in kinds.items()
    }
    assert read_frame(out)["big"].tolist()[::2] == [2**60 + 1, 2**60 + 3] * 3


def test_rows_of_a_parquet_table_survive_a_csv_file(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "when": pd.to_datetime(["2020-01-01 10:00:00.25", "1999-01-01"] * 4, format="ISO8601"),
            "flag": [True, False] * 4,
            "x": [0.1, 2e-7, 3.0, 1.0] * 2,
            "y": [1, 1, 0, 0] * 2,
        }
    )
    table = from_frame(frame, "y")
    path = tmp_path / "out.csv"
    write_rows(table.to_output(table.frame), table.schema, path)
    pd.testing.assert_frame_equal(read_table(path, "y").frame, table.frame)


def test_output_columns_that_no_schema_knows_are_written(tmp_path: Path) -> None:
    rows = pd.DataFrame({"x": [1.0, np.nan], "chain": ["a", None],
                         "when": pd.to_datetime(["2020-01-01", None])})  # fmt: skip
    path = tmp_path / "out.csv"
    write_rows(rows, Schema((Column("x", "numerical", decimals=1, fixed_decimals=True),)), path)
    assert path.read_text(encoding="utf-8") == "x,chain,when\n1.0,a,2020-01-01 00:00:00\n,,\n"


def test_no_rows_are_a_header(tmp_path: Path) -> None:
    table = from_frame(pd.DataFrame({"x": [1, 2, 4, 7], "y": list("aabb")}), "y")
    write_rows(table.to_output(table.frame.iloc[:0]), table.schema, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "x,y\n"


# Files that must be refused.


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("\ufeff", "the file is empty"),
        ("x,y\n", "there is a header but no row"),
        ("x,y\n1,a\n2\n", "line 3: 1 cells where the header has 2: ['2']"),
        ('x,y\n"1\n1",a\n2,b,c\n', "line 4: 3 cells where the header has 2"),
        ("x,x,y\n1,2,a\n", "two columns are named 'x'"),
        ("x,,y\n1,2,a\n", "column 2 has no name"),
        (",Unnamed: 0,y\n1,2,a\n", "two columns are named 'Unnamed: 0'"),
        ('x,y\n"1,a\n', "line 2: unexpected end of data"),
        ('x,y\n"1"2,a\n', "line 2: ',' expected after '\"'"),
        (b"x,y\n\xff,a\n", "is not UTF-8 text (byte 4)"),
        (b"x,y\n\x00,a\n", "holds a zero byte"),
        ("y\na\nb\n", "there is no column but the target 'y'"),
        ("x,z\n1,a\n", "target: there is no column 'y'"),
        ("x,y\n1,a\n2,\n", "target 'y' is missing in 1 rows, first in row 2"),
        ("x,y\n1,a\n2,a\n", "one class only"),
        ("x,y\n1,a\n2,a\n3,b\n", "class 'b' has one row"),
    ],
)
def test_a_csv_file_that_cannot_be_used_is_refused_with_file_and_reason(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    assert said in _refusal(_csv(tmp_path, content))


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    assert "there is no such file" in _refusal(tmp_path / "no.csv")


def test_a_parquet_file_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "cannot be read as Parquet" in _refusal(_csv(tmp_path, ROWS, "rows.parquet"))


# Metadata files.


def _metadata(tmp_path: Path, columns: dict[str, Any]) -> Path:
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps({"columns": columns}), encoding="utf-8")
    return path


def test_a_metadata_file_overrides_what_is_inferred(tmp_path: Path) -> None:
    path = _metadata(
        tmp_path, {"x": {"sdtype": "categorical", "description": "size", "role": "feature"}}
    )
    table = read_table(_csv(tmp_path, ROWS), "y", metadata=path)
    assert table.schema["x"].categories == ("1", "2", "3", "5")
    assert table.schema["x"].description == "size"


@pytest.mark.parametrize("content", ["{", "[]", '{"columns": 3}'])
def test_a_metadata_file_that_is_none_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = _csv(tmp_path, content, "meta.json")
    with pytest.raises(DataError, match=r"meta\.json: "):
        read_metadata(path)


def test_an_absent_metadata_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"meta\.json: cannot be read"):
        read_metadata(tmp_path / "meta.json")


# Real tables.


def _kinds(table: Any) -> dict[str, int]:
    kinds = [column.kind for column in table.schema]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def test_sick_is_read_without_a_schema_file(shared: Path) -> None:
    table = read_table(shared / "data" / "sick" / "sick.csv", "Class")
    assert table.class_counts == {"negative": 3541, "sick": 231}
    assert _kinds(table) == {"boolean": 19, "categorical": 3, "constant": 2, "numerical": 6}
    missing = {column.name for column in table.schema if column.has_missing}
    assert missing == {"age", "sex", "TSH", "T3", "TT4", "T4U", "FTI", "TBG"}
    assert [table.schema[name].decimals for name in ("age", "TSH", "T3", "T4U")] == [0, 3, 2, 3]


def test_thyroid_is_read_without_a_schema_file(shared: Path) -> None:
    table = read_table(shared / "data" / "thyroid" / "Thyroid_Diff.csv", "Recurred")
    assert table.class_counts == {"No": 275, "Yes": 108}
    # FACTS: 19 rows repeat an earlier one.
    assert len(table) - len(set(table.row_keys())) == 19
    train, test = split(table, 0.2, 0)
    assert not {key[1:] for key in train.row_keys()} & {key[1:] for key in test.row_keys()}


def test_credit_g_is_read_without_a_schema_file(shared: Path) -> None:
    table = read_table(shared / "data" / "credit_g" / "credit-g.csv", "class")
    assert table.class_counts == {"good": 700, "bad": 300}
    assert not any(column.has_missing for column in table.schema)
    assert "none" in table.schema["other_parties"].categories
    assert {"<1", ">=7"} <= set(table.schema["employment"].categories)


@pytest.mark.parametrize(
    ("file", "target"),
    [("sick/sick.csv", "Class"), ("thyroid/Thyroid_Diff.csv", "Recurred"),
     ("credit_g/credit-g.csv", "class")],
)  # fmt: skip
def test_real_cells_survive_being_written_and_read(
    shared: Path, tmp_path: Path, file: str, target: str
) -> None:
    table = read_table(shared / "data" / file, target)
    out = tmp_path / "out.csv"
    write_rows(table.to_output(table.frame), table.schema, out)
    again = read_table(out, target)
    pd.testing.assert_frame_equal(again.frame, table.frame)
    names = [column.name for column in table.schema]
    ours, theirs = read_frame(out), read_frame(shared / "data" / file)
    assert ours[names].equals(theirs[names])
