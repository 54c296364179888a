"""The layers of `network.py` for all members of an ensemble, backward passes written out.

Arrays are laid out members x units x rows: a layer is one batched product, and the rows of
a batch are the contiguous axis that attention's softmax runs along.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rddg_ray.coreset.network import SLOPE, n_keys

MEMBER_CELLS = 2**15  # attention weights a member handles at once; 8 members take 1 MB


class FlatLinear:
    """One linear layer of every member; its tensors are views of the flat vectors.

    The ensemble sets the tensors once it knows how long the flat vectors are.

    Attributes:
        weight: `(n_members, n_out, n_in)`; `d_weight` its gradient.
        bias: `(n_members, n_out, 1)`; `d_bias` its gradient.
    """

    weight: Tensor
    bias: Tensor
    d_weight: Tensor
    d_bias: Tensor

    def __init__(self, n_in: int, n_out: int) -> None:
        self.n_in, self.n_out = n_in, n_out

    def __call__(self, x: Tensor) -> Tensor:
        """Return `weight @ x + bias`, `(n_members, n_out, n_rows)`."""
        return torch.baddbmm(self.bias, self.weight, x)

    def backward(self, d_out: Tensor, x: Tensor) -> None:
        """Write the gradients of weight and bias, given that of the output."""
        torch.bmm(d_out, x.transpose(1, 2), out=self.d_weight)
        torch.sum(d_out, 2, keepdim=True, out=self.d_bias)

    def pull(self, d_out: Tensor) -> Tensor:
        """Return the gradient of the input, given that of the output."""
        return torch.bmm(self.weight.transpose(1, 2), d_out)


class AttentionTape(NamedTuple):
    """What attention's backward pass needs of its forward pass."""

    x: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    weights: tuple[Tensor, ...]
    attended: Tensor


class FlatAttention:
    """`network.Attention` of every member.

    Attributes:
        gamma: `(n_members, 1, 1)`, set by the ensemble; `d_gamma` its gradient.
    """

    gamma: Tensor
    d_gamma: Tensor

    def __init__(self, n_features: int) -> None:
        keys = n_keys(n_features)
        self.sizes = [n_features, keys, keys]
        self.qkv = FlatLinear(n_features, sum(self.sizes))

    def __call__(self, x: Tensor) -> tuple[Tensor, AttentionTape]:
        """Return the output, shaped like `x`, and what `backward` needs."""
        q, k, v = torch.split(self.qkv(x), self.sizes, dim=1)
        pieces = [_attend(piece, k, v) for piece in self._pieces(q)]
        weights, attended = zip(*pieces, strict=True)
        tape = AttentionTape(x, q, k, v, weights, torch.cat(attended, 1))
        return torch.addcmul(x, self.gamma, tape.attended), tape

    def backward(self, d_out: Tensor, tape: AttentionTape) -> None:
        """Write the gradients; the input is data and needs none."""
        torch.sum(d_out * tape.attended, (1, 2), keepdim=True, out=self.d_gamma)
        d_q = []
        d_k, d_v = torch.zeros_like(tape.k), torch.zeros_like(tape.v)
        d_attended = self.gamma * d_out
        pieces = (self._pieces(per_query) for per_query in (tape.q, tape.attended, d_attended))
        for weights, q, attended, d_piece in zip(tape.weights, *pieces, strict=True):
            share = weights * d_piece.unsqueeze(1)
            d_v += share.sum(2)
            # Softmax's derivative: the score ij moves out_i by w_ij (v_j - attended_i).
            share *= tape.v.unsqueeze(2) - attended.unsqueeze(1)
            d_k += (share * q.unsqueeze(1)).sum(2)
            d_q.append(share.mul_(tape.k.unsqueeze(2)).sum(1))
        self.qkv.backward(torch.cat((*d_q, d_k, d_v), 1), tape.x)

    def _pieces(self, per_query: Tensor) -> tuple[Tensor, ...]:
        """Cut along the queries so that the weights of a piece stay in the cache."""
        cells_a_query = self.sizes[1] * per_query.shape[2]
        return torch.split(per_query, max(1, MEMBER_CELLS // cells_a_query), dim=1)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights, members x keys x queries x rows, and what the queries get.

    In this layout the sums over keys run along contiguous rows. The largest score is
    subtracted first, so that large cells cannot overflow.
    """
    weights = q.unsqueeze(1) * k.unsqueeze(2)
    weights -= weights.amax(1, keepdim=True)
    weights.exp_()
    weights /= weights.sum(1, keepdim=True)
    return weights, (weights * v.unsqueeze(2)).sum(1)


class FlatBlock:
    """`network.Block` of every member."""

    def __init__(self, n_in: int, n_out: int) -> None:
        self.widen = FlatLinear(n_in, n_out)
        self.squeeze = FlatLinear(n_out, n_out // 2)
        self.restore = FlatLinear(n_out // 2, n_out)

    def __call__(self, x: Tensor, keep: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the output and what `backward` needs; no `keep` means no dropout."""
        wide = self.widen(x)
        narrow = self.squeeze(wide)
        z = self.restore(narrow).add_(wide)
        if keep is None:
            return torch.nn.functional.leaky_relu_(z, SLOPE), ()
        # The operator autograd itself uses: keep * (1 where z > 0 else SLOPE), in one pass.
        factor = torch.ops.aten.leaky_relu_backward(keep, z, SLOPE, False)
        return z.mul_(factor), (x, wide, narrow, factor)

    def backward(self, d_out: Tensor, tape: tuple[Tensor, ...]) -> Tensor:
        """Write the gradients of the layers and return that of the input."""
        x, wide, narrow, factor = tape
        d_z = d_out.mul_(factor)
        self.restore.backward(d_z, narrow)
        d_narrow = self.restore.pull(d_z)
        self.squeeze.backward(d_narrow, wide)
        d_wide = self.squeeze.pull(d_narrow).add_(d_z)
        self.widen.backward(d_wide, x)
        return self.widen.pull(d_wide)
