from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rddg_ray.errors import ConfigError, DataError
from rddg_ray.table import Table, conform, from_frame, split

TYPED = pd.DataFrame(
    {
        "pid": pd.Series([2**60 + i for i in range(12)], dtype="Int64"),
        "count": pd.Series([3, None, 5, 7] * 3, dtype="Int64"),
        "price": [1.5, np.nan, 2.25, 4.0] * 3,
        "flag": pd.Series([True, None, False, True] * 3, dtype="boolean"),
        "when": pd.to_datetime(["2020-01-01", None, "2500-06-01", "1950-12-31"] * 3).as_unit("us"),
        "grade": pd.Series(["a", None, "b", "c"] * 3, dtype="category"),
        "unit": ["kg"] * 12,
        "class": [0, 0, 1, 0] * 3,
    }
)


def _frame(n_rows: int = 40, rare: int = 8, **columns: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    base = {
        "x": rng.normal(size=n_rows).round(2),
        "c": rng.choice(["p", "q"], n_rows),
        "class": ["rare"] * rare + ["common"] * (n_rows - rare),
    }
    return pd.DataFrame({**base, **columns})


def _row_texts(table: Table) -> Counter[tuple[str, ...]]:
    return Counter(key[1:] for key in table.row_keys())


# What a table knows.


def test_classes_stand_largest_first_and_the_smallest_is_the_rare_one() -> None:
    frame = pd.DataFrame({"x": range(9), "y": ["b"] * 3 + ["a"] * 3 + ["z"] * 2 + ["b"]})
    table = from_frame(frame.assign(x=[1, 1, 2, 2, 3, 3, 4, 4, 5]), "y")
    assert table.class_counts == {"b": 4, "a": 3, "z": 2}
    assert table.classes == ("b", "a", "z")
    assert table.rare_class == "z"


def test_equal_classes_stand_in_order_of_their_text() -> None:
    table = from_frame(pd.DataFrame({"x": [1, 2, 3, 1], "y": ["b", "b", "a", "a"]}), "y")
    assert table.classes == ("a", "b")


def test_the_rare_class_may_be_named() -> None:
    assert from_frame(_frame(), "class", rare_class="common").rare_class == "common"


def test_ids_and_constants_are_neither_shown_nor_learned() -> None:
    table = from_frame(TYPED, "class")
    assert [column.name for column in table.prompt_columns] == [
        "class", "count", "price", "flag", "when", "grade",
    ]  # fmt: skip
    assert [column.name for column in table.features] == ["count", "price", "flag", "when", "grade"]


def test_cells_are_texts_in_prompt_order() -> None:
    table = from_frame(TYPED, "class")
    assert table.cells([1, 2]) == [
        ["0", "", "", "", "", ""],
        ["1", "5", "2.25", "False", "2500-06-01", "b"],
    ]


def test_row_ids_travel_with_rows() -> None:
    table = from_frame(_frame(), "class")
    taken = table.take([5, 3, 9])
    assert taken.frame.index.tolist() == [5, 3, 9]
    assert taken.take([2, 0]).frame.index.tolist() == [9, 5]
    assert taken.frame["x"].tolist() == table.frame["x"].iloc[[5, 3, 9]].tolist()


def test_words_reach_the_columns() -> None:
    table = from_frame(
        _frame(),
        "class",
        descriptions={"x": "length", "c": "colour"},
        metadata={"x": {"description": "width", "unit": "m"}, "c": {"kind": "id"}},
    )
    assert (table.schema["x"].description, table.schema["x"].unit) == ("width", "m")
    assert (table.schema["c"].description, table.schema["c"].kind) == ("colour", "id")


@pytest.mark.parametrize("target", ["3", "x"])
def test_columns_named_by_numbers_are_named_by_their_text(target: str) -> None:
    frame = _frame().rename(columns={"x": 7, "class": 3 if target == "3" else "x"})
    table = from_frame(frame, target)
    assert table.schema.names == ("7", "c", target)
    assert conform(frame, table, name="again").frame.equals(table.frame)


def test_the_callers_frame_is_left_alone() -> None:
    frame = _frame().rename(columns={"x": 7})
    before = frame.copy()
    from_frame(frame, "class")
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("index", [list("abcd") * 10, [0] * 40, range(40, 0, -1)])
def test_the_frames_index_becomes_no_column_and_no_id(index: Any) -> None:
    table = from_frame(_frame().set_index(pd.Index(index)), "class")
    assert table.frame.index.tolist() == list(range(40))
    assert table.frame["x"].tolist() == _frame()["x"].tolist()


# Encoding for the coreset network.


def test_encoded_features_are_standardised_and_free_of_gaps() -> None:
    matrix = from_frame(TYPED, "class").encode_features()
    assert matrix.shape == (12, 5)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(matrix.std(axis=0), 1, atol=1e-6)


def test_a_missing_number_is_encoded_as_the_mean() -> None:
    table = from_frame(pd.DataFrame({"x": [1.0, 3.0, np.nan, 2.5], "y": list("aabb")}), "y")
    mean = (1 + 3 + 2.5) / 3
    filled = np.array([1, 3, mean, 2.5])
    expected = (filled - filled.mean()) / filled.std()
    np.testing.assert_allclose(table.encode_features()[:, 0], expected, rtol=1e-6)


def test_a_feature_that_does_not_vary_is_encoded_as_zero() -> None:
    table = from_frame(pd.DataFrame({"x": [1.0, 2.0, 2.0, 2.0], "y": list("aabb")}), "y")
    assert not table.take([1, 2, 3]).encode_features().any()


def test_classes_are_encoded_by_their_position() -> None:
    table = from_frame(pd.DataFrame({"x": [1, 2, 3, 1, 1], "y": list("babab")}), "y")
    assert table.encode_classes().tolist() == [0, 1, 0, 1, 0]


# What cannot be a table.


@pytest.mark.parametrize(
    ("frame", "target", "said"),
    [
        (_frame(), "clas", "target: there is no column 'clas'; did you mean 'class'? Columns: 'x'"),
        (_frame(), "zzz", "target: there is no column 'zzz'. Columns: 'x', 'c', 'class'"),
        (_frame(**{"class": ["a"] * 40}), "class", "target 'class' has one class only ('a')"),
        (_frame(rare=1), "class", "target 'class': class 'rare' has one row; at least two"),
        (_frame(**{"class": [None, *"ab" * 19, "b"]}), "class", "is missing in 1 rows, first in r"),
        (_frame(**{"class": ["?", *"ab" * 19, "b"]}), "class", "is missing in 1 rows, first in r"),
        (_frame(**{"class": [None] * 40}), "class", "is missing in 40 rows"),
        (_frame()[["class"]], "class", "there is no column but the target 'class'"),
        (_frame()[["class"]].assign(k=1), "class", "every column but the target is constant or an"),
        (_frame().iloc[:0], "class", "the table has no rows"),
        (_frame(240, **{"class": [i // 2 for i in range(240)]}), "class", "has 120 distinct value"),
        (_frame().set_axis(["x", "x", "class"], axis=1), "class", "two columns are named 'x'"),
        (_frame().set_axis([1, "1", "class"], axis=1), "class", "two columns are named '1'"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_the_reason(
    frame: pd.DataFrame, target: str, said: str
) -> None:
    with pytest.raises(DataError) as caught:
        from_frame(frame, target, name="mine")
    assert str(caught.value).startswith("mine: ")
    assert said in str(caught.value)


def test_a_rare_class_that_is_absent_is_refused() -> None:
    with pytest.raises(DataError, match=r"has no class 'none'; classes: \['common', 'rare'\]"):
        from_frame(_frame(), "class", rare_class="none")


def test_metadata_of_an_unknown_column_is_refused() -> None:
    with pytest.raises(DataError, match="metadata: there is no column 'xx'; did you mean 'x'"):
        from_frame(_frame(), "class", metadata={"xx": {"kind": "id"}})


def test_a_refused_cell_names_the_table_the_column_and_the_row() -> None:
    with pytest.raises(DataError, match="mine: column 'x', row 3: 'inf' is not a number"):
        from_frame(
            _frame(x=["1", "2", "inf", *["4"] * 37]),
            "class",
            name="mine",
            metadata={"x": {"kind": "numerical"}},
        )


# Shapes that must work.


def test_a_six_class_table_works() -> None:
    frame = _frame(60, **{"class": [f"k{min(i // 12, 5)}" for i in range(58)] + ["k5"] * 2})
    train, test = split(from_frame(frame, "class"), 0.25, 0)
    assert set(train.classes) == set(test.classes) == {f"k{i}" for i in range(6)}


def test_a_table_with_60_percent_missing_cells_works() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(100, 8)).round(3)).mask(rng.random((100, 8)) < 0.6)
    table = from_frame(frame.assign(y=["a", "b"] * 50), "y")
    assert all(column.has_missing for column in table.features)
    assert table.frame.drop(columns="y").isna().to_numpy().mean() == pytest.approx(0.6, abs=0.06)
    assert np.isfinite(table.encode_features()).all()


def test_a_table_with_200_columns_works() -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(rng.normal(size=(40, 200)).round(2)).add_prefix("a long name ")
    table = from_frame(frame.assign(y=["a", "b"] * 20), "y")
    assert len(table.features) == 200
    assert len(table.cells([0])[0]) == 201
    with pytest.raises(DataError) as caught:
        from_frame(frame, "y")
    assert len(str(caught.value)) < 600


# Splitting.


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_each_class_is_split_by_the_same_share(share: float, together: bool) -> None:
    table = from_frame(_frame(400, 50), "class")
    train, test = split(table, share, 3, keep_duplicates_together=together)
    for label, count in table.class_counts.items():
        # A pair of equal rows may not fit into the last free place.
        assert round(share * count) - 1 <= test.class_counts[label] <= round(share * count)
        assert train.class_counts[label] + test.class_counts[label] == count


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from("ab")), min_size=30, max_size=60),
       st.integers(0, 1000))  # fmt: skip
def test_no_row_of_the_test_side_has_the_features_of_a_training_row(
    rows: list[tuple[int, str]], random_state: int
) -> None:
    # Each class also has rows of its own, so that both sides can have one.
    own = [(i, label) for label, start in (("a", 10), ("b", 20)) for i in range(start, start + 5)]
    frame = pd.DataFrame([*rows, *own], columns=["x", "y"])
    train, test = split(from_frame(frame, "y"), 0.3, random_state)
    assert not _row_texts(train).keys() & _row_texts(test).keys()
    ids = [*train.frame.index, *test.frame.index]
    assert sorted(ids) == list(range(len(frame)))


def test_a_plain_split_separates_duplicates() -> None:
    frame = pd.DataFrame({"x": [1, 2] * 50, "y": ["a", "b"] * 50})
    train, test = split(from_frame(frame, "y"), 0.2, 0, keep_duplicates_together=False)
    assert _row_texts(train).keys() & _row_texts(test).keys()


def test_rows_keep_their_ids_and_cells_through_a_split() -> None:
    table = from_frame(_frame(), "class")
    for side in split(table, 0.25, 0):
        pd.testing.assert_frame_equal(side.frame, table.frame.loc[side.frame.index])


def test_the_same_random_state_gives_the_same_split_and_another_another() -> None:
    table = from_frame(_frame(), "class")
    ids = [split(table, 0.25, state)[1].frame.index.tolist() for state in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]


def test_the_training_schema_knows_nothing_of_test_rows() -> None:
    frame = pd.DataFrame({"x": np.arange(60) % 50 * 1.5, "c": [f"k{i % 30}" for i in range(60)],
                          "m": [None, *["z", "w"] * 29, "z"], "y": ["a", "b"] * 30})  # fmt: skip
    for state in range(8):
        train, test = split(from_frame(frame, "y"), 0.5, state)
        numbers, texts = train.frame["x"], train.frame["c"]
        assert (train.schema["x"].minimum, train.schema["x"].maximum) == (
            numbers.min(), numbers.max(),
        )  # fmt: skip
        assert set(train.schema["c"].categories) == set(texts)
        assert train.schema["m"].has_missing == (0 in train.frame.index)
        assert test.schema is train.schema


def test_every_class_keeps_a_row_on_both_sides_of_a_tiny_table() -> None:
    frame = pd.DataFrame({"x": range(0, 12, 3), "y": ["a", "a", "b", "b"]})
    for share in (0.01, 0.99):
        train, test = split(from_frame(frame, "y"), share, 0)
        assert train.class_counts == test.class_counts == {"a": 1, "b": 1}


def test_a_class_of_one_repeated_row_cannot_be_split_without_leaking() -> None:
    frame = pd.DataFrame({"x": [1] * 5 + list(range(2, 22)), "y": ["a"] * 5 + ["b"] * 20})
    with pytest.raises(DataError, match="class 'a' gets no test row, because its rows repeat one"):
        split(from_frame(frame, "y"), 0.2, 0)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5])
def test_a_share_that_leaves_a_side_empty_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="must lie between 0 and 1"):
        split(from_frame(_frame(), "class"), share, 0)


