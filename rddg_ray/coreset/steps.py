"""The batches and dropout masks that training runs through, made many steps at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rddg_ray.coreset.ensemble import N_UNITS_WITH_DROPOUT
from rddg_ray.coreset.network import KEEP_SHARE

STEPS_PREPARED = 16  # enough to hide the cost of making them, few enough to stay in cache


class EncodedTable:
    """Features and one-hot classes side by side on the device.

    Attributes:
        rows: `(n_rows, n_features + n_classes)`, from which batches are gathered.
        features: `(n_features, n_rows)`, for passes over all rows.
        one_hot: `(n_classes, n_rows)`.
    """

    def __init__(
        self, X: NDArray[np.float32], y: NDArray[np.int64], device: str | torch.device = "cpu"
    ) -> None:
        self.n_rows, self.n_features = X.shape
        self.n_classes = int(y.max()) + 1
        one_hot = np.eye(self.n_classes, dtype=np.float32)[y]
        self.rows = torch.from_numpy(np.hstack((X, one_hot))).to(device)
        columns = self.rows.T.contiguous()
        self.features, self.one_hot = torch.split(columns, [self.n_features, self.n_classes])

    def batches(self, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return features and one-hot classes of the rows at `positions`.

        Args:
            positions: `(n_steps, n_members, n_batch_rows)`.

        Returns:
            `(n_steps, n_members, n_features, n_batch_rows)` and the same with `n_classes`.
        """
        index = torch.from_numpy(positions).to(self.rows.device)
        data = self.rows[index].transpose(-1, -2).contiguous()
        features, one_hot = torch.split(data, [self.n_features, self.n_classes], dim=2)
        return features, one_hot


class Draws:
    """The random draws of one random state, each kind from a stream of its own.

    What is drawn depends on the random state, the batch size and the table's size only,
    never on the ensemble around it.

    Attributes:
        weights: Draws the first weights.
        order: Draws the order of the rows in each epoch.
        masks: Draws the dropout masks.
    """

    def __init__(self, random_state: int) -> None:
        self.weights, self.order, self.masks = (
            np.random.default_rng([random_state, stream]) for stream in range(3)
        )

    def keep_bits(self, n_steps: int, n_rows: int) -> NDArray[np.uint8]:
        """Return fair bits for dropout, `(n_steps, N_UNITS_WITH_DROPOUT, n_rows)`.

        One bit a unit is why the share kept is fixed at one half: drawing a float for every
        unit costs as much as a good part of the training step itself.
        """
        n_bits = N_UNITS_WITH_DROPOUT * n_rows
        words = self.masks.integers(0, 2**64, (n_steps, -(-n_bits // 64)), dtype=np.uint64)
        bits = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1)[:, :n_bits]
        return bits.reshape(n_steps, N_UNITS_WITH_DROPOUT, n_rows)


def epoch_steps(
    table: EncodedTable, draws: Sequence[Draws], batch_size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the steps of one epoch as `Ensemble.backward` takes them.

    Every row is in exactly one batch of each member. The last batch holds what is left, be
    it a single row, which a network without batch normalisation takes like any other.

    Args:
        table: The rows.
        draws: One a member; moved on by an epoch.
        batch_size: Rows a batch, at least 1.

    Yields:
        Features `(n_members, n_features, n_batch_rows)`, one-hot classes of the same form
        and dropout factors `(n_members, N_UNITS_WITH_DROPOUT, n_batch_rows)`.
    """
    for positions in _epoch_positions(table.n_rows, draws, batch_size):
        n_steps, _, n_batch_rows = positions.shape
        features, one_hot = table.batches(positions)
        bits = np.stack([draw.keep_bits(n_steps, n_batch_rows) for draw in draws], axis=1)
        keep = torch.from_numpy(bits).to(features.device, torch.float32).mul_(1 / KEEP_SHARE)
        yield from zip(features, one_hot, keep, strict=True)


def _epoch_positions(
    n_rows: int, draws: Sequence[Draws], batch_size: int
) -> Iterator[NDArray[np.int64]]:
    """Yield the row positions of up to STEPS_PREPARED steps, `(n_steps, n_members, rows)`."""
    orders = np.stack([draw.order.permutation(n_rows) for draw in draws])
    n_whole = n_rows // batch_size
    whole, rest = np.split(orders, [n_whole * batch_size], axis=1)
    steps = whole.reshape(len(draws), n_whole, batch_size).swapaxes(0, 1)
    for start in range(0, n_whole, STEPS_PREPARED):
        yield steps[start : start + STEPS_PREPARED].copy()
    if rest.size:
        yield rest[None].copy()
