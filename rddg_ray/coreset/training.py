"""Trains networks and keeps how each row's error varies while they learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rddg_ray.coreset.ensemble import Ensemble
from rddg_ray.coreset.layers import MEMBER_CELLS
from rddg_ray.coreset.network import n_keys
from rddg_ray.coreset.steps import Draws, EncodedTable, epoch_steps
from rddg_ray.errors import ConfigError, DataError


@dataclass(frozen=True)
class Training:
    """Settings of the score, checked; fields as the arguments of `difficulty`.

    Raises:
        ConfigError: If a field is out of range; names it.
    """

    random_states: tuple[int, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    early_window: tuple[float, float]
    late_window: tuple[float, float]
    ensemble_size: int
    n_threads: int | None
    device: str

    def __post_init__(self) -> None:
        states = self.random_states
        if not states or min(states) < 0 or len(set(states)) < len(states):
            raise ConfigError(f"random_states is {states}: give different integers from 0 up")
        for name in ("epochs", "batch_size", "learning_rate", "ensemble_size"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: give a number above 0")
        if self.n_threads is not None and self.n_threads < 1:
            raise ConfigError(f"n_threads is {self.n_threads}: give at least 1, or None")
        kind = self.device.partition(":")[0]
        if kind not in ("cpu", "cuda"):
            raise ConfigError(f'device is "{self.device}": give "cpu", "cuda" or "cuda:0"')
        if kind == "cuda" and not torch.cuda.is_available():
            raise ConfigError(f'device is "{self.device}" but torch sees no GPU: use "cpu"')
        for name in ("early_window", "late_window"):
            self.window(name)

    def window(self, name: str) -> range:
        """Return the epochs, counted from 0, of `early_window` or `late_window`.

        Raises:
            ConfigError: If the window lies outside [0, 1] or has fewer than two epochs.
        """
        start, stop = getattr(self, name)
        epochs = range(round(start * self.epochs), round(stop * self.epochs))
        if not 0 <= start < stop <= 1 or len(epochs) < 2:
            raise ConfigError(
                f"{name} is ({start:g}, {stop:g}) of {self.epochs} epochs: give a start and a stop "
                "in [0, 1] at least two epochs apart, or more epochs; one error has no variance"
            )
        return epochs


class RunningVariance:
    """Variance over updates, element by element, in float64 (Welford 1962)."""

    def __init__(self) -> None:
        self.n = 0
        self.mean = self.squares = torch.zeros(1, dtype=torch.float64)

    def update(self, values: Tensor) -> None:
        """Take one more observation of every element."""
        values = values.double()
        if not self.n:
            self.mean, self.squares = torch.zeros_like(values), torch.zeros_like(values)
        self.n += 1
        ahead = values - self.mean
        self.mean.add_(ahead, alpha=1 / self.n)
        self.squares.addcmul_(ahead, values - self.mean)

    def value(self) -> Tensor:
        """Return the variance with divisor n - 1."""
        return self.squares / (self.n - 1)


def score_rows(
    X: NDArray[np.float32], y: NDArray[np.int64], training: Training
) -> NDArray[np.float64]:
    """Return the difficulty of every row under every random state.

    After each epoch of the two windows every row passes through the network in evaluation
    mode, all rows under the same weights; what is kept is the squared distance between its
    softmax output and its one-hot class. Difficulty is the variance of that over the early
    window plus the variance over the late window.

    NOTE[DIFF]: algorithm 2 sums over early, middle and late stages while section 3.2 says
    early and late; we follow section 3.2. The paper does not give the stages' borders: thirds
    by default (the authors' script has the first and the last 10 of 100 epochs). That
    script fills errors by position in a shuffled loader, of logits, with dropout on; ours
    belong to the row, are of probabilities, and are taken without dropout. Adam's betas are
    torch's (0.9, 0.999): table 11 gives others for one data set only.

    Args:
        X: Checked features, `(n_rows, n_features)`.
        y: Checked class codes, `(n_rows,)`.
        training: The settings.

    Returns:
        Difficulties, `(n_random_states, n_rows)`.

    Raises:
        DataError: If training diverges; names the column with the largest value.

    References:
        RDDG, section 3.2, equation 3, appendix A.4; Hong et al. (2024).
    """
    # Rows in an order of their content: a row's batches then do not depend on where the
    # caller's table has it, and permuting the table permutes the scores exactly. Rows that
    # tie are equal, class included, and so have equal errors.
    order = np.lexsort((*X.T, y))
    scores = np.empty((len(training.random_states), len(X)))
    with cpu_settings(training.n_threads), torch.no_grad():
        table = EncodedTable(X[order], y[order], training.device)
        for start in range(0, len(scores), training.ensemble_size):
            chunk = slice(start, start + training.ensemble_size)
            scores[chunk, order] = _train(table, training, training.random_states[chunk])
    _check_finite(scores, X)
    return scores


@contextmanager
def cpu_settings(n_threads: int | None) -> Iterator[None]:
    """Let torch use `n_threads` threads, None for as many as before, and no denormals.

    More than one thread does not help at this size, and beside another busy process it
    costs tens of times the time. Once rows are learnt, gradients and Adam's squares of them
    fall below 1e-38, where a CPU computes many times slower: late steps on an easy table
    took three times as long. Rounding those to 0 leaves the ranking as it is. Both settings
    are put back at the end.
    """
    threads_before = torch.get_num_threads()
    flush_before = bool((torch.full((16,), 1e-39) * 1.0 == 0).all())
    torch.set_num_threads(n_threads or threads_before)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flush_before)
        torch.set_num_threads(threads_before)


def _train(
    table: EncodedTable, training: Training, random_states: Sequence[int]
) -> NDArray[np.float64]:
    """Train one ensemble and return its difficulties, `(n_members, n_rows)`."""
    draws = [Draws(random_state) for random_state in random_states]
    ensemble = Ensemble(
        table.n_features, table.n_classes, [d.weights for d in draws], training.device
    )
    optimiser = torch.optim.Adam([ensemble.parameters], lr=training.learning_rate, fused=True)
    windows = [training.window(name) for name in ("early_window", "late_window")]
    variances = [RunningVariance() for _ in windows]
    for epoch in range(max(window.stop for window in windows)):
        for x, one_hot, keep in epoch_steps(table, draws, training.batch_size):
            ensemble.backward(x, one_hot, keep)
            optimiser.step()
        recording = [v for v, window in zip(variances, windows, strict=True) if epoch in window]
        if recording:
            errors = row_errors(ensemble, table.features, table.one_hot)
            for variance in recording:
                variance.update(errors)
    total = torch.stack([variance.value() for variance in variances]).sum(0)
    difficulties: NDArray[np.float64] = total.cpu().numpy()
    return difficulties


def row_errors(ensemble: Ensemble, features: Tensor, one_hot: Tensor) -> Tensor:
    """Return the squared error of every row under every member, in evaluation mode.

    Args:
        ensemble: The networks.
        features: All rows, `(n_features, n_rows)`.
        one_hot: Their classes, `(n_classes, n_rows)`.

    Returns:
        `||softmax(logits) - one_hot||^2`, `(n_members, n_rows)`, in [0, 2].
    """
    n_features, n_rows = features.shape
    # The same weights for all rows; slices keep a pass in the cache. Their width must not
    # depend on the number of members, or it would show in the last bits of the scores.
    width = max(64, MEMBER_CELLS // (n_features * n_keys(n_features)))
    errors = []
    for start in range(0, n_rows, width):
        columns = slice(start, start + width)
        probability = torch.softmax(ensemble.logits(features[:, columns]), 1)
        errors.append(probability.sub_(one_hot[:, columns]).square_().sum(1))
    return torch.cat(errors, 1)


def _check_finite(scores: NDArray[np.float64], X: NDArray[np.float32]) -> None:
    if not np.isfinite(scores).all():
        column = int(np.abs(X).max(axis=0).argmax())
        raise DataError(
            f"training diverged; the largest value, {np.abs(X[:, column]).max():g}, is in column "
            f"{column} of X: standardise the columns first"
        )
