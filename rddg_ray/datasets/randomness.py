"""Random generators from a `random_state`, with an error a user can read."""

from __future__ import annotations

from numbers import Integral

import numpy as np

from rddg_ray.errors import ConfigError


def checked_random_state(random_state: object) -> int:
    """Return `random_state` as an integer.

    Args:
        random_state: A whole number, 0 or greater.

    Returns:
        The same number as `int`.

    Raises:
        ConfigError: If it is anything else; NumPy would take None for fresh entropy, and a run
            could not be repeated.
    """
    is_whole = isinstance(random_state, Integral) and not isinstance(random_state, bool)
    if not is_whole or int(random_state) < 0:  # type: ignore[call-overload]  # is_whole holds
        raise ConfigError(
            f"random_state={random_state!r}: give a whole number, 0 or greater, so that the "
            f"same rows can be drawn again"
        )
    return int(random_state)  # type: ignore[call-overload, no-any-return]  # is_whole holds


def generator(random_state: object, *stream: int) -> np.random.Generator:
    """Return a random generator for one purpose.

    Args:
        random_state: A whole number, 0 or greater.
        stream: Numbers that name the purpose; they keep its draws apart from those of another.

    Returns:
        A generator; equal arguments give equal draws.

    Raises:
        ConfigError: If `random_state` is not a whole number, 0 or greater.
    """
    # NumPy takes [n] and [n, 0] for the same seed; a last 1 keeps every stream apart.
    return np.random.default_rng([checked_random_state(random_state), *stream, 1])
