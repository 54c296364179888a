from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from rddg_ray.errors import DataError
from rddg_ray.evaluation.summary import PRIMARY_METRICS, bootstrap_p, holm, summarise
from rddg_ray.evaluation.utility import METRICS, score


def fit(method: str, state: int, truth: np.ndarray, predicted: np.ndarray, **more: Any) -> dict:
    return {
        "dataset": "t", "method": method, "generator_state": 0, "classifier": "xgboost",
        "classifier_state": state, "n_synthetic": 0 if method == "original" else 10,
        "n_classes": 2, "positive": 1, "error": None,
        **score(truth, predicted, np.eye(2)[predicted], 1),
        "truth": truth.astype(np.uint8).tobytes(),
        "predicted": predicted.astype(np.uint8).tobytes(), **more,
    }  # fmt: skip


def rows_with(hits: int, n_rare: int, n_common: int) -> tuple[np.ndarray, np.ndarray]:
    truth = np.repeat([1, 0], [n_rare, n_common])
    predicted = np.concatenate([np.repeat([1, 0], [hits, n_rare - hits]), np.zeros(n_common)])
    return truth, predicted.astype(np.int64)


def pick(summary: pd.DataFrame, method: str, metric: str) -> pd.Series:
    return summary[(summary["method"] == method) & (summary["metric"] == metric)].iloc[0]


def test_means_spreads_and_differences_are_those_counted_by_hand() -> None:
    rows = [fit("original", s, *rows_with(hits, 10, 20)) for s, hits in enumerate((5, 7))]
    rows += [fit("rddg", s, *rows_with(hits, 10, 20)) for s, hits in enumerate((8, 8))]
    found = summarise(pd.DataFrame(rows), n_draws=50)
    base, mine = (pick(found, m, "sensitivity") for m in ("original", "rddg"))
    assert base["mean"] == pytest.approx(0.6)
    assert base["std"] == pytest.approx(np.sqrt(2) / 10)
    assert np.isnan(base["difference"])
    assert mine["difference"] == pytest.approx(((0.8 - 0.5) + (0.8 - 0.7)) / 2)
    assert set(found["metric"]) == set(METRICS)


def test_the_interval_has_the_width_that_the_binomial_law_gives() -> None:
    # Sensitivity gains on 20 of 100 rare rows: a share of 0.2 with standard error
    # sqrt(.2 * .8 / 100) = 0.04; a 95% interval is 2 * 1.96 * 0.04 wide, and 2,000 draws leave
    # about 4% of that to chance: 15% is more than three standard errors of it.
    rows = [fit("original", 0, *rows_with(60, 100, 100)), fit("rddg", 0, *rows_with(80, 100, 100))]
    mine = pick(summarise(pd.DataFrame(rows)), "rddg", "sensitivity")
    assert mine["low"] < mine["difference"] < mine["high"]
    assert mine["high"] - mine["low"] == pytest.approx(2 * 1.96 * 0.04, rel=0.15)


def test_equal_predictions_leave_no_doubt_about_the_difference() -> None:
    rows = [fit(m, 0, *rows_with(6, 10, 30)) for m in ("original", "rddg")]
    mine = pick(summarise(pd.DataFrame(rows)), "rddg", "f1")
    assert (mine["difference"], mine["low"], mine["high"]) == (0.0, 0.0, 0.0)


def test_another_reference_is_compared_with_when_asked() -> None:
    rows = [fit(m, 0, *rows_with(hits, 10, 20))
            for m, hits in (("original", 5), ("smotenc", 9), ("rddg", 8))]  # fmt: skip
    found = summarise(pd.DataFrame(rows), reference="smotenc", n_draws=20)
    assert pick(found, "rddg", "sensitivity")["difference"] == pytest.approx(-0.1)
    assert np.isnan(pick(found, "smotenc", "sensitivity")["difference"])


def test_the_same_random_state_gives_the_same_interval() -> None:
    rows = [fit("original", 0, *rows_with(5, 10, 20)), fit("rddg", 0, *rows_with(8, 10, 20))]
    first, again = (summarise(pd.DataFrame(rows), random_state=4) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)


def test_a_failed_method_is_counted_and_shown_as_failed() -> None:
    blank = dict.fromkeys(METRICS, np.nan) | {"error": "no", "truth": b"", "predicted": b""}
    truth, predicted = rows_with(5, 10, 20)
    rows = [fit("original", 0, truth, predicted), fit("smotenc", 0, truth, predicted) | blank]
    found = summarise(pd.DataFrame(rows), n_draws=20)
    assert pick(found, "smotenc", "f1")["n_errors"] == 1
    assert np.isnan(pick(found, "smotenc", "f1")["mean"])


