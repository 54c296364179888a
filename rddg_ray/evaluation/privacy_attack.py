"""What synthetic rows tell of who was among the training rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rddg_ray.evaluation.fidelity_arrays import Floats
from rddg_ray.evaluation.privacy_distance import TIE, Points, Scan, scan

_Z = 1.959963984540054
_N_DRAWS = 400
_LOW_RATE, _MOST_RATE = 0.01, 0.10
_ACCUSED = 10


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Leak:
    """What one release of rows gives away.

    Attributes:
        nearest: Pass from the released rows over the members.
        share: Share of released rows closer to a member than to a stranger, see `closer_share`.
        auc: Of the membership attack, see `attack`.
        found: Members found by it at a low rate of wrong accusations.
    """

    nearest: Scan
    share: Estimate
    auc: Estimate
    found: Estimate


def leak_of(
    release: Points, members: Points, strangers: Points, *, rate: float, random_state: int = 0
) -> Leak:
    """Hold released rows against the rows they were made from and rows they were not.

    Args:
        release: Rows an attacker has, at least one.
        members: Training rows, at least two.
        strangers: Held-out rows of the same population, at least two.
        rate: Share of strangers the attacker may accuse, in (0, 1); see `low_rate`.
        random_state: Seeds the bootstrap of the interval of `found`.
    """
    if len(members) >= len(strangers):
        to_strangers = scan(release, strangers)
        to_members = scan(release, members, to_strangers.distance)
        scores = _subset_wins(to_members, len(members), len(strangers))
    else:
        to_members = scan(release, members)
        to_strangers = scan(release, strangers, to_members.distance)
        scores = 1.0 - _subset_wins(to_strangers, len(strangers), len(members))
    auc, found = attack(
        to_members.reverse, to_strangers.reverse, rate=rate, random_state=random_state
    )
    return Leak(to_members, closer_share(scores, to_members, to_strangers), auc, found)


def _subset_wins(to_many: Scan, n_many: int, n_few: int) -> Floats:
    """Return how likely the nearest of `n_few` of the many rows is nearer than the distance asked.

    This is the mean over every subset of that size, exactly, with a half for ties: none of the k
    nearer rows is drawn with the hypergeometric probability C(N - k, n) / C(N, n).
    """
    none_nearer = _never_drawn(to_many.nearer, n_many, n_few)
    none_as_near = _never_drawn(to_many.as_near, n_many, n_few)
    return 1.0 - (none_nearer + none_as_near) / 2


def _never_drawn(n_marked: Floats, n_many: int, n_few: int) -> Floats:
    from scipy.special import gammaln

    left = n_many - n_marked
    can_be = left >= n_few
    safe = np.where(can_be, left, n_few)
    logarithm = (gammaln(safe + 1) - gammaln(safe - n_few + 1)
                 - gammaln(n_many + 1) + gammaln(n_many - n_few + 1))  # fmt: skip
    return np.where(can_be, np.exp(logarithm), 0.0)


def closer_share(scores: Floats, to_members: Scan, to_strangers: Scan) -> Estimate:
    """Return the mean of the scores with Wilson's interval for rows that are not independent.

    Rows around one real row stand or fall together. So the variance of the mean is taken over
    groups of rows that share their nearest member and, again, over those that share their nearest
    stranger, less the part that both count; and Wilson's interval is that of as many independent
    rows as would have this variance.

    References:
        Cameron, Gelbach & Miller (2011), Robust inference with multiway clustering.
    """
    n_rows, share = len(scores), float(scores.mean())
    off = scores - share
    sums = [np.bincount(side.place, weights=off) for side in (to_members, to_strangers)]
    each = float((off**2).sum())
    variance = max(sum(float((part**2).sum()) for part in sums) - each, each) / n_rows**2
    n_apart = share * (1 - share) / variance if variance > 0 else n_rows
    return wilson(share, min(max(n_apart, 1.0), n_rows))


def wilson(share: float, n: float) -> Estimate:
    """Return a share with its 95% interval.

    References:
        Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return Estimate(share, float(max(middle - half, 0.0)), float(min(middle + half, 1.0)))


def low_rate(n_strangers: int) -> float:
    """Return the share of strangers an attacker may accuse: 1%, or ten of them, at most 10%.

    The threshold at fewer than ten would rest on the few nearest of them.
    """
    return min(max(_LOW_RATE, _ACCUSED / n_strangers), _MOST_RATE)


def attack(
    members: Floats, strangers: Floats, *, rate: float, random_state: int
) -> tuple[Estimate, Estimate]:
    """Guess membership by the distance to the closest released row: members lie nearer.

    Args:
        members: That distance of each training row.
        strangers: That of each held-out row.
        rate: Share of strangers that may be accused.
        random_state: Seeds the second interval.

    Returns:
        The area under the ROC curve (a half is guessing; ties count a half) with DeLong's
        interval; and the share of members found while `rate` of the strangers are accused,
        drawing among those at the threshold, with a bootstrap interval over both sides.

    References:
        DeLong, DeLong & Clarke-Pearson (1988), Comparing the areas under two or more correlated
        ROC curves. Carlini et al. (2022), Membership inference attacks from first principles
        (why the rate at few wrong accusations counts).
    """
    steps = [np.round(side / TIE).astype(np.int64) for side in (members, strangers)]
    groups, place = np.unique(np.concatenate(steps), return_inverse=True)
    counts = [np.bincount(part, minlength=len(groups)).astype(np.float64)
              for part in (place[: len(members)], place[len(members) :])]  # fmt: skip
    rng = np.random.default_rng(random_state)
    drawn = [
        rng.multinomial(int(part.sum()), part / part.sum(), size=_N_DRAWS).astype(np.float64)
        for part in counts
    ]
    low, high = np.percentile(_found(drawn[0], drawn[1], rate), [2.5, 97.5])
    value = float(_found(counts[0][None], counts[1][None], rate)[0])
    return _area(counts[0], counts[1]), Estimate(value, float(low), float(high))


def _found(members: Floats, strangers: Floats, rate: float) -> Floats:
    """Return members found at a rate of accused strangers; rows are draws, columns distances."""
    accused = strangers.cumsum(axis=1) / strangers.sum(axis=1, keepdims=True)
    caught = members.cumsum(axis=1) / members.sum(axis=1, keepdims=True)
    # The first distance at which more strangers than allowed would be accused; the last one
    # accuses all of them, so there is one.
    at = (accused > rate).argmax(axis=1)
    draws = np.arange(len(at))
    before = np.maximum(at - 1, 0)
    start = np.where(at > 0, [accused[draws, before], caught[draws, before]], 0.0)
    portion = (rate - start[0]) / (accused[draws, at] - start[0])
    found: Floats = start[1] + portion * (caught[draws, at] - start[1])
    return found


def _area(members: Floats, strangers: Floats) -> Estimate:
    """Return the chance that a member lies nearer than a stranger, from counts by distance."""
    n_members, n_strangers = members.sum(), strangers.sum()
    beyond = (n_strangers - strangers.cumsum() + strangers / 2) / n_strangers
    within = (members.cumsum() - members / 2) / n_members
    area = float((members * beyond).sum() / n_members)
    variance = 0.0
    for weights, placed, n in ((members, beyond, n_members), (strangers, within, n_strangers)):
        variance += float((weights * (placed - area) ** 2).sum() / max(n - 1, 1) / n)
    half = _Z * variance**0.5
    return Estimate(area, max(area - half, 0.0), min(area + half, 1.0))
