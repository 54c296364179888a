"""Endpoints y = b + a x + noise with known b and a: the scale of the design's figures.

A summary's standard deviation per row is 1 and a batch has 15 rows, so that noise has variance
1 / 15. Figures are root mean squares over 4,000 chains of 12 rounds; their standard error is at
most 1.2% (a chi-square law with 4,000 degrees of freedom), so 4% is beyond three of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from rddg_ray.calibration.diagnostics import coverage, rank_of_truth, uniformity
from rddg_ray.calibration.posterior import Posterior, make_up
from rddg_ray.config import CalibrationSettings
from rddg_ray.measuring import Floats

N_CHAINS, N_ROUNDS, VARIANCE = 4_000, 12, 1 / 15
WIDEST = 2.0  # no control of a mean lies farther from its target
SETTINGS = CalibrationSettings()
GAINS = (0.3, 1.0, 1.5)
SLACK = 1.04


@dataclass(frozen=True)
class Outcome:
    whole: float
    last: float
    posterior: Posterior


def play(
    *,
    bias: Floats | float,
    gain: Floats | float,
    policy: str,
    n_rounds: int = N_ROUNDS,
    n_chains: int = N_CHAINS,
) -> Outcome:
    rng = np.random.default_rng(11)
    gain_sd = 0.0 if policy == "unit_gain" else SETTINGS.gain_sd
    posterior = Posterior.prior(np.full(n_chains, SETTINGS.prior_scale), gain_sd)
    variance = np.full(n_chains, VARIANCE)
    asked, total = np.zeros(n_chains), np.zeros(n_chains)
    for round_ in range(n_rounds):
        expected = bias + gain * asked
        found = expected + np.sqrt(VARIANCE) * rng.standard_normal(n_chains)
        total += found
        posterior = posterior.update(asked, found, variance)
        aim = np.zeros(n_chains)
        if policy == "make_up":
            left = n_rounds - round_ - 1
            aim = make_up(total, left, share=SETTINGS.make_up, bound=SETTINGS.make_up_bound)
        if policy not in ("none", "restate"):  # restating a target asks for x = 0, again and again
            control = posterior.control(aim, SETTINGS.min_gain)
            control = np.clip(control, asked - SETTINGS.step, asked + SETTINGS.step)
            asked = np.clip(control, -WIDEST, WIDEST)
    return Outcome(rms(total / n_rounds), rms(expected + 0 * total), posterior)


def rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize(
    ("gain", "regression", "with_make_up"),
    # The design's figures: 0.17, 0.07, 0.06 and 0.11, 0.03, 0.03, rounded down there.
    [(0.3, 0.175, 0.115), (1.0, 0.08, 0.035), (1.5, 0.065, 0.035)],
)
def test_the_whole_output_is_as_near_its_target_as_the_design_says(
    gain: float, regression: float, with_make_up: float
) -> None:
    found = {p: play(bias=0.5, gain=gain, policy=p).whole
             for p in ("restate", "unit_gain", "regression", "make_up")}  # fmt: skip
    assert found["restate"] > 0.5
    assert found["regression"] < SLACK * regression
    assert found["make_up"] < SLACK * with_make_up
    assert found["make_up"] < min(found["restate"], found["unit_gain"])


@pytest.mark.parametrize("gain", GAINS)
def test_what_comes_back_converges_to_the_target(gain: float) -> None:
    errors = [play(bias=0.5, gain=gain, policy="regression", n_rounds=n, n_chains=1_000).last
              for n in (2, 12, 100, 400)]  # fmt: skip
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * 0.5


@pytest.mark.parametrize("gain", GAINS)
def test_an_endpoint_without_bias_is_not_made_worse(gain: float) -> None:
    floor = np.sqrt(VARIANCE / N_ROUNDS)
    for policy in ("unit_gain", "regression", "make_up"):
        assert play(bias=0.0, gain=gain, policy=policy).whole < SLACK * floor


def drawn_from_the_prior(policy: str) -> tuple[Outcome, Floats, Floats]:
    rng = np.random.default_rng(5)
    bias = SETTINGS.prior_scale * rng.standard_normal(N_CHAINS)
    gain = 1 + SETTINGS.gain_sd * rng.standard_normal(N_CHAINS)
    return play(bias=bias, gain=gain, policy=policy), bias, gain


@pytest.mark.parametrize("policy", ["none", "regression", "make_up"])
def test_intervals_cover_and_ranks_are_uniform_under_the_prior(policy: str) -> None:
    outcome, bias, gain = drawn_from_the_prior(policy)
    posterior = outcome.posterior
    # Of 4,000 intervals of 90% the share that covers has a standard error of 0.0047.
    intervals = posterior.bias_interval(0.9), posterior.gain_interval(0.9)
    for truth, interval in zip((bias, gain), intervals, strict=True):
        assert 0.885 < coverage(truth, interval) < 0.915
    for truth, mean, variance in (
        (bias, posterior.bias, posterior.bias_variance),
        (gain, posterior.gain, posterior.gain_variance),
    ):
        # At a fixed random state; below 0.001 one in a thousand sound posteriors would fall.
        assert uniformity(rank_of_truth(truth, mean, variance, 20), 20) > 0.001


def test_ranks_tell_a_posterior_that_is_too_sure_of_itself() -> None:
    outcome, bias, _ = drawn_from_the_prior("regression")
    posterior = outcome.posterior
    ranks = rank_of_truth(bias, posterior.bias, posterior.bias_variance / 2, 20)
    assert uniformity(ranks, 20) < 1e-6


def test_a_drifting_bias_is_followed_where_drift_is_allowed_for() -> None:
    rng = np.random.default_rng(2)
    prior_sd, wander = np.full(1_000, 0.5), 0.15
    errors = {}
    for allowed in (0.0, wander):
        posterior, bias = Posterior.prior(prior_sd, 0.5), 0.5 * rng.standard_normal(1_000)
        for _ in range(30):
            bias = bias + wander * rng.standard_normal(1_000)
            found = bias + np.sqrt(VARIANCE) * rng.standard_normal(1_000)
            posterior = posterior.drifted(np.full(1_000, allowed))
            posterior = posterior.update(np.zeros(1_000), found, np.full(1_000, VARIANCE))
        errors[allowed] = rms(posterior.bias - bias)
    # Steady state of the Kalman filter: P solves P^2 + q P - q v = 0 for the updated variance.
    q = wander**2
    steady = np.sqrt((-q + np.sqrt(q**2 + 4 * q * VARIANCE)) / 2)
    # 1,000 chains: a standard error of 2.2%.
    assert errors[wander] == pytest.approx(steady, rel=0.09)
    assert errors[0.0] > 2 * errors[wander]
