from __future__ import annotations

import numpy as np
import pytest

from rddg_ray.calibration.pooling import Kinds, pooled
from rddg_ray.calibration.posterior import Posterior
from rddg_ray.calibration.summaries import Summaries

VARIANCE = 1 / 15
GAIN_SD = 0.5


def learned(
    bias: np.ndarray, gain: np.ndarray, n_rounds: int, *, is_told: bool = True
) -> Posterior:
    """Return what single summaries learn in rounds in which half a deviation is asked of some."""
    rng = np.random.default_rng(4)
    posterior = Posterior.prior(np.full(len(bias), 0.5), GAIN_SD)
    for round_ in range(n_rounds):
        asked = np.full(len(bias), -0.5 if is_told and round_ % 2 else 0.0)
        found = bias + gain * asked + np.sqrt(VARIANCE) * rng.standard_normal(len(bias))
        posterior = posterior.update(asked, found, np.full(len(bias), VARIANCE))
    return posterior


def together(posterior: Posterior, pattern: float = 1.0, gain_sd: float = GAIN_SD) -> Posterior:
    n = len(posterior.bias)
    kinds = Kinds(np.zeros(n, dtype=np.int64), np.full(n, pattern))
    return pooled(posterior, np.full(n, 0.5), gain_sd, kinds)


def test_before_any_round_a_summary_has_the_prior_of_the_settings() -> None:
    found = together(Posterior.prior(np.full(6, 0.5), GAIN_SD))
    assert found.bias.tolist() == [0] * 6
    assert found.gain.tolist() == pytest.approx([1] * 6)
    # Half of it is shared by the summaries, half their own.
    assert found.bias_variance.tolist() == pytest.approx([0.25] * 6)


def test_a_bias_that_all_have_is_known_after_one_round() -> None:
    truth = np.full(20, 0.5)
    alone = learned(truth, np.ones(20), 1)
    errors = [np.abs(p.bias - truth).mean() for p in (alone, together(alone))]
    # Alone the prior draws it towards 0 by v / (v + p), and each has its noise of 0.26.
    assert errors[1] < 0.6 * errors[0]


def test_biases_that_have_nothing_in_common_are_left_to_themselves() -> None:
    truth = 0.5 * np.random.default_rng(8).standard_normal(400)
    alone = learned(truth, np.ones(400), 4)
    errors = [np.sqrt(np.mean((p.bias - truth) ** 2)) for p in (alone, together(alone))]
    assert errors[1] < 1.02 * errors[0]


def test_without_bias_noise_is_shrunk_away() -> None:
    alone = learned(np.zeros(40), np.ones(40), 3, is_told=False)
    assert np.abs(together(alone).bias).mean() < 0.6 * np.abs(alone.bias).mean()


def test_the_gain_of_all_tells_that_of_each() -> None:
    gain = np.full(20, 0.4)
    alone = learned(np.full(20, 0.5), gain, 4)
    errors = [np.abs(p.gain - gain).mean() for p in (alone, together(alone))]
    assert errors[1] < 0.5 * errors[0]


def test_one_outlier_among_many_keeps_its_own_bias() -> None:
    truth = np.zeros(20)
    truth[3] = 2.0
    found = together(learned(truth, np.ones(20), 6, is_told=False))
    # Six rounds know it to 0.11; the rest draws it a little.
    assert found.bias[3] == pytest.approx(2.0, abs=0.35)
    assert np.abs(np.delete(found.bias, 3)).max() < 0.35


def test_intervals_cover_biases_that_share_a_centre() -> None:
    rng = np.random.default_rng(12)
    covered = []
    for _ in range(60):
        truth = 0.35 * rng.standard_normal() + 0.35 * rng.standard_normal(20)
        found = truth + np.sqrt(VARIANCE) * rng.standard_normal(20)
        alone = Posterior.prior(np.full(20, 0.5), GAIN_SD)
        alone = alone.update(np.zeros(20), found, np.full(20, VARIANCE))
        low, high = together(alone).bias_interval(0.9)
        covered.append(np.mean((low <= truth) & (truth <= high)))
    # 1,200 intervals, those of one endpoint dependent: a standard error of about 0.012.
    assert np.mean(covered) == pytest.approx(0.9, abs=0.036)


def test_summaries_of_other_kinds_do_not_matter() -> None:
    truth = np.repeat([0.5, 0.0], 10)
    alone = learned(truth, np.ones(20), 2, is_told=False)
    kinds = Kinds(np.repeat([0, 1], 10), np.ones(20))
    both = pooled(alone, np.full(20, 0.5), GAIN_SD, kinds)
    half = Posterior(*(getattr(alone, name)[:10] for name in Posterior.__dataclass_fields__))
    assert together(half).bias.tolist() == pytest.approx(both.bias[:10].tolist())


def test_the_unit_gain_filter_is_not_pooled() -> None:
    alone = Posterior.prior(np.full(3, 0.5), 0.0)
    assert together(alone, gain_sd=0.0) is alone


def test_correlations_share_what_weakens_them(summaries: Summaries) -> None:
    kinds = Kinds.of(summaries)
    for item, pattern, target in zip(
        summaries.items, kinds.pattern, np.nan_to_num(summaries.target), strict=True
    ):
        expected = {"mean": 1.0, "std": 1.0, "share": 0.0}.get(item.kind, np.clip(target, -1, 1))
        assert pattern == pytest.approx(expected)
    assert len(set(kinds.group.tolist())) == len({item.kind for item in summaries.items})
