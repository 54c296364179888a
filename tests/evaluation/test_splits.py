from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from rddg_ray.errors import DataError
from rddg_ray.evaluation.splits import summarise_splits
from rddg_ray.evaluation.summary import holm
from rddg_ray.evaluation.utility import METRICS


def fits_of(gains: list[float], *, n_test: int = 20, spread: float = 0.0) -> pd.DataFrame:
    """Return two fits a split of `original` (0.5, 0.7) and of `rddg`, which gains on both."""
    rows = []
    for split, gain in enumerate(gains):
        for state, easy in enumerate((0.5, 0.7)):
            base = easy + spread * split
            row = {"dataset": f"t{split}", "generator_state": 0, "classifier": "xgboost",
                   "classifier_state": state, "error": None, "n_train": 80,
                   "n_test": n_test}  # fmt: skip
            rows.append(row | {"method": "original"} | dict.fromkeys(METRICS, base))
            rows.append(row | {"method": "rddg"} | dict.fromkeys(METRICS, base + gain))
    return pd.DataFrame(rows)


def pick(found: pd.DataFrame, metric: str = "f1") -> pd.Series:
    return found[(found["method"] == "rddg") & (found["metric"] == metric)].iloc[0]


def test_the_interval_is_the_corrected_one_counted_by_hand() -> None:
    gains = [0.05, 0.01, 0.03]
    row = pick(summarise_splits(fits_of(gains), dict.fromkeys(["t0", "t1", "t2"], "t")))
    # Standard deviation 0.02; variance of the mean 0.0004 (1/3 + 20/80); t(0.975, 2) = 4.30265.
    reach = 4.30265 * 0.02 * np.sqrt(1 / 3 + 1 / 4)
    assert row["difference"] == pytest.approx(0.03)
    assert [row["low"], row["high"]] == pytest.approx([0.03 - reach, 0.03 + reach], abs=1e-6)
    assert (row["n_splits"], row["dataset"]) == (3, "t")


def test_without_test_rows_it_is_students_test_of_the_splits() -> None:
    gains = [0.05, 0.01, 0.03, -0.02]
    found = summarise_splits(fits_of(gains, n_test=0), {f"t{i}": "t" for i in range(4)})
    assert pick(found)["p_value"] == pytest.approx(ttest_1samp(gains, 0.0).pvalue)


def test_how_hard_a_split_is_leaves_the_difference_as_it_is() -> None:
    names = {f"t{i}": "t" for i in range(3)}
    even, uneven = (
        pick(summarise_splits(fits_of([0.05, 0.01, 0.03], spread=s), names)) for s in (0.0, 0.1)
    )
    assert uneven["std"] > even["std"]
    assert uneven[["low", "high"]].tolist() == pytest.approx(even[["low", "high"]].tolist())


def test_p_values_are_corrected_over_the_primary_metrics_of_a_table() -> None:
    found = summarise_splits(fits_of([0.05, 0.01, 0.03]), dict.fromkeys(["t0", "t1", "t2"], "t"))
    tested = found[found["p_holm"].notna()]
    assert tested["metric"].tolist() == ["f1", "balanced_accuracy"]
    assert tested["p_holm"].to_numpy() == pytest.approx(holm(tested["p_value"].to_numpy()))


def test_one_split_has_a_difference_but_no_interval() -> None:
    row = pick(summarise_splits(fits_of([0.05]), {"t0": "t"}))
    assert row["difference"] == pytest.approx(0.05)
    assert np.isnan([row["low"], row["p_value"], row["std"]]).all()


def test_a_data_set_that_is_no_split_of_a_table_is_named() -> None:
    with pytest.raises(DataError, match="data set 't1' is not named as a split"):
        summarise_splits(fits_of([0.1, 0.2]), {"t0": "t"})
    with pytest.raises(DataError, match="no fits"):
        summarise_splits(fits_of([0.1])[:0], {})
