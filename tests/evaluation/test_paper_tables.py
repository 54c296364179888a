from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from rddg_ray.errors import ConfigError
from rddg_ray.evaluation.paper_tables import (
    COLUMNS,
    COST_COLUMNS,
    TITLES,
    own_figures,
    own_source,
    paper_figures,
    table_of,
    to_markdown,
)
from rddg_ray.evaluation.utility import score


def fit(method: str, hits: int, state: int = 0) -> dict[str, Any]:
    truth = np.repeat([1, 0], [10, 30])
    predicted = np.concatenate([np.repeat([1, 0], [hits, 10 - hits]), np.zeros(30, dtype=int)])
    return {
        "dataset": "t", "method": method, "generator_state": 0, "classifier": "xgboost",
        "classifier_state": state, "n_synthetic": 0, "n_classes": 2, "positive": 1, "rare": 1,
        "error": None, **score(truth, predicted, np.eye(2)[predicted], 1),
        "truth": truth.astype(np.uint8).tobytes(),
        "predicted": predicted.astype(np.uint8).tobytes(),
    }  # fmt: skip


def own(table: int, **place: Any) -> pd.DataFrame:
    fits = pd.DataFrame([fit("original", 5), fit("rddg", 8), fit("rddg", 6, 1)])
    costs = pd.DataFrame([{"method": "rddg", **dict.fromkeys(COST_COLUMNS, 7.0)}])
    blank = {"imbalance_ratio": np.nan, "reference_rows": np.nan}
    figures = own_figures(fits, costs, "embedded-sampler")
    return figures.assign(table=table, **{**blank, **place})


def test_the_papers_figures_are_those_of_its_text() -> None:
    paper = paper_figures()
    assert tuple(paper.columns) == COLUMNS
    assert paper.groupby("table").size().to_dict() == {1: 32, 2: 32, 5: 8, 6: 6, 7: 8, 8: 8}

    def line(table: int, **place: Any) -> pd.Series:
        found = paper[paper["table"] == table]
        for key, value in place.items():
            found = found[found[key] == value]
        assert len(found) == 1
        return found.iloc[0]

    travel = line(1, dataset="travel", method="rddg")
    assert (travel["f1"], travel["f1_std"], travel["specificity"]) == (68.63, 2.12, 82.67)
    social = line(2, dataset="social_network", method="tabddpm")
    assert (social["balanced_accuracy"], social["balanced_accuracy_std"]) == (76.26, 16.95)
    cost = line(5, dataset="health_metrics", method="rddg")
    assert (cost["tokens"], cost["usd"], cost["total_s"]) == (493_000, 0.34, 78.7)
    bare = line(6, dataset="thyroid", method="rddg_no_feedback")
    assert (bare["f1"], bare["specificity"]) == (94.74, 98.28)
    rare = line(7, imbalance_ratio=20, method="epic")
    assert (rare["f1"], rare["sensitivity"], rare["total_s"]) == (90.53, 91.57, 284.7)
    small = line(8, dataset="thyroid", reference_rows=5)
    assert (small["sensitivity"], small["tokens"], small["constraints_s"]) == (94.72, 358_000, 2.5)


@pytest.mark.parametrize(
    ("table", "datasets", "gains"),
    [
        # Section 4.2.1 names these gains of RDDG over EPIC, in points on average. On the generated
        # sets it names 2.04 and 4.23 the other way round; on the real ones it says 0.86 for
        # sensitivity, which its table does not give.
        (1, ("travel", "sick", "thyroid"),
         {"f1": 2.27, "balanced_accuracy": 1.09, "specificity": 1.91}),
        (2, ("consumer_behavior", "health_metrics", "real_estate", "social_network"),
         {"f1": 4.23, "balanced_accuracy": 2.04, "sensitivity": 5.44, "specificity": 2.13}),
    ],
)  # fmt: skip
def test_gains_over_epic_are_those_that_the_papers_text_names(
    table: int, datasets: tuple[str, ...], gains: dict[str, float]
) -> None:
    paper = paper_figures().query("table == @table and dataset in @datasets")
    by_method = paper.set_index(["method", "dataset"])
    for metric, said in gains.items():
        found = (by_method.loc["rddg", metric] - by_method.loc["epic", metric]).mean()
        assert found == pytest.approx(said, abs=0.0051)


@pytest.mark.parametrize("number", TITLES)
def test_a_table_without_our_figures_is_the_papers(number: int) -> None:
    table = table_of(number, pd.DataFrame(columns=list(COLUMNS)))
    assert (table["source"].str.startswith("paper")).all()
    assert len(table) == len(paper_figures().query("table == @number"))
    assert "Rows of `embedded-sampler`" not in to_markdown(number, table)


def test_our_line_stands_below_the_papers_and_says_what_made_it() -> None:
    table = table_of(8, own(8, dataset="thyroid", reference_rows=20.0))
    place = table.query("dataset == 'thyroid' and method == 'rddg' and reference_rows == 20")
    assert list(place["source"]) == [
        "paper, GPT-3.5-turbo-0125",
        "rddg_ray, embedded-sampler (a statistical sampler, not a language model)",
    ]
    mine = place.iloc[1]
    # 8 and 6 of 10 rare rows were found: 70 +- sqrt(2) * 10 percent; original found 5.
    assert mine["sensitivity"] == pytest.approx(70.0)
    assert mine["sensitivity_std"] == pytest.approx(100 * np.sqrt(0.02))
    assert mine["n_fits"] == 2
    assert mine["tokens"] == 7.0
    # F1 is 2 * hits / (10 + hits); only the first fit has one of original to stand beside.
    assert mine["f1_difference"] == pytest.approx(100 * (16 / 18 - 10 / 15))
    assert mine["f1_low"] <= mine["f1_difference"] <= mine["f1_high"]


def test_markdown_has_a_line_a_row_and_names_what_is_missing() -> None:
    table = table_of(5, own(5, dataset="a|b"))
    text = to_markdown(5, table, ["heloc is skipped: no file"])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(table)
    bars = [line.replace("\\|", "").count("|") for line in lines]
    assert len(set(bars)) == 1
    assert "a\\|b" in text
    assert "- heloc is skipped: no file" in text
    assert "not from a language model" in text
    assert "nan" not in text.lower()


def test_rows_of_a_baseline_are_not_said_to_be_a_models() -> None:
    assert own_source("smotenc", "embedded-sampler") == "rddg_ray, no model"
    assert own_source("rddg", "some-model") == "rddg_ray, some-model"


def test_a_table_that_the_paper_has_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="tables: 3"):
        table_of(3, pd.DataFrame(columns=list(COLUMNS)))
