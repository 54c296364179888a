from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from rddg_ray.evaluation.utility import (
    METRICS,
    brier,
    calibration_error,
    confusion,
    count_metrics,
    score,
)


def one_hot(y: np.ndarray, n_classes: int) -> np.ndarray:
    return np.eye(n_classes)[y]


def test_two_classes_give_the_figures_counted_by_hand() -> None:
    # Positive class 1: 3 of 4 found, 2 false alarms among 6.
    y_true = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    y_pred = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    found = score(y_true, y_pred, one_hot(y_pred, 2), positive=1)
    assert found["sensitivity"] == pytest.approx(3 / 4)
    assert found["specificity"] == pytest.approx(4 / 6)
    assert found["precision"] == pytest.approx(3 / 5)
    assert found["f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert found["macro_f1"] == pytest.approx((6 / 9 + 8 / 11) / 2)
    assert found["g_mean"] == pytest.approx(np.sqrt(3 / 4 * 4 / 6))
    assert found["accuracy"] == pytest.approx(7 / 10)
    assert set(found) == set(METRICS)


def test_three_classes_give_the_figures_counted_by_hand() -> None:
    y_true = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    y_pred = np.array([0, 0, 1, 2, 1, 1, 0, 2, 0, 0])
    found = score(y_true, y_pred, one_hot(y_pred, 3), positive=None)
    # True negatives against the rest: class 0 3 of 6, class 1 6 of 7, class 2 6 of 7.
    assert found["specificity"] == pytest.approx(0.4 * 3 / 6 + 0.3 * 6 / 7 + 0.3 * 6 / 7)
    assert found["sensitivity"] == pytest.approx(5 / 10)
    assert found["balanced_accuracy"] == pytest.approx((2 / 4 + 2 / 3 + 1 / 3) / 3)
    assert found["f1"] == pytest.approx(0.4 * 4 / 9 + 0.3 * 4 / 6 + 0.3 * 2 / 5)


@pytest.mark.parametrize("random_state", range(5))
def test_two_class_figures_agree_with_scikit_learn(random_state: int) -> None:
    rng = np.random.default_rng(random_state)
    y_true, proba = rng.integers(0, 2, 60), rng.dirichlet([1, 1], 60)
    y_pred = proba.argmax(axis=1)
    found = score(y_true, y_pred, proba, positive=1)
    expected = {
        "f1": metrics.f1_score(y_true, y_pred),
        "balanced_accuracy": metrics.balanced_accuracy_score(y_true, y_pred),
        "sensitivity": metrics.recall_score(y_true, y_pred),
        "specificity": metrics.recall_score(y_true, y_pred, pos_label=0),
        "precision": metrics.precision_score(y_true, y_pred),
        "macro_f1": metrics.f1_score(y_true, y_pred, average="macro"),
        "pr_auc": metrics.average_precision_score(y_true, proba[:, 1]),
        "roc_auc": metrics.roc_auc_score(y_true, proba[:, 1]),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("random_state", range(5))
def test_many_class_figures_agree_with_scikit_learn(random_state: int) -> None:
    rng = np.random.default_rng(random_state)
    y_true, proba = rng.integers(0, 4, 80), rng.dirichlet([1] * 4, 80)
    y_pred = proba.argmax(axis=1)
    found = score(y_true, y_pred, proba, positive=None)
    expected = {
        "f1": metrics.f1_score(y_true, y_pred, average="weighted"),
        "balanced_accuracy": metrics.balanced_accuracy_score(y_true, y_pred),
        "sensitivity": metrics.recall_score(y_true, y_pred, average="weighted"),
        "precision": metrics.precision_score(y_true, y_pred, average="weighted"),
        "macro_f1": metrics.f1_score(y_true, y_pred, average="macro"),
        "roc_auc": metrics.roc_auc_score(y_true, proba, multi_class="ovr", average="macro"),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_a_class_never_predicted_has_f1_and_precision_of_zero() -> None:
    y_true, y_pred = np.array([0, 0, 1]), np.zeros(3, dtype=np.int64)
    found = score(y_true, y_pred, one_hot(y_pred, 2), positive=1)
    assert (found["f1"], found["precision"], found["sensitivity"]) == (0.0, 0.0, 0.0)
    assert found["specificity"] == 1.0


def test_test_rows_without_the_positive_class_say_nothing_of_it() -> None:
    y = np.zeros(4, dtype=np.int64)
    found = score(y, y, one_hot(y, 2), positive=1)
    assert np.isnan([found[name] for name in ("f1", "sensitivity", "pr_auc", "roc_auc")]).all()
    assert found["specificity"] == 1.0


def test_weights_count_rows_as_often_as_they_say() -> None:
    y_true, y_pred = np.array([0, 1, 1]), np.array([0, 0, 1])
    weights = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 3.0]])
    counts = confusion(y_true, y_pred, 2, weights)
    assert counts[0].tolist() == confusion(y_true, y_pred, 2).tolist()
    assert counts[1].tolist() == [[2.0, 0.0], [0.0, 3.0]]
    assert count_metrics(counts, 1)["sensitivity"].tolist() == [0.5, 1.0]


