"""Which rows a prompt shows: the hardest of each class, by the variance of their error.

`difficulty` scores rows, `select` takes the top of each class, `select_random` is the
paper's ablation. Importing this package does not import torch; the first score does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rddg_ray.coreset.selection import select, select_random

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

__all__ = ["difficulty", "difficulty_by_state", "select", "select_random"]

EARLY_WINDOW = (0.0, 1 / 3)
LATE_WINDOW = (2 / 3, 1.0)


def difficulty(
    X: ArrayLike,
    y: ArrayLike,
    *,
    random_states: Sequence[int] = (0, 1, 2),
    epochs: int = 100,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    early_window: tuple[float, float] = EARLY_WINDOW,
    late_window: tuple[float, float] = LATE_WINDOW,
    ensemble_size: int = 8,
    n_threads: int | None = 1,
    device: str = "cpu",
) -> NDArray[np.float64]:
    """Return the difficulty of every row, averaged over several random states.

    The mean over axis 0 of `difficulty_by_state`; see there for what is exact.

    Args:
        X: Encoded, standardised features without missing values, `(n_rows, n_features)`.
        y: Class codes 0 .. n_classes - 1, each with a row, `(n_rows,)`.
        random_states: One network is trained from each; at least 0 each, all different.
        epochs: Passes over the rows.
        batch_size: Rows a step.
        learning_rate: Adam's step size.
        early_window: Start and stop of the early window, as shares of the epochs.
        late_window: The same for the late window.
        ensemble_size: Networks trained at once; does not change scores. A training step
            holds about 4 * ensemble_size * batch_size * n_features**2 bytes.
        n_threads: torch threads while training, restored after; None leaves them alone.
        device: A torch device such as "cpu" or "cuda".

    Returns:
        Difficulty of each row, `(n_rows,)`, in [0, 4]; larger is harder. Windows of w epochs
        bound it by 2 w / (w - 1).

    Raises:
        DataError: If X or y cannot be trained on; names the column position and row.
        ConfigError: If a setting is out of range; names it.
    """
    scores = difficulty_by_state(
        X,
        y,
        random_states=random_states,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        early_window=early_window,
        late_window=late_window,
        ensemble_size=ensemble_size,
        n_threads=n_threads,
        device=device,
    )
    mean: NDArray[np.float64] = scores.mean(axis=0)
    return mean


def difficulty_by_state(
    X: ArrayLike,
    y: ArrayLike,
    *,
    random_states: Sequence[int] = (0, 1, 2),
    epochs: int = 100,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    early_window: tuple[float, float] = EARLY_WINDOW,
    late_window: tuple[float, float] = LATE_WINDOW,
    ensemble_size: int = 8,
    n_threads: int | None = 1,
    device: str = "cpu",
) -> NDArray[np.float64]:
    """Return the difficulty of every row under each random state on its own.

    Lets chunks of random states run as separate tasks and be averaged afterwards: a row
    of the result is the same, within float tolerance, whatever else is in the chunk.
    Rows are put in an order of their own content before training, so permuting the rows
    given permutes the scores and changes nothing else.

    Args:
        X: As for `difficulty`.
        y: As for `difficulty`.
        random_states: As for `difficulty`.
        epochs: As for `difficulty`.
        batch_size: As for `difficulty`.
        learning_rate: As for `difficulty`.
        early_window: As for `difficulty`.
        late_window: As for `difficulty`.
        ensemble_size: As for `difficulty`.
        n_threads: As for `difficulty`.
        device: As for `difficulty`.

    Returns:
        Difficulties, `(n_random_states, n_rows)`, in the order of `random_states`.

    Raises:
        DataError: If X or y cannot be trained on; names the column position and row.
        ConfigError: If a setting is out of range; names it.
    """
    from rddg_ray.coreset.inputs import check_table
    from rddg_ray.coreset.training import Training, score_rows

    training = Training(
        random_states=tuple(random_states),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        early_window=early_window,
        late_window=late_window,
        ensemble_size=ensemble_size,
        n_threads=n_threads,
        device=device,
    )
    return score_rows(*check_table(X, y), training)
