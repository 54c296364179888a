"""What the summaries of one kind have in common: an endpoint's habits are learned from all of them.

An endpoint that writes one column with too little spread writes the others so, and one that
answers half of what is said of one mean answers half of the next. So bias and gain of a summary
are drawn around values that its kind shares over all columns and classes,

    b_j / p_j ~ N(c h_j, t^2),    a_j ~ N(g, s^2),

p_j being the prior standard deviation of b_j. The pattern h_j is 1 for means and spreads; for a
correlation it is its own Fisher z (endpoints that weaken them weaken all, towards 0), and for a
share 0: of one column they sum to 1, so that no shift is common to them. How alike the summaries
of a kind are, t and s, is learned with c and g by expectation maximisation (empirical Bayes, Morris
1983): an endpoint without any bias shows a small t, and what noise makes of it is shrunk away.

Half of the prior variance of a bias or gain is that of what is shared, half its own, so that a
summary that stands alone has the prior of the settings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rddg_ray.calibration.checking import Bools
from rddg_ray.calibration.posterior import Posterior
from rddg_ray.calibration.summaries import Summaries
from rddg_ray.measuring import Floats, Ints

# Share of the prior's variance that a summary has of its own, before anything is learned.
_OWN = 0.5
# Summaries that the prior of t^2 and s^2 counts for.
_WEIGHT = 2.0
_ITERATIONS = 20


@dataclass(frozen=True)
class Kinds:
    """Which summaries learn from one another; all arrays have shape `(n_summaries,)`.

    Attributes:
        group: Number of the kind, from 0.
        pattern: h of each summary.
    """

    group: Ints
    pattern: Floats

    @classmethod
    def of(cls, summaries: Summaries) -> Kinds:
        """Return the kinds of a table's summaries, over all columns and classes."""
        names = sorted({item.kind for item in summaries.items})
        group = [names.index(item.kind) for item in summaries.items]
        pattern = {"mean": 1.0, "std": 1.0, "share": 0.0}
        # A Fisher z beyond 1 (a correlation of 0.76) is as much weakened as one of 1.
        shared = [
            pattern.get(item.kind, float(np.clip(target, -1.0, 1.0)))
            for item, target in zip(summaries.items, np.nan_to_num(summaries.target), strict=True)
        ]
        return cls(np.array(group, dtype=np.int64), np.array(shared, dtype=np.float64))


def pooled(posterior: Posterior, prior_sd: Floats, gain_sd: float, kinds: Kinds) -> Posterior:
    """Return the beliefs about each summary in the light of the others of its kind.

    Args:
        posterior: Beliefs about each summary alone, under the prior N(0, prior_sd^2) of its bias
            and N(1, gain_sd^2) of its gain.
        prior_sd: Prior standard deviations of the biases.
        gain_sd: Prior standard deviation of the gains. With 0 all are the same as before.
        kinds: Who learns from whom.
    """
    if gain_sd == 0 or not len(prior_sd):
        return posterior
    data = _Data.of(posterior, prior_sd, gain_sd)
    shared = _Shared.start(data, kinds, gain_sd)
    for _ in range(_ITERATIONS):
        shared = shared.improved(data, data.posterior(kinds, shared), kinds, gain_sd)
    found = data.posterior(kinds, shared)
    # What is shared is itself known only so well, and a summary takes a part of it over.
    unsure = 1 / (shared.power / shared.own + 1 / (1 - _OWN))
    taken = found.bias_variance / shared.own[kinds.group] * kinds.pattern
    variance = found.bias_variance + taken**2 * unsure[kinds.group]
    return Posterior(
        found.bias * prior_sd,
        found.gain,
        variance * prior_sd**2,
        found.covariance * prior_sd,
        found.gain_variance,
    )