# Further rows under a table's schema.


def test_further_rows_are_read_by_the_first_tables_schema() -> None:
    table = from_frame(_frame(c=["1", "2"] * 20), "class", metadata={"c": {"kind": "categorical"}})
    further = pd.DataFrame({"class": ["RARE"], "c": [1.0], "x": ["1e1"], "more": ["?"]})
    rows = conform(further, table, name="synthetic.csv").frame
    assert rows.columns.tolist() == ["x", "c", "class"]
    assert rows.iloc[0].tolist() == [10.0, "1", "rare"]


def test_further_rows_keep_their_places_and_unseen_categories() -> None:
    table = from_frame(_frame(), "class")
    further = pd.DataFrame({"x": [1.23456], "c": ["new"], "class": ["rare"]})
    assert conform(further, table, name="f").frame.iloc[0].tolist() == [1.23456, "new", "rare"]


def test_further_rows_may_lack_ids_and_constants() -> None:
    table = from_frame(TYPED, "class")
    rows = conform(TYPED.drop(columns=["pid", "unit"]), table, name="f").frame
    assert (rows["unit"] == "kg").all()
    assert rows["pid"].isna().all()


def test_no_further_rows_are_a_table_without_rows() -> None:
    table = from_frame(TYPED, "class")
    rows = conform(TYPED.iloc[:0], table, name="f")
    assert len(rows) == 0
    assert rows.frame.dtypes.tolist() == table.frame.dtypes.tolist()


