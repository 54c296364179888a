from __future__ import annotations

import itertools

from rddg_ray.evaluation.cells import Cell, fit_cost, group, longest_first, remaining


def grid() -> list[Cell]:
    return [
        Cell(dataset, method, 0, classifier, state, fit_cost(classifier, 3000, 27, 2))
        for dataset, method, classifier, state in itertools.product(
            ["a", "b"], ["original", "rddg"], ["lightgbm", "catboost", "xgboost"], range(5)
        )
    ]


def test_every_cell_is_in_exactly_one_group() -> None:
    keys = [cell.key for members in group(grid(), 5.0) for cell in members]
    assert sorted(keys) == sorted(cell.key for cell in grid())


def test_a_group_has_one_set_of_training_rows() -> None:
    assert all(len({cell.source for cell in members}) == 1 for members in group(grid(), 5.0))


def test_groups_take_the_seconds_asked_for_where_they_can() -> None:
    groups = group(grid(), 5.0)
    costs = [sum(cell.cost_s for cell in members) for members in groups]
    assert costs == sorted(costs, reverse=True)
    # Only the last group of each of the four sources may be short.
    assert sum(cost < 5.0 for cost in costs) <= 4


def test_no_seconds_mean_one_cell_a_group() -> None:
    assert {len(members) for members in group(grid(), 0.0)} == {1}


def test_the_longest_fits_come_first() -> None:
    assert [cell.classifier for cell in longest_first(grid())[:20]] == ["catboost"] * 20


def test_finished_cells_are_not_fitted_again() -> None:
    done = [
        {"dataset": "a", "method": "rddg", "generator_state": 0, "classifier": "xgboost",
         "classifier_state": state}
        for state in range(5)
    ]  # fmt: skip
    left = remaining(grid(), done)
    assert len(left) == len(grid()) - 5
    assert not any(cell.source == ("a", "rddg", 0) and cell.classifier == "xgboost"
                   for cell in left)  # fmt: skip


def test_a_cell_is_the_same_whatever_it_costs() -> None:
    assert Cell("a", "rddg", 0, "xgboost", 1, 2.0) == Cell("a", "rddg", 0, "xgboost", 1, 3.0)
