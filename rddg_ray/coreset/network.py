"""The network of the paper's table 11, as a readable torch module.

    Input -> Attn -> Block(64) -> Block(32) -> Block(16) -> Linear(8) -> Linear(classes)

This module is the reference: what it computes is the definition, and `ensemble.py`
computes the very same function for many members at once.

NOTE[DIFF]: the paper names Attn and Block and says no more. Both follow the network the
authors published: attention over the features of one row with queries of the input's
width, a quarter as many keys and values, added to the input through a learned gate that
starts at 0; a block is a linear layer plus a linear bottleneck of half its width, leaky
ReLU of slope 0.2 and dropout of one half; nothing between the last two layers and no
normalisation anywhere, so a last batch of a single row is a batch like any other. The
authors draw weights from N(0, 0.02^2); we use U(+-1/sqrt(fan in)), torch's own default for
a linear layer, since with no normalisation the former shrinks the signal some 100 times
before the first step. Their networks for 128 inputs and more start with wider blocks;
table 11 has one network, and so have we.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

BLOCK_WIDTHS = (64, 32, 16)
HEAD_WIDTH = 8
SLOPE = 0.2
KEEP_SHARE = 0.5


def n_keys(n_features: int) -> int:
    """Return how many keys and values attention makes of a row with `n_features` cells."""
    return max(1, n_features // 4)


class Attention(nn.Module):
    """Attention over the cells of one row, gated onto the row itself.

    Query i looks at all keys of the same row: `out_i = x_i + gamma * sum_j w_ij v_j` with
    `w_i. = softmax_j(q_i k_j)`.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        keys = n_keys(n_features)
        self.sizes = [n_features, keys, keys]
        self.qkv = nn.Linear(n_features, sum(self.sizes))
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows with what they attend to added, `(n_rows, n_features)`."""
        q, k, v = torch.split(self.qkv(x), self.sizes, dim=1)
        # torch's softmax subtracts the largest score, so large cells cannot overflow it.
        weights = torch.softmax(q.unsqueeze(2) * k.unsqueeze(1), dim=2)
        attended = (weights * v.unsqueeze(1)).sum(dim=2)
        out: Tensor = x + self.gamma * attended
        return out


class Block(nn.Module):
    """A linear layer with a linear bottleneck beside it, leaky ReLU and dropout."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.widen = nn.Linear(n_in, n_out)
        self.squeeze = nn.Linear(n_out, n_out // 2)
        self.restore = nn.Linear(n_out // 2, n_out)
        self.dropout = nn.Dropout(1 - KEEP_SHARE)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return the block's output, `(n_rows, n_out)`.

        Args:
            x: Input, `(n_rows, n_in)`.
            keep: Dropout factors to use in place of a draw, `(n_rows, n_out)`: 0 where a
                unit is dropped, 1 / KEEP_SHARE where it is kept.
        """
        wide = self.widen(x)
        z = wide + self.restore(self.squeeze(wide))
        active = nn.functional.leaky_relu(z, SLOPE)
        out: Tensor = self.dropout(active) if keep is None else active * keep
        return out


class Network(nn.Module):
    """Rows to unnormalised class scores.

    Args:
        n_features: Width of the input.
        n_classes: Width of the output, at least 2.
    """

    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__()
        widths = (n_features, *BLOCK_WIDTHS)
        self.attention = Attention(n_features)
        self.blocks = nn.ModuleList(Block(n_in, n_out) for n_in, n_out in pairwise(widths))
        self.head = nn.Linear(BLOCK_WIDTHS[-1], HEAD_WIDTH)
        self.output = nn.Linear(HEAD_WIDTH, n_classes)

    def forward(self, x: Tensor, keep: Sequence[Tensor] | None = None) -> Tensor:
        """Return the logits, `(n_rows, n_classes)`; `keep` as in `Block`, one a block."""
        hidden = self.attention(x)
        for i, block in enumerate(self.blocks):
            hidden = block(hidden, None if keep is None else keep[i])
        logits: Tensor = self.output(self.head(hidden))
        return logits
