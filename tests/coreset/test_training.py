"""Difficulty: whose error it is, what it does not depend on, and what it finds."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rddg_ray.coreset import difficulty, difficulty_by_state
from rddg_ray.coreset.ensemble import Ensemble
from rddg_ray.coreset.network import BLOCK_WIDTHS, Network
from rddg_ray.coreset.steps import Draws, EncodedTable, epoch_steps
from rddg_ray.coreset.training import RunningVariance, cpu_settings, row_errors
from rddg_ray.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def two_gaussians(n_rows: int, distance: float, n_features: int = 6) -> tuple[Floats, Ints]:
    """Two unit Gaussians `distance` apart along the first column; other columns are noise."""
    rng = np.random.default_rng(0)
    y = np.arange(n_rows) % 2
    X = rng.normal(size=(n_rows, n_features))
    X[:, 0] += (y - 0.5) * distance
    return X, y


def rank_area(scores: Floats, planted: NDArray[np.bool_]) -> float:
    """Share of (planted, other) pairs in which the planted row scores higher."""
    ranks = scores.argsort().argsort() + 1.0
    n, m = planted.sum(), (~planted).sum()
    return float((ranks[planted].sum() - n * (n + 1) / 2) / (n * m))


# Of m planted and n other rows, chance gives an area of 0.5 with standard deviation
# sqrt((n + m + 1) / (12 n m)): 0.067 for 20 of 400. The bound of 0.9 is six of them up.
def test_rows_with_flipped_labels_score_high() -> None:
    X, y = two_gaussians(400, distance=5.0)
    flipped = np.zeros(400, dtype=bool)
    flipped[np.random.default_rng(1).choice(400, 20, replace=False)] = True
    y[flipped] = 1 - y[flipped]
    scores = difficulty(X, y, random_states=(0, 1, 2))
    assert rank_area(scores, flipped) > 0.9
    # Twenty rows fill the top 5%, so their median lies above the 90th percentile.
    assert np.median(scores[flipped]) > np.quantile(scores, 0.9)


def test_rows_at_the_border_score_higher_than_rows_far_from_it() -> None:
    X, y = two_gaussians(400, distance=5.0)
    border = np.zeros(400, dtype=bool)
    border[np.random.default_rng(1).choice(400, 20, replace=False)] = True
    X[border, 0] = 0.0
    assert rank_area(difficulty(X, y, random_states=(0, 1, 2)), border) > 0.9


def test_permuting_the_rows_permutes_the_scores_and_nothing_else() -> None:
    X, y = two_gaussians(150, distance=2.0)
    X[10], y[10] = X[20], y[20]  # two equal rows
    X[30], y[30] = X[40], 1 - y[40]  # equal but for the class
    moved = np.random.default_rng(2).permutation(150)
    scores = difficulty(X, y, epochs=12)
    assert difficulty(X[moved], y[moved], epochs=12) == pytest.approx(scores[moved], rel=1e-4)
    assert scores[10] == pytest.approx(scores[20], rel=1e-4)


def test_the_error_recorded_for_a_row_is_that_of_a_forward_pass_of_the_row_alone() -> None:
    X, y = two_gaussians(500, distance=1.0)
    table = EncodedTable(X.astype(np.float32), y)
    ensemble = Ensemble(6, 2, [np.random.default_rng(i) for i in range(8)])
    network = Network(6, 2).eval()
    network.load_state_dict(ensemble.state(5))
    with torch.no_grad():
        errors = row_errors(ensemble, table.features, table.one_hot)
        for row in (0, 63, 64, 257, 499):
            probability = torch.softmax(network(torch.tensor(X[[row]]).float()), 1)[0]
            expected = (1 - probability[y[row]]) ** 2 + probability[1 - y[row]] ** 2
            assert float(errors[5, row]) == pytest.approx(float(expected), abs=1e-6)


def test_scores_equal_those_of_the_module_trained_on_the_same_batches() -> None:
    X, y = two_gaussians(70, distance=1.0)
    order = np.lexsort((*X.astype(np.float32).T, y))
    X, y = X[order], y[order]
    ours = difficulty(X, y, random_states=[3], epochs=6, batch_size=16)

    draws = Draws(3)
    network = Network(6, 2)
    network.load_state_dict(Ensemble(6, 2, [draws.weights]).state(0))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    table = EncodedTable(X.astype(np.float32), y)
    errors = []
    for _ in range(6):
        for x, one_hot, keep in epoch_steps(table, [draws], 16):
            optimiser.zero_grad()
            logits = network(x[0].T, torch.split(keep[0].T, BLOCK_WIDTHS, dim=1))
            torch.nn.functional.cross_entropy(logits, one_hot[0].T).backward()
            optimiser.step()
        with torch.no_grad():
            network.eval()
            error = torch.softmax(network(table.features.T), 1) - table.one_hot.T
            errors.append(error.square().sum(1).numpy())
    # Six epochs: the early third is the epochs 0 and 1, the late third 4 and 5.
    expected = np.var(errors[:2], axis=0, ddof=1) + np.var(errors[4:], axis=0, ddof=1)
    # Adam's step is lr g / sqrt(v): rounding of small gradients is not small in a weight.
    assert np.corrcoef(ours, expected)[0, 1] > 0.9999
    assert ours == pytest.approx(expected, rel=0.02, abs=1e-7)


def test_a_members_scores_do_not_depend_on_the_ensemble_around_it() -> None:
    X, y = two_gaussians(130, distance=1.5)
    settings = {"epochs": 15, "batch_size": 32}
    together = difficulty_by_state(X, y, random_states=range(5), ensemble_size=5, **settings)
    chunked = difficulty_by_state(X, y, random_states=range(5), ensemble_size=2, **settings)
    alone = difficulty_by_state(X, y, random_states=[4], **settings)
    assert chunked == pytest.approx(together, rel=1e-4, abs=1e-8)
    assert alone[0] == pytest.approx(together[4], rel=1e-4, abs=1e-8)
    assert difficulty(X, y, random_states=range(5), **settings) == pytest.approx(
        together.mean(axis=0), rel=1e-4, abs=1e-8
    )
    assert not np.allclose(together[0], together[1], rtol=0.05)


def test_every_row_is_in_one_batch_of_each_member_and_masks_are_fair() -> None:
    X = np.arange(100, dtype=np.float32)[:, None]
    table = EncodedTable(X, np.arange(100) % 3)
    batches = list(epoch_steps(table, [Draws(0), Draws(1)], 33))
    assert [x.shape[2] for x, _, _ in batches] == [33, 33, 33, 1]
    seen = torch.cat([x for x, _, _ in batches], dim=2)[:, 0]
    assert seen.sort(1).values.tolist() == [list(range(100))] * 2
    assert seen[0].tolist() != seen[1].tolist()
    for x, one_hot, _ in batches:
        assert (one_hot.argmax(1) == x[:, 0] % 3).all()
    keep = torch.cat([k for _, _, k in batches], dim=2)
    assert set(keep.unique().tolist()) == {0.0, 2.0}
    # A mean of n fair {0, 2} draws is 1 with standard deviation 1 / sqrt n.
    assert abs(float(keep.mean()) - 1) < 4 / keep.numel() ** 0.5


def test_masks_do_not_depend_on_how_many_steps_are_prepared_together() -> None:
    draws, again = Draws(7), Draws(7)
    together = draws.keep_bits(5, 13)
    one_by_one = np.concatenate([again.keep_bits(1, 13) for _ in range(5)])
    assert (together == one_by_one).all()


def test_the_running_variance_is_that_of_the_values_seen() -> None:
    values = np.random.default_rng(0).normal(1000, 1, size=(7, 2, 3))
    variance = RunningVariance()
    for value in values:
        variance.update(torch.tensor(value))
    assert variance.value().numpy() == pytest.approx(values.var(axis=0, ddof=1), rel=1e-9)


@pytest.mark.parametrize(
    ("n_rows", "n_features", "n_classes"), [(40, 5, 2), (65, 3, 2), (6, 1, 2), (90, 200, 6)]
)
def test_small_wide_and_many_class_tables_are_scored(
    n_rows: int, n_features: int, n_classes: int
) -> None:
    X = np.random.default_rng(0).normal(size=(n_rows, n_features))
    scores = difficulty(X, np.arange(n_rows) % n_classes, epochs=6, random_states=(0, 1))
    assert scores.shape == (n_rows,)
    assert (scores > 0).all()
    assert (scores <= 4).all()


def test_denormal_numbers_are_zero_while_training_and_back_after_it() -> None:
    denormal = torch.full((16,), 1e-39)
    with cpu_settings(1):
        assert not (denormal * 1.0).any()
        with cpu_settings(1):
            pass
        assert not (denormal * 1.0).any()
    assert (denormal * 1.0).all()


def test_the_number_of_torch_threads_is_restored() -> None:
    before = torch.get_num_threads()
    with cpu_settings(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    X, y = two_gaussians(10, distance=1.0)
    difficulty(X, y, epochs=6, random_states=[0], n_threads=1)
    assert torch.get_num_threads() == before


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, rddg_ray.coreset; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


GOOD_X, GOOD_Y = two_gaussians(12, distance=1.0, n_features=3)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_cell_that_is_no_finite_number_is_refused_with_its_place(value: float) -> None:
    X = GOOD_X.copy()
    X[7, 2] = value
    with pytest.raises(DataError) as caught:
        difficulty(X, GOOD_Y, epochs=6)
    assert f"column 2 of X holds {value} at row 7" in str(caught.value)


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (GOOD_X, np.zeros(12, dtype=int), "the classes [0] only"),
        (GOOD_X, np.where(GOOD_Y == 1, 2, 0), "class 1 of y has no row"),
        (GOOD_X, GOOD_Y - 1, "y holds -1 at row 0"),
        (GOOD_X, GOOD_Y[:-1], "X has 12 rows and y has 11"),
        (GOOD_X, GOOD_Y.astype(float), "integer class codes"),
        (GOOD_X[:, :0], GOOD_Y, "at least one row and one column"),
        (GOOD_X.astype(str), GOOD_Y, "encode every column"),
        (GOOD_X * 1e36, GOOD_Y, "training diverged"),
    ],
)
def test_a_table_that_cannot_be_trained_on_is_refused_with_the_reason(
    X: Floats, y: Ints, words: str
) -> None:
    with pytest.raises(DataError) as caught:
        difficulty(X, y, epochs=6, random_states=[0])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"random_states": ()}, "random_states"),
        ({"random_states": (0, -1)}, "random_states"),
        ({"random_states": (1, 1)}, "random_states"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 3}, "early_window"),
        ({"late_window": (0.9, 0.8)}, "late_window"),
        ({"late_window": (0.5, 1.2)}, "late_window"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"ensemble_size": 0}, "ensemble_size"),
        ({"n_threads": 0}, "n_threads"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        difficulty(GOOD_X, GOOD_Y, **settings)
