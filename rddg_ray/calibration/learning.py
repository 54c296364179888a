"""What one round teaches: the likelihood of what came back.

What the endpoint was asked for is not always what was said. Where nothing is said of a summary,
the endpoint has the reference rows to go by: what it is asked for then is the target, x = 0, off
by the reference rows' own deviation from it, which is known. It follows that deviation by a share
between 0 (it writes from what it knows of the class) and 1 (it writes variants of the rows shown);
the share is learned over all summaries together and its part taken off what came back.

Where something is said, an endpoint may read "35 (was 40)" as a value to reach, or as "5 less
than what you would write". Both readings are regressions of their own, x being the control less
the target or the control less the level told; the one that explains the means of all
rounds better rules. The level told is not the last batch's figure, which is mostly noise,
but what the beliefs say that such rows come to: once a correction works it is near the target,
and the two readings ask for the same words.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rddg_ray.calibration.checking import Bools
from rddg_ray.calibration.state import CalibrationState
from rddg_ray.calibration.summary import Observation
from rddg_ray.config import CalibrationSettings
from rddg_ray.measuring import Floats

# Prior of the share by which rows follow their reference rows' own deviations: N(1/2, 1/2^2).
_FOLLOW_MEAN, _FOLLOW_VARIANCE = 0.5, 0.25
# Log of the most that one summary says for a reading in one round.
_MOST_EVIDENCE = 1.0


def asked_for(state: CalibrationState, target: Floats) -> tuple[Floats, Floats]:
    """Return x of what a state says, read as values and as changes; 0 where it says nothing."""
    unsaid = np.isnan(state.said)
    return (
        np.where(unsaid, 0.0, state.said - target),
        np.where(unsaid, 0.0, state.said - state.seen),
    )


def follow(state: CalibrationState) -> tuple[float, float]:
    """Return mean, held to [0, 1], and variance of the share by which rows follow."""
    precision = 1 / _FOLLOW_VARIANCE + state.follow_weight
    mean = (_FOLLOW_MEAN / _FOLLOW_VARIANCE + state.follow_sum) / precision
    return float(np.clip(mean, 0.0, 1.0)), 1 / precision


def learn(
    state: CalibrationState,
    found: Observation,
    shown: Observation | None,
    *,
    target: Floats,
    telling: Bools,
    settings: CalibrationSettings,
) -> CalibrationState:
    """Return a state with the beliefs after a round; what is said stays as it was.

    Args:
        state: The state that the round's prompts were made from.
        found: The round's rows.
        shown: The reference rows; None where there were none.
        target: Values of the summaries in the real rows.
        telling: Summaries that tell the two readings apart.
        settings: How to calibrate.
    """
    as_value, as_change = asked_for(state, target)
    wander = settings.drift * state.prior_sd
    state = replace(
        state, as_value=state.as_value.drifted(wander), as_change=state.as_change.drifted(wander)
    )
    variance = settings.noise * found.variance
    asked = as_change if state.is_change else as_value
    state, moved = _followed(state, found, shown, state.posterior.predict(asked, variance))
    share, share_variance = follow(state)
    own = found.deviation - share * moved
    variance = variance + share_variance * moved**2
    # How much of what it is told an endpoint does differs from reply to reply.
    variance = variance + (settings.answer_noise * asked) ** 2
    evidence = state.as_change.log_predictive(as_change, own, variance)
    evidence = evidence - state.as_value.log_predictive(as_value, own, variance)
    # One summary must not outvote the others.
    evidence = np.clip(evidence, -_MOST_EVIDENCE, _MOST_EVIDENCE)
    return replace(
        state,
        round=state.round + 1,
        as_value=state.as_value.update(as_value, own, variance),
        as_change=state.as_change.update(as_change, own, variance),
        # Where nothing is said the readings are the same.
        change_evidence=state.change_evidence
        + float(evidence[telling & ~np.isnan(state.said)].sum()),
        n_told=state.n_told + np.isfinite(found.variance),
    )


def _followed(
    state: CalibrationState,
    found: Observation,
    shown: Observation | None,
    expected: tuple[Floats, Floats],
) -> tuple[CalibrationState, Floats]:
    """Return the state that knows how the rows followed the reference, and its deviations."""
    mean, total = expected
    if shown is None:
        return state, np.zeros(len(mean))
    both = np.isfinite(shown.variance) & np.isfinite(total)
    moved = np.where(both, shown.deviation, 0.0)
    weight = moved / np.where(both, total, 1.0)
    surprise = np.where(both, found.deviation - mean, 0.0)
    state = replace(
        state,
        follow_sum=state.follow_sum + float((weight * surprise).sum()),
        follow_weight=state.follow_weight + float((weight * moved).sum()),
    )
    return state, moved
