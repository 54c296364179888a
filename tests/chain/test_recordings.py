"""Replies of a strong chat model, recorded on the authors' Sick split."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from rddg_ray.codes import Codes
from rddg_ray.parsing import RowParser
from rddg_ray.table import Table, from_frame


@pytest.fixture(scope="module")
def sick(shared: Path) -> Table:
    folder = shared / "data" / "sick" / "authors_split"
    if not folder.is_dir() or not (shared / "recordings").is_dir():
        pytest.skip("no authors' Sick split or no recordings in the folder of real tables")
    parts = [pd.read_csv(folder / f"{part}_train.csv", dtype=str, keep_default_na=False)
             for part in ("X", "y")]  # fmt: skip
    frame = parts[0].merge(parts[1], on="index").drop(columns="index")
    return from_frame(frame, "Class", name="sick", missing_values=("",))


@pytest.fixture(scope="module")
def parser(shared: Path, sick: Table) -> RowParser:
    codes = json.loads((shared / "recordings" / "sick_codes.json").read_text(encoding="utf-8"))
    return RowParser(sick.prompt_columns, Codes(codes), sick.classes)


@pytest.fixture(scope="module")
def replies(shared: Path) -> list[str]:
    lines = (shared / "recordings" / "sick.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return [record["reply"] for record in records if record["phase"] == "generation"]


def test_every_row_of_every_recorded_reply_is_accepted(
    parser: RowParser, replies: list[str]
) -> None:
    assert len(replies) == 8
    for reply in replies:
        parsed = parser.parse(reply)
        assert parsed.rejects == ()
        assert [row.values[0] for row in parsed.rows] == ["negative"] * 15 + ["sick"] * 15


def test_a_recorded_row_reads_as_the_patient_it_describes(
    parser: RowParser, sick: Table, replies: list[str]
) -> None:
    names = [column.name for column in sick.prompt_columns]
    row = dict(zip(names, parser.parse(replies[0]).rows[0].values, strict=True))
    assert {key: row[key] for key in ("Class", "age", "sex", "TSH", "T4U", "FTI")} == {
        "Class": "negative",
        "age": 52.0,
        "sex": "F",
        "TSH": 1.8,
        "T4U": 0.98,
        "FTI": 110.0,
    }
    assert row["referral_source"] == "other"


def test_a_recorded_reply_cut_in_its_last_cell_loses_only_that_row(
    parser: RowParser, replies: list[str]
) -> None:
    cut = replies[0].rstrip("\n")[:-1]  # "W0W" becomes "W0"
    parsed = parser.parse(cut, finish_reason="length")
    assert len(parsed.rows) == 29
    assert [reject.reason for reject in parsed.rejects] == ["truncated"]