@pytest.mark.parametrize("one", ["x", "c"])
def test_further_rows_of_one_value_keep_the_columns_kind(one: str) -> None:
    table = from_frame(_frame(), "class")
    rows = conform(_frame().iloc[[0, 0]], table, name="f")
    assert rows.frame[one].dtype == table.frame[one].dtype


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"class": ["other"]}, "target 'class' has the class 'other', which table lacks"),
        ({"class": [None]}, "target 'class' is missing in 1 rows"),
        ({"x": ["abc"]}, "column 'x', row 1: 'abc' is not a number"),
    ],
)
def test_further_rows_that_break_the_schema_are_refused(change: dict[str, Any], said: str) -> None:
    table = from_frame(_frame(), "class")
    further = pd.DataFrame({"x": ["1"], "c": ["p"], "class": ["rare"], **change})
    with pytest.raises(DataError) as caught:
        conform(further, table, name="test.csv")
    assert str(caught.value).startswith("test.csv: ")
    assert said in str(caught.value)


def test_further_rows_without_a_feature_are_refused() -> None:
    with pytest.raises(DataError, match=r"f: there is no column 'x'\. Columns: 'c', 'class'"):
        conform(_frame().drop(columns="x"), from_frame(_frame(), "class"), name="f")


# Back to the source's types.


