"""How the page says how its rows came about."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rddg_ray.evaluation.fits import DatasetRows
from rddg_ray.evaluation.report.calibrating import (
    by_summary,
    calibration_picture,
    calibration_table,
    rounds_with_rows,
)
from rddg_ray.evaluation.report.context import ReportContext
from rddg_ray.evaluation.report.making import MakingRecords, making_view
from rddg_ray.evaluation.report.page import write_report
from rddg_ray.table import Table

HOSTILE = "<script>alert('x')</script>"
NOTHING = pd.DataFrame()


def calibration(n_rounds: int = 4, **changes: object) -> pd.DataFrame:
    """Return rounds of 25 rows of one chain: the mean of `size` off by 0.4, all rows by 0.4/k."""
    rounds = np.arange(n_rounds)
    kinds = {"mean": "size", "share": "owned"}
    parts = [
        pd.DataFrame(
            {
                "dataset": "toy", "method": "rddg_calibrated", "chain": "rddg_calibrated/g0/0",
                "rddg_round": rounds + 2, "n_rows": 25, "n_rows_so_far": 25 * (rounds + 1),
                "class": "yes", "kind": kind, "columns": column,
                "values": "t" if kind == "share" else "", "target": 0.5,
                "bias": 0.4, "bias_low": 0.3, "bias_high": 0.5, "gain": 0.8, "gain_low": 0.5,
                "gain_high": 1.1, "whole": 0.4 / (rounds + 1), "is_said": kind == "mean",
            }
        )
        for kind, column in kinds.items()
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True).assign(**changes)


def making() -> MakingRecords:
    where = {"dataset": ["toy"], "method": ["rddg_calibrated"]}
    rules = pd.DataFrame(
        {
            "dataset": "toy", "method": "rddg_calibrated", "state": ["kept", "dropped", "not read"],
            "rule": ["size is at least 0", "size is at least 9", HOSTILE], "by": "model",
            "n_chains": [2, 1, 1], "figure": ["holds in all", "53 of 60", HOSTILE],
        }
    )  # fmt: skip
    return MakingRecords(
        copies=pd.DataFrame(where | {"n_shown": [5], "natural": [0.015], "natural_near": [0.25]}),
        judged=pd.DataFrame(where | {"class": ["yes"], "judged": [200], "implausible": [30]}),
        judges=pd.DataFrame(where | {"class": ["no"], "text": ["class 'no': not judged, few rows"],
                                     "is_on": [False]}),
        rules=rules,
        calibration=calibration(),
        n_recorded=20,
    )  # fmt: skip


REJECTS = pd.DataFrame(
    {"dataset": "toy", "method": "rddg_calibrated", "reason": ["copy", "near_copy", "rule"],
     "n": [7, 3, 90]}
)  # fmt: skip
USAGE = pd.DataFrame(
    {"dataset": ["toy"], "method": ["rddg_calibrated"], "accepted_rows": [400],
     "tokens_per_row": [81.4], "usd_per_1000_rows": [0.25]}
)  # fmt: skip


def test_copies_are_told_beside_what_is_natural_among_real_rows(train: Table) -> None:
    said = making_view("toy", making(), REJECTS, USAGE, train).refusals
    costs = (
        "rddg_calibrated: 400 rows were accepted and 100 refused; an accepted row cost 81 tokens "
        "(0.000250 US dollars), those of the refused ones included."
    )
    copies = (
        "rddg_calibrated: 7 rows were refused because they equal a real training row and 3 "
        "because they nearly do; of both, 5 copy a row that the prompt showed and 5 another one. "
        "Of the real training rows themselves 1.5% equal another one and 25.0% equal or nearly "
        "equal one."
    )
    assert said == [costs, copies]


def test_costs_without_prices_or_rows_are_not_made_up(train: Table) -> None:
    unpriced = USAGE.drop(columns="usd_per_1000_rows")
    [said] = making_view("toy", MakingRecords(), NOTHING, unpriced, train).refusals
    assert said.endswith("0 refused; an accepted row cost 81 tokens, those of the refused ones "
                         "included.")  # fmt: skip
    none = USAGE.assign(accepted_rows=0, tokens_per_row=None)
    assert making_view("toy", MakingRecords(), NOTHING, none, train).is_empty


def test_implausible_rows_and_rules_are_in_tables_kept_ones_apart(train: Table) -> None:
    view = making_view("toy", making(), REJECTS, USAGE, train)
    assert view.tables["judged"].rows == [["rddg_calibrated", "yes", "200", "30", "15.0%"]]
    assert view.judges == ["class 'no': not judged, few rows"]
    assert [row[0] for row in view.tables["rules"].rows] == ["size is at least 0"]
    assert [row[0] for row in view.tables["dropped"].rows] == ["size is at least 9", HOSTILE]


def test_many_rules_are_cut_and_the_page_says_so(train: Table) -> None:
    rules = pd.concat([making().rules.head(1)] * 100, ignore_index=True)
    table = making_view("toy", MakingRecords(rules=rules), NOTHING, NOTHING, train).tables["rules"]
    assert len(table.rows) == 60
    assert table.caption.endswith("the first 60 of 100")


def test_what_was_said_is_counted_over_the_rounds_of_all_chains(train: Table) -> None:
    other = calibration(2, chain="rddg_calibrated/g1/0", bias=0.2, is_said=False)
    table = calibration_table(pd.concat([calibration(), other]), train, 20)
    first, second = table.rows
    assert first[:4] == ["yes", "mean of size", "0.5", "4 of 6"]
    assert second[:4] == ["yes", "share of owned = t", "50.0%", "0 of 6"]
    # Means over the chains: 0.4 and 0.2; 0.4 at first in both; 0.4 / 4 and 0.4 / 2 at the end.
    assert [cell if isinstance(cell, str) else cell[0] for cell in first[4:8]] == [
        "+0.30", "0.80", "+0.40", "+0.15"]  # fmt: skip
    # 1.645 / sqrt(100) and 1.645 / sqrt(50).
    assert first[8] == "±0.20"
    assert "2 chains on record" in table.caption


def test_rounds_without_rows_of_a_class_count_for_nothing() -> None:
    late = calibration()
    late.loc[late["rddg_round"] > 3, "n_rows"] = 0
    found = by_summary(rounds_with_rows(late))
    assert set(found["n_rounds"]) == {2}
    assert set(found["whole"]) == {0.2}


def test_a_date_is_shown_as_one_and_an_unknown_figure_as_nothing(make_rows) -> None:
    from rddg_ray.table import from_frame

    days = pd.date_range("2024-01-01", periods=40).strftime("%Y-%m-%d")
    table = from_frame(make_rows(40, 0).assign(day=days), "bought", name="toy")
    row = calibration(2, kind="mean", columns="day", values="", target=1_704_067_200.0,
                      whole=np.nan)  # fmt: skip
    assert calibration_table(row, table, 0).rows[0][2] == "2024-01-01"
    assert calibration_table(row, table, 0).rows[0][6:8] == ["", ""]
    spread = calibration_table(row.assign(kind="std", target=864_000.0), table, 0)
    assert spread.rows[0][2] == "10 days"


def test_the_picture_shows_the_worst_of_each_class_that_has_two_rounds() -> None:
    picture = calibration_picture("toy", calibration())
    assert picture is not None
    assert picture.png.startswith(b"\x89PNG")
    # Colours are the page's own, in light and in dark.
    assert {"var(--m1)", "var(--m2)", "var(--real)"} <= set(
        re.findall(r"var\(--\w+\)", picture.svg)
    )
    assert "class yes, mean of size: bias +0.40, all rows +0.10" in picture.alt
    assert calibration_picture("toy", calibration(1)) is None
    assert calibration_picture("toy", NOTHING) is None


@pytest.fixture
def context(train: Table, test_rows: Table) -> ReportContext:
    datasets = {"toy": DatasetRows(train, test_rows, {})}
    return ReportContext("A run", NOTHING, datasets, rejects=REJECTS, usage=USAGE, making=making())


def test_the_page_holds_all_of_it_escaped_and_beside_it_tables_and_the_picture(
    tmp_path: Path, context: ReportContext
) -> None:
    text = write_report(tmp_path, context).read_text(encoding="utf-8")
    for heading in ("Is a row&#39;s class believable?", "Rules", "Calibration: what the endpoint"):
        assert f">{heading}" in text.replace("row's", "row&#39;s")
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text
    assert "Rules that were not used (2)" in text
    assert "1.5% equal another one" in text
    for name in ("rules", "judged", "calibration"):
        assert len(pd.read_csv(tmp_path / "report" / "tables" / f"{name}.csv"))
    assert (tmp_path / "report" / "figures" / "toy-calibration.png").stat().st_size > 0


def test_a_run_that_put_nothing_on_record_has_a_page_without_those_parts(
    tmp_path: Path, context: ReportContext
) -> None:
    bare = replace(context, making=MakingRecords(), rejects=NOTHING, usage=NOTHING)
    text = write_report(tmp_path, bare).read_text(encoding="utf-8")
    for heading in ("believable", "<h3>Rules", "<h3>Calibration"):
        assert heading not in text


def test_a_picture_that_does_not_fit_is_linked_to(tmp_path: Path, context: ReportContext) -> None:
    page = write_report(tmp_path, context, max_picture_bytes=10)
    assert '<a href="figures/toy-calibration.png">Picture</a>' in page.read_text(encoding="utf-8")
