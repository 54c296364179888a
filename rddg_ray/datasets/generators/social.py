"""Social Network: how influential a user is, from eight figures of the account."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rddg_ray.datasets.generators.classes import class_counts, classes_by_rank
from rddg_ray.datasets.generators.draws import normal_within, shuffled_tiers, to_whole
from rddg_ray.datasets.generators.relation import Relation, exact, mostly, ordered_means, trend
from rddg_ray.datasets.randomness import generator

TARGET = "influence_level"
CLASSES = {"0": 789, "1": 86, "2": 55, "3": 70}
"""Class to its rows of 1,000, from the lowest score to the highest."""

COUNTRIES = {
    "United States": 0.24,
    "India": 0.20,
    "Brazil": 0.14,
    "Indonesia": 0.12,
    "Mexico": 0.10,
    "Japan": 0.08,
    "Germany": 0.07,
    "Nigeria": 0.05,
}
"""Countries and their shares of users; the country says nothing about influence."""
MAX_FOLLOWING = 5_000
"""Most accounts that a user may follow."""
NOISE_SD = 0.03
"""Spread of what the attributes do not say about influence; sets the difficulty."""

DESCRIPTIONS = {
    "age": "Age of the user in years, 13 to 75",
    "country": "Country of the user",
    "daily_posts": "Posts a day, one decimal",
    "following_counts": "Number of accounts that the user follows, at most 5,000",
    "followers_counts": "Number of accounts that follow the user",
    "average_likes": "Average number of likes a post",
    "average_likes_from_following": "Average likes a post from accounts that the user follows",
    "account_age_exponent": "Age of the account as a power of ten days: 10^value days",
    TARGET: "Influence of the user, 0 (least) to 3 (most)",
}


def expected_likes(followers: pd.Series) -> pd.Series:
    """Return the middle of the average likes: 0.3 x followers^0.85."""
    return 0.3 * followers**0.85


def _near_expected_likes(frame: pd.DataFrame) -> pd.Series:
    middle = expected_likes(frame["followers_counts"])
    return (np.log10((frame["average_likes"] + 0.5) / (middle + 0.5))).abs() <= 0.4


RELATIONS: tuple[Relation, ...] = (
    exact(
        ("average_likes", "followers_counts"),
        "A post has no more likes than the user has followers.",
        lambda frame: frame["average_likes"] <= frame["followers_counts"],
    ),
    exact(
        ("average_likes_from_following", "average_likes"),
        "Likes from followed accounts are part of all likes.",
        lambda frame: frame["average_likes_from_following"] <= frame["average_likes"],
    ),
    exact(
        ("average_likes_from_following", "following_counts"),
        "A post has no more likes from followed accounts than the user follows accounts.",
        lambda frame: frame["average_likes_from_following"] <= frame["following_counts"],
    ),
    mostly(
        ("followers_counts", "average_likes"),
        "Average likes = 0.3 x followers^0.85, within a factor of 10^0.4 (3 standard "
        "deviations and the rounding).",
        _near_expected_likes,
        0.99,
    ),
    trend("followers_counts", "average_likes", "Likes grow with followers.", 0.90, 1.0),
    trend("account_age_exponent", "followers_counts", "Followers grow with age.", 0.40, 0.95),
    trend("daily_posts", "followers_counts", "Who posts more has more followers.", 0.15, 0.80),
    ordered_means(
        TARGET, tuple(CLASSES), "followers_counts", "Followers rise with influence.", 300.0
    ),
    ordered_means(TARGET, tuple(CLASSES), "average_likes", "Likes rise with influence.", 30.0),
)
"""The relations of this data set; each can be checked on the rows alone."""


def social_network(n_rows: int = 1000, random_state: int = 0) -> pd.DataFrame:
    """Generate the Social Network data set.

    A hidden tier t in {0, 1, 2, 3}, as frequent as the classes, moves the account. Then:

    - account age exponent e: normal, mean 2.6 + 0.2 t, standard deviation 0.3, within 1.5..3.8,
      two decimals; the account is 10^e days old;
    - daily posts: log-normal, median 1.2 x 1.5^t, sd of the logarithm 0.4, one decimal;
    - followers = 10^(0.8 e + 0.75 t + noise), noise sd 0.2; following log-normal, median 160;
    - average likes = 0.3 followers^0.85 x 10^noise, noise sd 0.1, at most the followers;
    - likes from followed accounts: the share following / (following + followers) of the likes
      times a factor uniform in 0.5..1, at most the number followed;
    - age: normal, mean 30, sd 10 years, within 13..75; country from `COUNTRIES`; neither
      depends on anything.

    The class is cut from log10 likes + 0.5 log10 followers + 0.5 log10 daily posts plus normal
    noise. At 1,000 rows the counts are the paper's, {0: 789, 1: 86, 2: 55, 3: 70}; otherwise in
    proportion.

    Args:
        n_rows: Rows to generate; enough for 2 of the rarest class.
        random_state: Seed of all draws; the same value gives the same frame.

    Returns:
        Frame of 8 attributes and the target (as text), in the order of `DESCRIPTIONS`.

    Raises:
        ConfigError: If `n_rows` leaves a class with fewer than 2 rows, or `random_state` is not
            a whole number, 0 or greater.

    References:
        The paper, appendix A.4, tables 9 and 10.
    """
    counts = class_counts(CLASSES, n_rows)
    rng = generator(random_state)
    frame = _attributes(rng, shuffled_tiers(rng, counts))
    noise = rng.normal(0.0, NOISE_SD, n_rows)
    frame[TARGET] = classes_by_rank(_influence_score(frame) + noise, counts)
    return frame[list(DESCRIPTIONS)]


def _attributes(rng: np.random.Generator, tier: NDArray[np.int64]) -> pd.DataFrame:
    n_rows = len(tier)
    exponent = np.round(normal_within(rng, 2.6 + 0.2 * tier, 0.3, (1.5, 3.8), n_rows), 2)
    posts = 1.2 * 1.5**tier * np.exp(rng.normal(0.0, 0.4, n_rows))
    following = 10 ** rng.normal(2.2, 0.35, n_rows)
    frame = pd.DataFrame(
        {
            "age": to_whole(normal_within(rng, 30.0, 10.0, (13.0, 75.0), n_rows)),
            "country": rng.choice(list(COUNTRIES), n_rows, p=list(COUNTRIES.values())),
            "daily_posts": np.maximum(np.round(posts, 1), 0.1),
            "following_counts": np.minimum(to_whole(following), MAX_FOLLOWING),
            "followers_counts": to_whole(
                10 ** (0.8 * exponent + 0.75 * tier + rng.normal(0.0, 0.2, n_rows))
            ),
            "account_age_exponent": exponent,
        }
    )
    return _with_likes(rng, frame)


def _with_likes(rng: np.random.Generator, frame: pd.DataFrame) -> pd.DataFrame:
    n_rows, followers, following = (
        len(frame),
        frame["followers_counts"].to_numpy(),
        frame["following_counts"].to_numpy(),
    )
    expected = expected_likes(frame["followers_counts"]).to_numpy()
    likes = to_whole(expected * 10 ** rng.normal(0.0, 0.1, n_rows))
    likes = np.minimum(likes, followers)
    share = following / np.maximum(following + followers, 1) * rng.uniform(0.5, 1.0, n_rows)
    from_following = np.minimum(np.floor(likes * share).astype(np.int64), following)
    return frame.assign(average_likes=likes, average_likes_from_following=from_following)


def _influence_score(frame: pd.DataFrame) -> NDArray[np.float64]:
    score = (
        np.log10(frame["average_likes"] + 1)
        + 0.5 * np.log10(frame["followers_counts"] + 1)
        + 0.5 * np.log10(frame["daily_posts"])
    )
    return np.array(score, dtype=np.float64)
