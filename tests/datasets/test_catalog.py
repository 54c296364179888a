"""The catalogued files read as the paper's authors read them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rddg_ray.datasets import load, recipes
from rddg_ray.datasets.catalog import CATALOG, describe


def published_split(folder: Path, part: str, **options: object) -> pd.DataFrame:
    """Read X and y of the authors' split side by side."""
    X, y = (
        pd.read_csv(folder / f"{name}_{part}.csv", keep_default_na=False, **options)
        for name in ("X", "y")
    )
    return pd.concat([X, y], axis=1)


@pytest.mark.parametrize(("part", "which"), [("train", 0), ("test", 1)])
def test_sick_equals_the_authors_split_row_for_row(shared: Path, part: str, which: int) -> None:
    dataset = load("sick", path=shared / "data" / "sick" / "sick.csv")
    published = published_split(shared / "data/sick/authors_split", part, index_col="index")
    rows = dataset.frame.iloc[dataset.split[which]]
    # Positions are the authors' own index; values are equal to the last bit.
    pd.testing.assert_frame_equal(
        rows, published, check_exact=True, check_names=False, check_index_type=False
    )


@pytest.mark.parametrize(("part", "which"), [("train", 0), ("test", 1)])
def test_thyroid_equals_the_authors_split_row_for_row(shared: Path, part: str, which: int) -> None:
    dataset = load("thyroid", path=shared / "data" / "thyroid")
    published = published_split(shared / "data/thyroid/authors_split", part)
    rows = dataset.frame.iloc[dataset.split[which]].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, published, check_exact=True)


@pytest.mark.parametrize("name", ["sick", "thyroid"])
def test_an_authors_split_uses_every_row_once(shared: Path, name: str) -> None:
    dataset = load(name, path=shared / "data" / name)
    train, test = dataset.split
    assert sorted([*train, *test]) == list(range(len(dataset.frame)))


def test_sick_has_the_rows_and_categories_of_the_paper(shared: Path) -> None:
    dataset = load("sick", path=shared / "data" / "sick")
    assert dataset.frame["Class"].value_counts().to_dict() == {"negative": 3480, "sick": 231}
    assert dataset.frame.shape == (3711, 28)
    assert set(dataset.frame["sex"]) == {"F", "M", "?"}
    assert dataset.rare_class == "sick"
    assert not dataset.frame.isna().any(axis=None)
    assert set(dataset.descriptions) == set(dataset.frame.columns)


def test_raw_sick_keeps_names_and_rows_and_reads_question_marks_as_missing(shared: Path) -> None:
    file = shared / "data" / "sick" / "sick.csv"
    raw = load("sick", path=file, recipe="raw").frame
    text = pd.read_csv(file, dtype="str", keep_default_na=False)
    assert list(raw.columns) == list(text.columns)
    assert len(raw) == 3772
    assert (raw.isna().to_numpy() == (text == "?").to_numpy()).all()
    assert pd.api.types.is_float_dtype(raw["TSH"])


def test_the_raw_split_of_sick_holds_the_same_patients(shared: Path) -> None:
    path = shared / "data" / "sick"
    authors, raw = load("sick", path=path), load("sick", path=path, recipe="raw")
    for ours, theirs in zip(authors.split, raw.split, strict=True):
        measured = authors.frame["TSH_measured"].iloc[ours].to_numpy() == "t"
        left = authors.frame["TSH"].iloc[ours].to_numpy()[measured]
        right = raw.frame["TSH"].iloc[theirs].to_numpy()[measured]
        assert np.array_equal(left, right)
        assert (
            authors.frame["Class"].iloc[ours].to_numpy()
            == raw.frame["Class"].iloc[theirs].to_numpy()
        ).all()


def test_credit_g_keeps_none_as_a_category(shared: Path) -> None:
    dataset = load("credit_g", path=shared / "data" / "credit_g" / "credit-g.csv")
    assert dataset.frame["class"].value_counts().to_dict() == {"good": 700, "bad": 300}
    assert (dataset.frame["other_parties"] == "none").sum() > 0
    assert (dataset.frame["checking_status"] == "<0").sum() > 0
    assert not dataset.frame.isna().any(axis=None)
    assert pd.api.types.is_integer_dtype(dataset.frame["credit_amount"])


def test_travel_drops_customers_without_a_flyer_record() -> None:
    data = (
        b"Age,FrequentFlyer,AnnualIncomeClass,ServicesOpted,AccountSyncedToSocialMedia,"
        b"BookedHotelOrNot,Target\n"
        b"34,No,Middle Income,6,No,Yes,0\n"
        b"34,No Record,Low Income,5,Yes,No,1\n"
        b"37,Yes,High Income,3,Yes,No,1\n"
    )
    frame, split = recipes.read_travel([data], "authors")
    assert frame["FrequentFlyer"].tolist() == ["No", "Yes"]
    assert frame["Target"].tolist() == ["0", "1"]
    assert frame["Age"].tolist() == [34, 37]
    assert split is None
    assert len(recipes.read_travel([data], "raw")[0]) == 3


def test_heloc_keeps_its_special_codes_as_numbers() -> None:
    data = b"RiskPerformance,ExternalRiskEstimate,MSinceMostRecentDelq\nBad,55,-7\nGood,-9,-9\n"
    for recipe in ("authors", "raw"):
        frame, _ = recipes.read_heloc([data], recipe)
        assert frame["ExternalRiskEstimate"].tolist() == [55, -9]
        assert frame["RiskPerformance"].tolist() == ["Bad", "Good"]


def test_segmentation_puts_both_files_together_with_the_class_last() -> None:
    header = b";;; 1\n;;; 2\n;;; 3\n" + ",".join(recipes.SEGMENTATION_COLUMNS).encode() + b"\n\n"
    values = ",".join(str(i + 0.5) for i in range(19)).encode()
    files = [header + b"BRICKFACE," + values + b"\n", header + b"SKY," + values + b"\n"]
    frame, _ = recipes.read_segmentation(files, "authors")
    assert frame["class"].tolist() == ["BRICKFACE", "SKY"]
    assert frame["region_centroid_col"].tolist() == [0.5, 0.5]
    assert frame["hue_mean"].tolist() == [18.5, 18.5]
    assert frame.shape == (2, 20)
    assert "HUE-MEAN" in recipes.read_segmentation(files, "raw")[0].columns


def test_every_entry_is_complete() -> None:
    for name, entry in CATALOG.items():
        assert entry.info.name == name
        assert entry.info.homepage.startswith("https://")
        assert entry.info.licence
        assert sum(entry.info.classes.values()) == entry.info.rows
        assert entry.info.target in entry.descriptions
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in entry.info.files.values())


def test_the_attribute_counts_are_those_of_table_9() -> None:
    counts = {name: len(entry.descriptions) - 1 for name, entry in CATALOG.items()}
    assert counts == {
        "sick": 27,
        "thyroid": 16,
        "travel": 6,
        "heloc": 23,
        "segmentation": 19,
        "credit_g": 20,
    }


def test_a_description_is_found_whatever_way_the_name_is_spelled() -> None:
    texts = {"TSH_measured": "a", "hue_mean": "b"}
    assert describe(texts, ["TSH measured", "HUE-MEAN", "other"]) == {
        "TSH measured": "a",
        "HUE-MEAN": "b",
    }
