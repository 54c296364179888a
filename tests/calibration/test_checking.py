from __future__ import annotations

import numpy as np
import pytest

from rddg_ray.calibration.checking import bias_p_values, discoveries, shape_p_values
from rddg_ray.calibration.posterior import Posterior


def test_discoveries_are_those_of_a_hand_count() -> None:
    p_values = np.array([0.01, 0.04, 0.03, 0.5, 0.001])
    # Sorted 0.001, 0.01, 0.03, 0.04, 0.5 against 0.01, 0.02, 0.03, 0.04, 0.05: four fall.
    everyone = np.ones(5, dtype=np.bool_)
    assert discoveries(p_values, everyone, 0.05).tolist() == [True, True, True, False, True]
    # Of the first, second and fourth alone 0.01 <= 0.05 / 3, but 0.04 > 0.05 * 2 / 3.
    family = np.array([True, True, False, True, False])
    assert discoveries(p_values, family, 0.05).tolist() == [True, False, False, False, False]
    assert not discoveries(p_values, np.zeros(5, dtype=np.bool_), 0.05).any()


def test_a_bias_is_as_unlikely_as_its_distance_in_posterior_deviations() -> None:
    prior = np.full(3, 0.25)
    variance = 0.99 * np.array([0.01, 0.25, 0.25])
    bias = np.array([0.0, 0.98, 0.98])
    posterior = Posterior(bias, np.ones(3), variance, np.zeros(3), np.ones(3))
    found = bias_p_values(posterior, prior, np.array([True, True, False]))
    assert found.tolist() == pytest.approx([1, 0.0489, 1], abs=0.0005)


def test_before_any_round_nothing_is_unlikely() -> None:
    prior = Posterior.prior(np.full(2, 0.5), 0.5)
    assert bias_p_values(prior, np.full(2, 0.25), np.ones(2, dtype=np.bool_)).tolist() == [1, 1]


def test_shapes_of_real_batches_are_unlikely_as_often_as_they_say() -> None:
    rng = np.random.default_rng(6)
    real = np.exp(rng.standard_normal((1_000, 1)))
    p_values = [shape_p_values(real, rng.choice(real, 15))[1][0] for _ in range(2_000)]
    # 2,000 draws at 10%: a standard error of 0.0067.
    assert np.mean(np.array(p_values) < 0.1) == pytest.approx(0.1, abs=0.025)


def test_a_batch_that_follows_a_reference_sample_varies_by_both() -> None:
    rng = np.random.default_rng(7)
    real = rng.standard_normal((1_000, 1))
    p_values = []
    for _ in range(1_500):
        shown = rng.choice(real, 15)
        p_values.append(shape_p_values(real, rng.choice(shown, 15), extra=1 / 15)[1][0])
    assert np.mean(np.array(p_values) < 0.1) < 0.1 + 3 * 0.0078


def test_columns_with_too_few_values_are_not_judged() -> None:
    real, batch = np.zeros((9, 2)), np.full((6, 2), 5.0)
    batch[:2, 1] = np.nan
    statistic, p_values, usable = shape_p_values(real, batch)
    assert statistic.tolist() == [1, 0]
    assert p_values[1] == 1
    assert p_values[0] < 1e-3
    assert usable.tolist() == [True, False]
