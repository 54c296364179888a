"""Planted rows, rows of pure noise, and what the judge may not see."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rddg_ray.measuring import Gauge
from rddg_ray.plausibility import Plausibility
from rddg_ray.table import conform, from_frame


def measured(frame, further=None):
    """Return the gauge of a table and its rows, or further rows by its schema."""
    table = from_frame(frame, "state")
    gauge = Gauge(table.features, table.classes)
    if further is not None:
        table = conform(further, table, name="further rows")
    return gauge, gauge.of_frame(table.frame, list(table.labels))


def two_classes(n_ill, n_well, distance, random_state=0):
    """Rows of two classes whose two numbers lie `distance` standard deviations apart."""
    rng = np.random.default_rng(random_state)
    ill = np.repeat([True, False], [n_ill, n_well])
    return pd.DataFrame(
        {
            "dose": (rng.normal(size=len(ill)) + distance * ill).round(3),
            "level": (rng.normal(size=len(ill)) + distance * ill).round(3),
            "site": rng.choice(["Oslo", "Rome", None], len(ill)),
            "state": np.where(ill, "ill", "well"),
        }
    )


def test_flipped_rows_of_a_clear_class_are_refused_and_true_ones_kept():
    frame = two_classes(60, 600, 4.0)
    gauge, known = measured(frame)
    _, new = measured(frame, two_classes(300, 300, 4.0, random_state=1))
    judge = Plausibility(gauge, known)
    thresholds = np.array([judge.judges[label].threshold for label in gauge.classes])
    flipped = replace(new, labels=1 - new.labels)
    # Four standard deviations in each of two numbers: all but about 0.5% of rows are clear.
    assert np.mean(judge.of_measured(new) >= thresholds[new.labels]) >= 0.95
    assert np.mean(judge.of_measured(flipped) < thresholds[flipped.labels]) >= 0.9


def test_few_real_rows_of_classes_that_overlap_would_be_refused():
    frame = two_classes(100, 600, 1.0)
    gauge, known = measured(frame)
    _, new = measured(frame, two_classes(1000, 1000, 1.0, random_state=1))
    judge = Plausibility(gauge, known)
    thresholds = np.array([judge.judges[label].threshold for label in gauge.classes])
    kept = judge.of_measured(new) >= thresholds[new.labels]
    # 2.5% of 100 rows is known to within a binomial standard deviation of 1.6%.
    assert min(kept[new.labels == 0].mean(), kept[new.labels == 1].mean()) >= 0.95 - 0.016


@pytest.mark.parametrize("random_state", range(5))
def test_a_rare_class_of_pure_noise_is_not_judged_and_the_judge_says_so(random_state):
    gauge, known = measured(two_classes(20, 400, 0.0, random_state))
    judge = Plausibility(gauge, known)
    for of_class in judge.judges.values():
        assert not of_class.is_on
        assert "cannot be told" in str(of_class)
    rows = [("ill", 9.0, 9.0, "Oslo")]
    assert judge.refused(rows) == [None]


def test_a_class_of_a_handful_of_rows_is_not_judged():
    gauge, known = measured(two_classes(5, 200, 4.0))
    judge = Plausibility(gauge, known)
    assert "too few" in str(judge.judges["ill"])
    assert not judge.judges["well"].is_on


def test_repeated_rows_do_not_make_noise_look_known():
    frame = two_classes(20, 200, 0.0)
    gauge, known = measured(pd.concat([frame] * 10, ignore_index=True))
    assert not any(of_class.is_on for of_class in Plausibility(gauge, known).judges.values())


def test_a_refused_row_comes_with_its_probability():
    gauge, known = measured(two_classes(60, 600, 4.0))
    [flipped, true] = Plausibility(gauge, known).refused(
        [("ill", 0.0, 0.0, "Oslo"), ("ill", 4.0, 4.0, None)]
    )
    assert 0 <= flipped < 0.2
    assert true is None


def test_the_same_rows_give_the_same_judge():
    gauge, known = measured(two_classes(60, 300, 2.0))
    first, second = (Plausibility(gauge, known).of_measured(known) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_large_classes_are_drawn_from():
    gauge, known = measured(two_classes(300, 7000, 3.0))
    assert Plausibility(gauge, known).judges["well"].n_rows == 5000


def test_nothing_but_training_rows_can_be_given():
    parameters = list(inspect.signature(Plausibility).parameters)
    assert parameters == ["gauge", "real", "threshold", "random_state"]
