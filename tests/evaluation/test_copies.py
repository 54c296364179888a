from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from rddg_ray.evaluation.copies import copy_shares, copy_table, shown_copy_share
from rddg_ray.reading import read_frame
from rddg_ray.table import conform, from_frame


def test_copies_are_counted_as_written_and_within_half_a_spacing() -> None:
    # Neighbouring values lie 0.513..., 1.236... and 1.5 apart: half the median spacing is 0.618.
    real = pd.DataFrame({"x": ["1.50", "2.013504330", "3.25", "4.75"], "y": ["a", "b", "a", "b"]})
    train = from_frame(real, "y", name="t")
    made = pd.DataFrame({"x": ["1.5", "2.0135", "4.2", "9"], "y": ["a", "b", "b", "a"]})
    shares = copy_shares(train, conform(made, train, name="made"))
    assert shares == {"copy_share": 0.25, "near_copy_share": 0.75}


def test_a_near_number_with_another_word_or_class_is_no_copy() -> None:
    real = pd.DataFrame({"x": [0.5, 1.5] * 10, "w": ["u", "v"] * 10, "y": ["a"] * 10 + ["b"] * 10})
    train = from_frame(real, "y", name="t")
    made = pd.DataFrame({"x": [0.6, 0.6, 0.6], "w": ["u", "v", "v"], "y": ["a", "a", "b"]})
    shares = copy_shares(train, conform(made, train, name="made"))
    assert shares == {"copy_share": 0.0, "near_copy_share": 1 / 3}


def test_a_table_of_words_alone_has_near_copies_that_are_exact_ones() -> None:
    real = pd.DataFrame({"u": list("abab"), "v": list("ppqq"), "y": list("stst")})
    train = from_frame(real, "y", name="t")
    made = train.with_frame(pd.DataFrame({"u": list("ab"), "v": list("pp"), "y": list("ss")}))
    assert copy_shares(train, made) == {"copy_share": 0.5, "near_copy_share": 0.5}


def test_a_copy_of_a_shown_row_is_told_from_a_copy_of_another() -> None:
    real = pd.DataFrame({"x": [0.5, 1.5, 2.5, 3.5], "y": ["a", "b", "a", "b"]})
    train = from_frame(real, "y", name="t")
    made = pd.DataFrame({"x": ["0.5", "2.7", "3.5", "9"], "y": ["a", "a", "b", "a"]})
    rows = conform(made, train, name="made")
    # Far fewer rows are shown than there are, but what is near is what all of them say.
    assert shown_copy_share(train, train.take([0, 2]), rows) == 0.5
    assert shown_copy_share(train, train.take([3]), rows) == 0.25
    assert shown_copy_share(train, train.take([1]), rows) == 0.0
    assert shown_copy_share(train, train.take([]), rows.take([])) == 0.0


def test_no_rows_have_no_copies() -> None:
    train = from_frame(pd.DataFrame({"x": range(1, 9), "y": ["a", "b"] * 4}), "y", name="t")
    assert copy_shares(train, train.take([])) == {"copy_share": 0.0, "near_copy_share": 0.0}
    assert copy_shares(train.take([]), train) == {"copy_share": 0.0, "near_copy_share": 0.0}


def test_test_rows_are_the_yardstick_for_copies() -> None:
    train = from_frame(pd.DataFrame({"x": range(1, 9), "y": ["a", "b"] * 4}), "y", name="t")
    rows = copy_table(train, train.take([0, 1]), {("rddg", 0): train.take([0])})
    assert [row["method"] for row in rows] == ["test rows", "rddg"]
    assert rows[0]["copy_share"] == 1.0


@pytest.mark.parametrize(("file", "share"), [("rddg", 0.589), ("epic", 0.257)])
def test_published_sick_rows_are_largely_copies(
    shared: Path, join, file: str, share: float
) -> None:
    folder = shared / "data" / "sick"
    train = from_frame(join(folder / "authors_split", "train"), "Class", name="sick")
    rows = conform(
        read_frame(folder / "published_synthetic" / f"{file}.csv"), train, name=file
    ).take(range(1000))
    assert copy_shares(train, rows)["near_copy_share"] == pytest.approx(share, abs=5e-4)
