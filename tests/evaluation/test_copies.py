from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from rddg_ray.evaluation.copies import copy_shares, copy_table
from rddg_ray.reading import read_frame
from rddg_ray.table import conform, from_frame


def test_copies_are_counted_as_written_and_to_six_digits() -> None:
    real = pd.DataFrame({"x": ["1.50", "2.013504330", "3.25", "4.75"], "y": ["a", "b", "a", "b"]})
    train = from_frame(real, "y", name="t")
    made = pd.DataFrame({"x": ["1.5", "2.0135", "1.5", "9"], "y": ["a", "b", "b", "a"]})
    shares = copy_shares(train, conform(made, train, name="made"))
    assert shares == {"copy_share": 0.25, "near_copy_share": 0.5}


def test_test_rows_are_the_yardstick_for_copies() -> None:
    train = from_frame(pd.DataFrame({"x": range(1, 9), "y": ["a", "b"] * 4}), "y", name="t")
    rows = copy_table(train, train.take([0, 1]), {("rddg", 0): train.take([0])})
    assert [row["method"] for row in rows] == ["test rows", "rddg"]
    assert rows[0]["copy_share"] == 1.0


@pytest.mark.parametrize(("file", "share"), [("rddg", 0.588), ("epic", 0.257)])
def test_published_sick_rows_are_largely_copies(
    shared: Path, join, file: str, share: float
) -> None:
    folder = shared / "data" / "sick"
    train = from_frame(join(folder / "authors_split", "train"), "Class", name="sick")
    rows = conform(
        read_frame(folder / "published_synthetic" / f"{file}.csv"), train, name=file
    ).take(range(1000))
    assert copy_shares(train, rows)["near_copy_share"] == pytest.approx(share, abs=5e-4)
