from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from rddg_ray.errors import DataError
from rddg_ray.evaluation.cells import Cell
from rddg_ray.evaluation.fits import DatasetRows, GridData, fit_cell
from rddg_ray.evaluation.thresholds import N_FOLDS, folds, multipliers, out_of_fold
from rddg_ray.table import Table, conform, from_frame


def noisy(n_rows: int, random_state: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(random_state)
    y = (rng.random(n_rows) < 0.2).astype(np.int64)
    share = 1 / (1 + np.exp(-(rng.normal(1.5 * y, 1.0) - 2.5)))
    return y, np.column_stack([1 - share, share])


@pytest.mark.parametrize("metric", ["f1", "balanced_accuracy"])
@pytest.mark.parametrize("random_state", range(3))
def test_two_classes_get_the_best_of_all_thresholds(metric: str, random_state: int) -> None:
    y, proba = noisy(80, random_state)
    scorer = {"f1": f1_score, "balanced_accuracy": balanced_accuracy_score}[metric]
    best = max(scorer(y, (proba[:, 1] >= cut).astype(int)) for cut in proba[:, 1])
    weights = multipliers(y, proba, metric, positive=1)
    assert scorer(y, (proba * weights).argmax(axis=1)) == pytest.approx(best)


def test_a_decision_that_cannot_be_bettered_stays() -> None:
    y = np.array([0, 0, 0, 1, 1])
    weights = multipliers(y, np.eye(2)[y] * 0.6 + 0.2, "f1", positive=1)
    assert weights.tolist() == [1.0, 1.0]


def test_more_classes_are_never_called_worse_than_before_on_the_same_rows() -> None:
    rng = np.random.default_rng(0)
    y = rng.choice(3, 200, p=[0.8, 0.15, 0.05])
    proba = rng.dirichlet([1, 1, 1], 200) * [4, 1, 0.5] + 0.5 * np.eye(3)[y]
    proba /= proba.sum(axis=1, keepdims=True)
    weights = multipliers(y, proba, "balanced_accuracy", positive=None)
    before, after = (balanced_accuracy_score(y, p.argmax(axis=1)) for p in (proba, proba * weights))
    assert after > before
    assert weights[0] == 1.0


def test_a_probability_of_zero_or_one_gives_finite_multipliers() -> None:
    y = np.array([0, 0, 1, 1, 0])
    proba = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert np.isfinite(multipliers(y, proba, "f1", positive=1)).all()


def test_every_row_is_judged_once_by_a_fit_without_it_that_knows_every_class() -> None:
    y = np.repeat([0, 1, 2], [40, 7, 2])
    seen: list[int] = []

    def probabilities(fitted: np.ndarray, judged: np.ndarray) -> np.ndarray:
        assert not set(fitted) & set(judged)
        assert set(y[fitted]) == {0, 1, 2}
        seen.extend(judged)
        return np.full((len(judged), 3), 1 / 3)

    out_of_fold(y, ("a", "b", "c"), 0, probabilities)
    assert sorted(seen) == list(range(len(y)))
    sizes = [len(part) for part in folds(y, N_FOLDS, 0)]
    assert max(sizes) - min(sizes) <= 1


def test_a_class_of_one_row_cannot_be_validated() -> None:
    with pytest.raises(DataError, match="tuned_threshold: class 'b' has one training row"):
        out_of_fold(np.array([0, 0, 0, 1]), ("a", "b"), 0, lambda *_: np.empty((0, 2)))


def test_the_test_rows_classes_do_not_move_the_decision(
    make_rows: Callable[..., pd.DataFrame],
) -> None:
    train = from_frame(make_rows(60, 0), "bought", name="t")
    frame = make_rows(40, 1)
    flipped = frame.assign(bought=frame["bought"].map({"yes": "no", "no": "yes"}))
    calls = []
    for rows in (frame, flipped):
        data = GridData({"t": DatasetRows(train, conform(rows, train, name="test"))})
        row = fit_cell(Cell("t", "tuned_threshold", 0, "lightgbm", 0), data)
        assert row["error"] is None
        calls.append(row["predicted"])
    assert calls[0] == calls[1]


def test_class_weights_call_more_rows_rare(train: Table, test_rows: Table) -> None:
    # Without the column that tells the classes apart, the rest leaves doubt.
    rng = np.random.default_rng(0)
    noisy_train, noisy_test = (
        t.with_frame(t.frame.assign(size=rng.normal(size=len(t)), colour="green"))
        for t in (train, test_rows)
    )
    data = GridData({"toy": DatasetRows(noisy_train, noisy_test)})
    n_rare = {
        method: [
            sum(fit_cell(Cell("toy", method, 0, c, 0), data)["predicted"])
            for c in ("xgboost", "lightgbm", "gradient_boosting")
        ]
        for method in ("original", "class_weights")
    }
    assert all(
        more > few for few, more in zip(n_rare["original"], n_rare["class_weights"], strict=True)
    )