def test_rows_go_out_in_the_types_they_came_in() -> None:
    table = from_frame(TYPED, "class")
    out = table.to_output(table.frame)
    assert out.dtypes.astype(str).to_dict() == {
        "pid": "Int64", "count": "Int64", "price": "float64", "flag": "boolean",
        "when": "datetime64[us]", "grade": "str", "unit": "str", "class": "Int64",
    }  # fmt: skip
    for name in ("count", "price", "flag", "when", "class"):
        assert out[name].astype(object).where(out[name].notna(), None).tolist() == (
            TYPED[name].astype(object).where(TYPED[name].notna(), None).tolist()
        )
    assert out["grade"].dropna().tolist() == TYPED["grade"].dropna().tolist()


@pytest.mark.parametrize(
    ("real", "fresh"),
    [
        (list(range(100, 112)), [112, 113]),
        ([2**60 + i for i in range(12)], [2**60 + 12, 2**60 + 13]),
        ([f"{i:04d}" for i in range(12)], ["0012", "0013"]),
        ([f"P{i}" for i in range(12)], ["synthetic-1", "synthetic-2"]),
    ],
)
def test_synthetic_rows_get_ids_that_no_real_row_has(real: list[Any], fresh: list[Any]) -> None:
    table = from_frame(_frame(12, 4, **{"row id": real}), "class")
    assert table.schema["row id"].kind == "id"
    assert table.to_output(table.frame.iloc[:2])["row id"].tolist() == fresh


