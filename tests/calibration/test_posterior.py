from __future__ import annotations

import numpy as np
import pytest

from rddg_ray.calibration.posterior import Posterior, make_up
from rddg_ray.measuring import Floats


def told(asked: list[float], found: list[float], variance: float, gain_sd: float) -> Posterior:
    posterior = Posterior.prior(np.array([0.5]), gain_sd)
    for x, y in zip(asked, found, strict=True):
        posterior = posterior.update(np.array([x]), np.array([y]), np.array([variance]))
    return posterior


def test_beliefs_are_those_of_a_sum_over_a_grid() -> None:
    asked, found, variance = [0.0, -0.6, -0.4, 0.2], [0.7, 0.1, 0.2, 0.9], 0.07
    b, a = np.meshgrid(np.linspace(-2, 2, 801), np.linspace(-2, 4, 1_201), indexing="ij")
    log_density = -(b**2) / (2 * 0.25) - (a - 1) ** 2 / (2 * 0.25)
    for x, y in zip(asked, found, strict=True):
        log_density -= (y - b - a * x) ** 2 / (2 * variance)
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    mean_b, mean_a = (weight * b).sum(), (weight * a).sum()
    posterior = told(asked, found, variance, gain_sd=0.5)
    assert posterior.bias[0] == pytest.approx(mean_b, abs=1e-4)
    assert posterior.gain[0] == pytest.approx(mean_a, abs=1e-4)
    moments = [(weight * (b - mean_b) ** 2).sum(), (weight * (b - mean_b) * (a - mean_a)).sum(),
               (weight * (a - mean_a) ** 2).sum()]  # fmt: skip
    parts = [posterior.bias_variance[0], posterior.covariance[0], posterior.gain_variance[0]]
    assert parts == pytest.approx(moments, abs=1e-4)


def test_rounds_in_another_order_teach_the_same() -> None:
    asked, found = [0.0, -0.6, -0.4, 0.2], [0.7, 0.1, 0.2, 0.9]
    one, other = told(asked, found, 0.07, 0.5), told(asked[::-1], found[::-1], 0.07, 0.5)
    assert one.bias[0] == pytest.approx(other.bias[0])
    assert one.covariance[0] == pytest.approx(other.covariance[0])


def test_a_known_gain_of_1_makes_the_unit_gain_filter() -> None:
    asked, found, v = [0.0, -0.5, -0.3], [0.6, 0.2, 0.1], 0.1
    b, p = 0.0, 0.25
    for x, y in zip(asked, found, strict=True):  # the filter, as the design writes it
        k = p / (p + v)
        b, p = b + k * (y - x - b), (1 - k) * p
    posterior = told(asked, found, v, gain_sd=0.0)
    assert (posterior.bias[0], posterior.bias_variance[0]) == pytest.approx((b, p))
    assert posterior.gain[0] == 1
    assert posterior.control(np.zeros(1), 0.25)[0] == pytest.approx(-b)


def test_a_gain_that_was_never_tried_keeps_its_prior() -> None:
    posterior = told([0.0] * 9, [0.5] * 9, 0.1, gain_sd=0.5)
    assert (posterior.gain[0], posterior.gain_variance[0]) == (1, 0.25)


def test_what_is_not_known_teaches_nothing() -> None:
    prior = Posterior.prior(np.array([0.5]), 0.5)
    after = prior.update(np.array([0.3]), np.array([0.0]), np.array([np.inf]))
    assert after == prior or all(
        getattr(after, n)[0] == getattr(prior, n)[0]
        for n in ("bias", "gain", "bias_variance", "covariance", "gain_variance")
    )
    assert prior.log_predictive(np.zeros(1), np.zeros(1), np.array([np.inf]))[0] == 0


def test_a_control_never_counts_on_less_than_the_least_gain() -> None:
    one = np.ones(1)
    weak = Posterior(0.5 * one, 0.01 * one, one, 0 * one, one)
    assert weak.control(np.zeros(1), 0.25)[0] == -2


@pytest.mark.parametrize(
    ("deficit", "left", "aim"), [(0.6, 3, -0.1), (-0.6, 3, 0.1), (9.0, 3, -0.25), (0.2, 0, -0.1)]
)
def test_half_of_a_deficit_is_spread_over_the_rounds_left_within_a_bound(
    deficit: float, left: int, aim: float
) -> None:
    found: Floats = make_up(np.array([deficit]), left, share=0.5, bound=0.25)
    assert found[0] == pytest.approx(aim)


def test_an_interval_holds_its_share_of_the_normal_law() -> None:
    one = np.ones(1)
    low, high = Posterior(one, one, 4 * one, 0 * one, one).bias_interval(0.9)
    assert (low[0], high[0]) == pytest.approx((1 - 2 * 1.644854, 1 + 2 * 1.644854), rel=1e-6)