@pytest.mark.parametrize("others", [[], ["u"]])
def test_a_table_of_which_every_fit_failed_has_rows_without_figures(others: list[str]) -> None:
    blank = dict.fromkeys(METRICS, np.nan) | {"error": "no", "truth": b"", "predicted": b"",
                                              "positive": -1}  # fmt: skip
    truth, predicted = rows_with(5, 10, 20)
    rows = [fit(m, s, truth, predicted) | blank for m in ("original", "rddg") for s in (0, 1)]
    rows += [fit("original", 0, truth, predicted) | {"dataset": name} for name in others]
    found = summarise(pd.DataFrame(rows), n_draws=20)
    failed = found[found["dataset"] == "t"]
    assert failed["n_errors"].tolist() == [2] * 2 * len(METRICS)
    assert failed[["mean", "std", "difference", "low", "high"]].isna().all(axis=None)
    assert found.loc[found["dataset"] != "t", "n_errors"].eq(0).all()


def test_fits_with_other_test_rows_cannot_be_compared() -> None:
    rows = [fit("original", 0, *rows_with(5, 10, 20)), fit("rddg", 0, *rows_with(5, 11, 20))]
    with pytest.raises(DataError, match="different test rows"):
        summarise(pd.DataFrame(rows))
    with pytest.raises(DataError, match="no fits"):
        summarise(pd.DataFrame(rows)[:0])


def test_the_p_value_is_the_one_that_the_binomial_law_gives() -> None:
    # Two of 100 rare rows are gained. A draw shows no gain where it holds neither of the two:
    # with probability 0.98^100 = 0.1326. Twice that is the p-value; over 2,000 draws its
    # standard error is 2 sqrt(0.1326 * 0.8674 / 2000) = 0.0152.
    rows = [fit("original", 0, *rows_with(60, 100, 100)), fit("rddg", 0, *rows_with(62, 100, 100))]
    mine = pick(summarise(pd.DataFrame(rows)), "rddg", "sensitivity")
    assert mine["p_value"] == pytest.approx(2 * 0.98**100, abs=4 * 0.0152)


def test_a_p_value_is_never_zero_and_that_of_no_difference_is_one() -> None:
    assert bootstrap_p(np.zeros(10)) == 1.0
    assert bootstrap_p(np.ones(999)) == pytest.approx(2 / 1000)
    assert bootstrap_p(-np.ones(999)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.array([-1.0] * 30 + [1.0] * 69)) == pytest.approx(2 * 31 / 100)


def test_holms_correction_is_that_counted_by_hand() -> None:
    # Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2 (raised to the one before), 0.5 * 1.
    found = holm(np.array([0.03, 0.5, np.nan, 0.01, 0.02]))
    assert found == pytest.approx([0.06, 0.5, np.nan, 0.04, 0.06], nan_ok=True)
    assert holm(np.array([0.4, 0.9])).tolist() == [0.8, 0.9]
    assert holm(np.array([0.7, 0.9])).tolist() == [1.0, 1.0]
    assert len(holm(np.array([]))) == 0


def test_p_values_are_corrected_over_the_methods_and_primary_metrics_of_a_table() -> None:
    rows = [fit(m, 0, *rows_with(hits, 100, 100)) | {"dataset": dataset}
            for dataset in ("t", "u")
            for m, hits in (("original", 60), ("smotenc", 62), ("rddg", 75))]  # fmt: skip
    found = summarise(pd.DataFrame(rows))
    is_tested = found["metric"].isin(PRIMARY_METRICS) & (found["method"] != "original")
    assert found["p_holm"].notna().eq(is_tested).all()
    mine = found[is_tested & (found["dataset"] == "u")]
    assert mine["p_holm"].to_numpy() == pytest.approx(holm(mine["p_value"].to_numpy()))
    assert (mine["p_holm"] >= mine["p_value"]).all()
    assert len(mine) == 4


def test_fits_of_an_older_version_are_summarised_without_the_newer_figures() -> None:
    rows = [fit(m, 0, *rows_with(6, 10, 30)) for m in ("original", "rddg")]
    old = pd.DataFrame(rows).drop(columns=["brier", "calibration_error", "rare_recall"])
    found = summarise(old, n_draws=20)
    assert np.isnan(pick(found, "rddg", "brier")["mean"])
    assert pick(found, "rddg", "f1")["difference"] == 0.0