def test_the_brier_score_is_that_counted_by_hand() -> None:
    y, share = np.array([1, 0, 0, 1]), np.array([0.9, 0.2, 0.6, 0.5])
    by_hand = (0.1**2 + 0.2**2 + 0.6**2 + 0.5**2) / 4
    assert brier(y, np.column_stack([1 - share, share])) == pytest.approx(by_hand)
    # Three classes: half of (0.3^2 + 0.2^2 + 0.1^2).
    assert brier(np.array([0]), np.array([[0.7, 0.2, 0.1]])) == pytest.approx(0.07)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_brier_score_agrees_with_scikit_learn(n_classes: int) -> None:
    rng = np.random.default_rng(n_classes)
    y, proba = rng.integers(0, n_classes, 70), rng.dirichlet([1] * n_classes, 70)
    expected = metrics.brier_score_loss(y, proba, labels=list(range(n_classes)), scale_by_half=True)
    assert brier(y, proba) == pytest.approx(expected)


def test_the_calibration_error_is_that_counted_by_hand() -> None:
    # Bin 0: mean 0.05, 1 of 2 rows; bin 3: mean 0.3, none of 1; bin 9: mean 0.95, 2 of 2.
    share = np.array([0.02, 0.08, 0.3, 0.9, 1.0])
    y = np.array([0, 1, 0, 1, 1])
    expected = 2 / 5 * (0.5 - 0.05) + 1 / 5 * 0.3 + 2 / 5 * (1 - 0.95)
    proba = np.column_stack([1 - share, share])
    assert calibration_error(y, proba, positive=1) == pytest.approx(expected)


def test_the_calibration_error_of_more_classes_is_the_mean_over_them() -> None:
    rng = np.random.default_rng(0)
    y, proba = rng.integers(0, 3, 50), rng.dirichlet([1, 1, 1], 50)
    each = [
        calibration_error((y == code).astype(int), np.column_stack([1 - p, p]), positive=1)
        for code, p in enumerate(proba.T)
    ]
    assert calibration_error(y, proba, positive=None) == pytest.approx(np.mean(each))


def test_probabilities_that_come_true_have_no_calibration_error_but_chance() -> None:
    rng = np.random.default_rng(0)
    share = rng.random(20_000)
    y = (rng.random(20_000) < share).astype(int)
    proba = np.column_stack([1 - share, share])
    # The mean of ten absolute gaps, each about sqrt(1/6 / 2,000) sqrt(2 / pi) = 0.0073.
    assert calibration_error(y, proba, positive=1) < 0.012
    assert calibration_error(y, proba[:, ::-1], positive=1) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("random_state", range(3))
def test_the_rare_class_alone_agrees_with_scikit_learn(random_state: int) -> None:
    rng = np.random.default_rng(random_state)
    y_true, proba = rng.integers(0, 4, 80), rng.dirichlet([1] * 4, 80)
    y_pred = proba.argmax(axis=1)
    found = score(y_true, y_pred, proba, positive=None, rare=2)
    for name, scorer in (("rare_precision", metrics.precision_score),
                         ("rare_recall", metrics.recall_score)):  # fmt: skip
        assert found[name] == pytest.approx(scorer(y_true, y_pred, labels=[2], average="macro"))
    assert np.isnan(score(y_true, y_pred, proba, positive=None)["rare_recall"])


def test_without_rows_there_is_no_brier_score_and_no_calibration_error() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert np.isnan(brier(nothing, np.zeros((0, 2))))
    assert np.isnan(calibration_error(nothing, np.zeros((0, 2)), positive=1))
