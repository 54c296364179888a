"""Top K per class, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rddg_ray.coreset import select, select_random
from rddg_ray.errors import ConfigError, DataError

DIFFICULTY = [0.1, 0.9, 0.5, 0.9, 0.2, 0.7]
CLASSES = [0, 0, 0, 0, 1, 1]


def test_the_hardest_rows_of_each_class_come_hard_to_easy() -> None:
    assert select(DIFFICULTY, CLASSES, per_class=2).tolist() == [1, 3, 5, 4]


def test_equal_scores_keep_the_order_of_the_rows() -> None:
    assert select([0.5] * 5, [0] * 5, per_class=3).tolist() == [0, 1, 2]


def test_a_small_class_gives_every_row_once_before_any_row_again() -> None:
    positions = select(DIFFICULTY, CLASSES, per_class=4)
    assert positions[:4].tolist() == [1, 3, 2, 0]
    assert positions[4:6].tolist() == [5, 4]
    assert set(positions[6:]) <= {4, 5}
    assert len(positions) == 8


def test_rows_drawn_again_are_spread_evenly_over_the_small_class() -> None:
    positions = select([0.2, 0.7, 0.1], [0, 0, 1], per_class=2000)
    again = positions[2:2000]
    # Binomial(1998, 1/2): standard deviation 22.3; four of them.
    assert abs(int((again == 0).sum()) - 999) < 90
    assert (positions[2000:] == 2).all()


def test_the_same_random_state_gives_the_same_rows() -> None:
    first, second, other = (select(DIFFICULTY, CLASSES, 50, state) for state in (3, 3, 4))
    assert first.tolist() == second.tolist()
    assert first.tolist() != other.tolist()


def test_the_default_keeps_a_hundred_rows_a_class() -> None:
    classes = np.repeat([0, 1, 2], 150)
    positions = select(np.arange(450.0), classes)
    assert np.bincount(classes[positions]).tolist() == [100, 100, 100]
    assert positions[:100].tolist() == list(range(149, 49, -1))


def test_a_random_coreset_has_the_same_sizes_and_no_row_twice_where_rows_suffice() -> None:
    classes = np.repeat([0, 1], [300, 20])
    positions = select_random(classes, per_class=100, random_state=0)
    assert np.bincount(classes[positions]).tolist() == [100, 100]
    assert len(set(positions[:100])) == 100
    assert set(positions[100:]) == set(range(300, 320))


def test_a_random_coreset_takes_every_row_equally_often() -> None:
    times = np.zeros(10)
    for state in range(1000):
        times[select_random([0] * 10, per_class=3, random_state=state)] += 1
    # Each row is in with share 0.3: 300 times, standard deviation 14.5; four and a half.
    assert abs(times - 300).max() < 65


@pytest.mark.parametrize(
    ("difficulty", "classes", "words"),
    [
        ([0.1, np.nan], [0, 1], "nan at row 1"),
        ([0.1], [0, 1], "(1,)"),
        ([], [], "at least one row"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused_with_the_row(
    difficulty: list[float], classes: list[int], words: str
) -> None:
    with pytest.raises(DataError) as caught:
        select(difficulty, classes)
    assert words in str(caught.value)


def test_settings_out_of_range_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="per_class is 0"):
        select(DIFFICULTY, CLASSES, per_class=0)
    with pytest.raises(ConfigError, match="random_state is -1"):
        select_random(CLASSES, random_state=-1)