@pytest.mark.parametrize("n_different", [58, 60])
def test_postal_codes_are_not_counted_on(n_different: int) -> None:
    codes = [f"{100 + 131 * (i % n_different):05d}" for i in range(60)]
    table = from_frame(_frame(60, 20, zip=codes), "class")
    assert table.schema["zip"].kind == "id"
    out = table.to_output(table.frame.iloc[:2])["zip"]
    assert out.tolist() == ["synthetic-1", "synthetic-2"]


def test_a_table_names_the_columns_it_does_not_learn_and_why() -> None:
    assert from_frame(TYPED, "class").left_out == {
        "pid": "id: every value differs",
        "unit": "constant: every cell is 'kg'",
    }
    assert from_frame(_frame(), "class").left_out == {}


def test_what_is_left_out_survives_a_split() -> None:
    frame = _frame(k=[7] * 40, note=[f"n{i}" for i in range(40)])
    table = from_frame(frame, "class", metadata={"note": {"kind": "id"}})
    train, test = split(table, 0.25, 0)
    assert train.left_out == test.left_out == {
        "k": "constant: every cell is '7'", "note": "id: the metadata says so",
    }  # fmt: skip


def test_categories_go_out_as_the_source_spells_them() -> None:
    frame = _frame(c=[" Bern", "Genf "] * 20, **{"class": [" yes"] * 8 + ["no"] * 32})
    table = from_frame(frame, "class")
    assert table.cells([0, 1]) == [["yes", table.cells([0])[0][1], "Bern"],
                                   ["yes", table.cells([1])[0][1], "Genf"]]  # fmt: skip
    out = table.to_output(table.frame)
    assert out["c"].tolist() == frame["c"].tolist()
    assert out["class"].tolist() == frame["class"].tolist()
    again = conform(out, table, name="again")
    pd.testing.assert_frame_equal(again.frame, table.frame)


def test_the_spelling_of_a_category_that_only_test_rows_have_is_forgotten() -> None:
    frame = _frame(c=[" a"] * 39 + [" b"])
    table = from_frame(frame, "class")
    assert dict(table.schema["c"].spellings) == {"a": " a", "b": " b"}
    assert dict(table.take(range(39)).narrowed().schema["c"].spellings) == {"a": " a"}


def test_ids_go_on_after_rows_that_have_theirs() -> None:
    table = from_frame(_frame(12, 4, **{"row id": range(12)}), "class")
    assert table.to_output(table.frame.iloc[:2], n_before=10)["row id"].tolist() == [22, 23]


def test_further_columns_of_output_rows_stay_at_the_end() -> None:
    table = from_frame(_frame(), "class")
    out = table.to_output(table.frame.iloc[:3].assign(chain="a"))
    assert out.columns.tolist() == ["x", "c", "class", "chain"]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(True, "boolean"), (5, "Int64"), (1.5, "float64"), ("kg", "str"),
     (pd.Timestamp("2020-01-01 10:00").as_unit("us"), "datetime64[us]"), (None, "str")],
)  # fmt: skip
def test_a_constant_is_filled_in_with_its_type(value: Any, dtype: str) -> None:
    table = from_frame(_frame(k=[value] * 40), "class")
    out = table.to_output(table.frame.drop(columns="k").iloc[:2])["k"]
    assert table.schema["k"].kind == "constant"
    assert str(out.dtype) == dtype
    assert [None if pd.isna(cell) else cell for cell in out] == [value, value]


def test_a_zoned_date_goes_out_in_utc() -> None:
    when = pd.date_range("2020-01-01", periods=40, freq="7h", tz="Europe/Paris", unit="us")
    table = from_frame(_frame(when=when), "class")
    out = table.to_output(table.frame)["when"]
    assert (out == when).all()
    assert str(out.dtype) == "datetime64[us, UTC]"


def test_a_value_that_is_not_of_the_source_type_goes_out_as_text() -> None:
    table = from_frame(_frame(flag=[True, False] * 20, grade=[0, 1] * 20), "class")
    further = pd.DataFrame({"x": [1], "c": ["p"], "flag": ["maybe"], "grade": ["A"],
                            "class": ["rare"]})  # fmt: skip
    rows = conform(further, table, name="f")
    assert table.to_output(rows.frame)[["flag", "grade"]].iloc[0].tolist() == ["maybe", "A"]


def test_a_whole_number_too_large_for_an_integer_stays_a_float() -> None:
    table = from_frame(_frame(x=["1e300", "2"] * 20), "class")
    assert table.to_output(table.frame)["x"].tolist()[:2] == [1e300, 2.0]
