from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.evaluation.report.verdicts import verdicts
from rddg_ray.evaluation.summary import summarise
from rddg_ray.evaluation.utility import score


def fit(method: str, hits: int, **more: Any) -> dict[str, Any]:
    truth = np.repeat([1, 0], [100, 100])
    predicted = np.concatenate([np.repeat([1, 0], [hits, 100 - hits]), np.zeros(100, dtype=int)])
    return {
        "dataset": "t", "method": method, "generator_state": 0, "classifier": "xgboost",
        "classifier_state": 0, "n_synthetic": 0, "n_classes": 2, "positive": 1, "rare": 1,
        "error": None, **score(truth, predicted, np.eye(2)[predicted], 1),
        "truth": truth.astype(np.uint8).tobytes(),
        "predicted": predicted.astype(np.uint8).tobytes(),
        "n_new": 0, "n_test_copies": 0, "natural_share": 0.0, **more,
    }  # fmt: skip


def said(*rows: dict[str, Any]) -> list[str]:
    fits = pd.DataFrame(list(rows))
    # The page hands over one table's part, without its name.
    return verdicts(fits.drop(columns="dataset"), summarise(fits).drop(columns="dataset"))


def test_a_verdict_is_a_sentence_with_interval_and_corrected_p_value() -> None:
    [sentence] = said(fit("original", 50), fit("rddg", 80))
    # F1 is 2 * hits / (100 + hits): 160 / 180 - 100 / 150 = 22.22 points.
    assert sentence.startswith("Against the original rows, rddg changes F1 by +22.22 [")
    assert "Holm-corrected p 0.00" in sentence
    assert "F1 is higher and balanced accuracy is higher beyond the chance" in sentence


def test_equal_methods_cannot_be_told_apart() -> None:
    [sentence] = said(fit("original", 50), fit("rddg", 50))
    assert "these test rows cannot tell a difference in F1 or balanced accuracy" in sentence
    assert "beyond the chance" not in sentence


def test_what_is_clear_alone_is_not_called_clear_among_many_comparisons() -> None:
    # Two more methods with a gain of five rows: 5 of 100 with a standard error of about 2.2, so
    # that the interval leaves 0 out; ten methods make of p = 0.02 no less than 0.1.
    rows = [fit("original", 50), *(fit(f"other{i}", 50) for i in range(9)), fit("rddg", 55)]
    [sentence] = said(*rows)
    fits = pd.DataFrame(rows)
    mine = summarise(fits).query("method == 'rddg' and metric == 'f1'").iloc[0]
    assert mine["low"] > 0
    assert mine["p_holm"] > 0.05
    assert "taken alone, but not once all comparisons of the table are counted" in sentence
    assert "beyond the chance" not in sentence


def test_a_method_that_has_seen_the_test_rows_is_named() -> None:
    leak = fit("rddg", 80, n_new=50, n_test_copies=40, natural_share=0.01)
    sentence = said(fit("original", 50), leak)[-1]
    assert sentence.startswith("This table: 40 of 50 new rows of rddg")
    assert "it has seen the test rows" in sentence
