"""Exponential decay of class sizes, against its closed form."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from rddg_ray.datasets.imbalance import PAPER_RATIOS, class_order, decayed_counts, induce_imbalance
from rddg_ray.errors import ConfigError, DataError


def balanced(n_classes: int, n_each: int) -> pd.DataFrame:
    labels = [f"c{i}" for i in range(n_classes)] * n_each
    return pd.DataFrame({"x": range(len(labels)), "y": labels})


def test_two_classes_keep_all_and_one_in_ratio() -> None:
    assert decayed_counts(500, 2, 10) == [500, 50]
    assert decayed_counts(357, 2, 20) == [357, 18]  # 17.85


def test_three_classes_fall_by_the_square_root_of_the_ratio() -> None:
    assert decayed_counts(400, 3, 4) == [400, 200, 100]


def test_seven_classes_of_segmentation_at_ratio_20() -> None:
    # 330 x 20^(-i/6), by hand: 330, 200.29, 121.57, 73.79, 44.79, 27.18, 16.5 (rounded up)
    assert decayed_counts(330, 7, 20) == [330, 200, 122, 74, 45, 27, 17]


@pytest.mark.parametrize("ratio", PAPER_RATIOS)
@pytest.mark.parametrize("n_classes", [2, 3, 7, 10])
def test_the_kept_rows_follow_the_closed_form(ratio: int, n_classes: int) -> None:
    frame = balanced(n_classes, 330)
    counts = frame["y"].iloc[induce_imbalance(frame, "y", ratio)].value_counts()
    for i in range(n_classes):
        assert abs(counts[f"c{i}"] - 330 * ratio ** (-i / (n_classes - 1))) <= 0.5


def test_positions_are_ascending_and_distinct() -> None:
    kept = induce_imbalance(balanced(4, 50), "y", 5)
    assert (np.diff(kept) > 0).all()


def test_labels_alone_give_the_positions_of_the_table() -> None:
    frame = balanced(3, 40)
    from_table = induce_imbalance(frame, "y", 5, 1)
    for labels in (frame["y"], frame["y"].to_numpy(), list(frame["y"])):
        assert np.array_equal(induce_imbalance(labels, None, 5, 1), from_table)


def test_the_index_of_the_table_does_not_matter() -> None:
    frame = balanced(3, 40)
    moved = frame.set_index(np.arange(len(frame))[::-1] + 1000)
    assert np.array_equal(induce_imbalance(frame, "y", 5), induce_imbalance(moved, "y", 5))


def test_a_larger_ratio_keeps_a_subset() -> None:
    frame = balanced(5, 200)
    kept = [set(induce_imbalance(frame, "y", ratio).tolist()) for ratio in PAPER_RATIOS]
    assert all(larger < smaller for smaller, larger in pairwise(kept))


def test_equal_random_states_choose_equal_rows_and_others_do_not() -> None:
    frame = balanced(2, 300)
    first, again, other = (induce_imbalance(frame, "y", 5, state) for state in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_row_of_a_class_is_equally_likely_to_stay() -> None:
    # 400 draws of 10 out of 20: each row stays Binomial(400, 1/2) times, sd 10; 4.5 sd over 20
    # rows fail by chance once in 7,000.
    labels = ["a"] * 20 + ["b"] * 20
    stays = np.zeros(40)
    for state in range(400):
        stays[induce_imbalance(labels, None, 2, state)] += 1
    assert (stays[:20] == 400).all()
    assert np.abs(stays[20:] - 200).max() <= 45


def test_classes_are_ordered_by_falling_count_then_by_name() -> None:
    labels = pd.Series(["b"] * 3 + ["a"] * 3 + ["z"] * 9)
    assert class_order(labels) == ["z", "a", "b"]
    assert class_order(labels, "z") == ["a", "b", "z"]


def test_a_chosen_class_becomes_the_rare_one() -> None:
    frame = balanced(3, 100)
    counts = frame["y"].iloc[induce_imbalance(frame, "y", 4, rare_class="c0")].value_counts()
    assert counts.to_dict() == {"c1": 100, "c2": 50, "c0": 25}


def test_integer_classes_may_be_named_by_their_text() -> None:
    labels = [0] * 50 + [1] * 50
    kept = induce_imbalance(labels, None, 5, rare_class="0")
    assert (kept < 50).sum() == 10


def test_a_middle_class_below_its_share_keeps_all_rows() -> None:
    labels = ["a"] * 100 + ["b"] * 60 + ["c"] * 55  # shares at ratio 2: 100, 70.7, 50
    kept = induce_imbalance(labels, None, 2)
    assert pd.Series(labels).iloc[kept].value_counts().to_dict() == {"a": 100, "b": 60, "c": 50}


def test_ratio_1_of_a_balanced_table_keeps_every_row() -> None:
    assert len(induce_imbalance(balanced(3, 10), "y", 1)) == 30


@pytest.mark.parametrize("ratio", [0.5, 0, -2, float("nan"), float("inf"), "10", True, None])
def test_a_ratio_that_is_no_number_from_1_is_refused(ratio: object) -> None:
    with pytest.raises(ConfigError, match=r"imbalance ratio .* at least 1"):
        induce_imbalance(balanced(2, 10), "y", ratio)  # type: ignore[arg-type]  # wrong on purpose


def test_a_class_left_with_one_row_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"ratio 20 leaves class 'c1' with 1 of 20 rows"):
        induce_imbalance(balanced(2, 20), "y", 20)


def test_a_class_already_rarer_than_asked_names_the_ratio_it_has() -> None:
    labels = ["no"] * 300 + ["yes"] * 20
    with pytest.raises(DataError, match=r"'yes' has 20 rows.*at least 15\.00"):
        induce_imbalance(labels, None, 10)


def test_a_third_class_rarer_than_the_chosen_one_is_refused() -> None:
    labels = ["a"] * 100 + ["b"] * 5 + ["c"] * 90
    with pytest.raises(DataError, match=r"'b' has 5 rows, fewer than the 50"):
        induce_imbalance(labels, None, 2, rare_class="c")


def test_targets_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(DataError, match="no target column 'z'"):
        induce_imbalance(balanced(2, 9), "z", 2)
    with pytest.raises(DataError, match="'q' is not a class"):
        induce_imbalance(balanced(2, 9), "y", 2, rare_class="q")
    with pytest.raises(DataError, match="one class"):
        induce_imbalance(["a"] * 9, None, 2)
    with pytest.raises(DataError, match="missing value, first at row 1"):
        induce_imbalance(["a", None, "b", "b"], None, 2)