@dataclass(frozen=True)
class _Shared:
    """What the summaries of each kind share; arrays have shape `(n_kinds,)`.

    Attributes:
        count: Summaries of which something is known.
        power: Sum of their squared patterns.
        centre: c, in prior deviations.
        own: t^2, likewise squared.
        gain: g.
        spread: s^2.
    """

    count: Floats
    power: Floats
    centre: Floats
    own: Floats
    gain: Floats
    spread: Floats

    @classmethod
    def start(cls, data: _Data, kinds: Kinds, gain_sd: float) -> _Shared:
        """Return the prior."""
        count = _sum(data.has.astype(np.float64), kinds)
        ones = np.ones_like(count)
        power = _sum(data.has * kinds.pattern**2, kinds)
        return cls(count, power, 0 * ones, _OWN * ones, ones, _OWN * gain_sd**2 * ones)

    def improved(self, data: _Data, found: Posterior, kinds: Kinds, gain_sd: float) -> _Shared:
        """Return the most likely values where the summaries are as `found`."""
        has, group = data.has, kinds.group
        centre = _sum(has * kinds.pattern * found.bias, kinds)
        centre = centre / (self.power + self.own / (1 - _OWN))
        rest = (found.bias - centre[group] * kinds.pattern) ** 2 + found.bias_variance
        own = (_WEIGHT * _OWN + _sum(has * rest, kinds)) / (_WEIGHT + self.count)
        prior = self.spread / ((1 - _OWN) * gain_sd**2)
        gain = (_sum(has * found.gain, kinds) + prior) / (self.count + prior)
        rest = (found.gain - gain[group]) ** 2 + found.gain_variance
        spread = _WEIGHT * _OWN * gain_sd**2 + _sum(has * rest, kinds)
        return replace(
            self, centre=centre, own=own, gain=gain, spread=spread / (_WEIGHT + self.count)
        )


@dataclass(frozen=True)
class _Data:
    """What the rounds alone say, without a prior: precisions and precision-weighted means.

    Attributes:
        has: Whether they say anything.
        precision: Of bias, of bias with gain, of gain, in units of the prior's deviation.
        weighted: Precision times mean, of bias and of gain.
    """

    has: Bools
    precision: tuple[Floats, Floats, Floats]
    weighted: tuple[Floats, Floats]

    @classmethod
    def of(cls, posterior: Posterior, prior_sd: Floats, gain_sd: float) -> _Data:
        """Take the prior off a posterior."""
        var_b, cov = posterior.bias_variance / prior_sd**2, posterior.covariance / prior_sd
        var_a, bias = posterior.gain_variance, posterior.bias / prior_sd
        det = var_b * var_a - cov**2
        full = (var_a / det, -cov / det, var_b / det)
        prior_gain = 1 / gain_sd**2
        # A bias that drifts can be less known than at the start; then nothing is known of it.
        has = full[0] - 1 > 1e-9
        parts = (full[0] - 1, full[1], np.maximum(full[2] - prior_gain, 0.0))
        weighted = (
            full[0] * bias + full[1] * posterior.gain,
            full[1] * bias + full[2] * posterior.gain - prior_gain,
        )
        return cls(
            has,
            (np.where(has, parts[0], 0.0), np.where(has, parts[1], 0.0),
             np.where(has, parts[2], 0.0)),
            (np.where(has, weighted[0], 0.0), np.where(has, weighted[1], 0.0)),
        )  # fmt: skip

    def posterior(self, kinds: Kinds, shared: _Shared) -> Posterior:
        """Return the beliefs under the priors of the kinds, in units of the prior's deviation."""
        group = kinds.group
        own_precision, gain_precision = 1 / shared.own[group], 1 / shared.spread[group]
        bb, ab = self.precision[0] + own_precision, self.precision[1]
        aa = self.precision[2] + gain_precision
        mean_b = self.weighted[0] + own_precision * shared.centre[group] * kinds.pattern
        mean_a = self.weighted[1] + gain_precision * shared.gain[group]
        det = bb * aa - ab**2
        return Posterior(
            (aa * mean_b - ab * mean_a) / det,
            (bb * mean_a - ab * mean_b) / det,
            aa / det,
            -ab / det,
            bb / det,
        )


def _sum(values: Floats, kinds: Kinds) -> Floats:
    return np.bincount(kinds.group, weights=values).astype(np.float64)
