"""Many networks of `network.py` at once, on flat parameters.

At batches of 64 rows a small network's time is Python and dispatch, not arithmetic. So
every layer of all members is one `baddbmm`, all parameters lie in one vector (one fused
Adam step for everybody) and the backward pass is written out: no graph is built, gradients
go straight into the flat gradient (`layers.py`).

Members never mix: each one's weights and gradients are those it would have alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from rddg_ray.coreset.layers import FlatAttention, FlatBlock, FlatLinear
from rddg_ray.coreset.network import BLOCK_WIDTHS, HEAD_WIDTH

N_UNITS_WITH_DROPOUT = sum(BLOCK_WIDTHS)
SIMD_NUMBERS = 64  # a multiple of the float32 numbers any SIMD register holds


class Ensemble:
    """Networks with first weights from U(+-1/sqrt(fan in)) and attention switched off.

    Args:
        n_features: Width of the input.
        n_classes: Width of the output.
        generators: One a member; draws its first weights.
        device: Where the parameters live.

    Attributes:
        parameters: All weights of all members, one vector that an optimiser may hold; its
            `grad` is filled by `backward`.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        generators: Sequence[np.random.Generator],
        device: str | torch.device = "cpu",
    ) -> None:
        self.n_members = len(generators)
        widths = (n_features, *BLOCK_WIDTHS)
        self.attention = FlatAttention(n_features)
        self.blocks = [FlatBlock(*pair) for pair in pairwise(widths)]
        self.head = FlatLinear(BLOCK_WIDTHS[-1], HEAD_WIDTH)
        self.output = FlatLinear(HEAD_WIDTH, n_classes)
        self._allocate(device)
        self._initialise(generators)

    def logits(self, x: Tensor) -> Tensor:
        """Return the class scores of rows in evaluation mode.

        Args:
            x: Rows, `(n_features, n_rows)`, shown to every member, or
                `(n_members, n_features, n_rows)`.

        Returns:
            Logits, `(n_members, n_classes, n_rows)`.
        """
        hidden, _ = self.attention(x.expand(self.n_members, -1, -1))
        for block in self.blocks:
            hidden, _ = block(hidden, None)
        return self.output(self.head(hidden))

    def backward(self, x: Tensor, one_hot: Tensor, keep: Tensor) -> None:
        """Fill `parameters.grad` with the gradient of each member's mean cross-entropy.

        Args:
            x: A batch a member, `(n_members, n_features, n_rows)`.
            one_hot: Its classes, `(n_members, n_classes, n_rows)`.
            keep: Dropout factors, `(n_members, N_UNITS_WITH_DROPOUT, n_rows)`: 0 for a
                dropped unit, 1 / KEEP_SHARE for a kept one.
        """
        hidden, attention_tape = self.attention(x)
        tapes = []
        for block, factors in zip(
            self.blocks, torch.split(keep, list(BLOCK_WIDTHS), dim=1), strict=True
        ):
            hidden, tape = block(hidden, factors)
            tapes.append(tape)
        head = self.head(hidden)
        d_logits = torch.softmax(self.output(head), 1).sub_(one_hot).div_(x.shape[2])
        self.output.backward(d_logits, head)
        d_head = self.output.pull(d_logits)
        self.head.backward(d_head, hidden)
        d_hidden = self.head.pull(d_head)
        for block, tape in zip(reversed(self.blocks), reversed(tapes), strict=True):
            d_hidden = block.backward(d_hidden, tape)
        self.attention.backward(d_hidden, attention_tape)

    def state(self, member: int) -> dict[str, Tensor]:
        """Return a copy of one member's weights under the names of `network.Network`."""
        state = {"attention.gamma": self.attention.gamma[member].reshape(()).clone()}
        for name, layer in self._layers().items():
            state[f"{name}.weight"] = layer.weight[member].clone()
            state[f"{name}.bias"] = layer.bias[member].flatten().clone()
        return state

    def _layers(self) -> dict[str, FlatLinear]:
        layers = {"attention.qkv": self.attention.qkv}
        for i, block in enumerate(self.blocks):
            layers[f"blocks.{i}.widen"] = block.widen
            layers[f"blocks.{i}.squeeze"] = block.squeeze
            layers[f"blocks.{i}.restore"] = block.restore
        return layers | {"head": self.head, "output": self.output}

    def _allocate(self, device: str | torch.device) -> None:
        """Make the flat vectors and hand every layer its views, all members side by side."""
        layers = list(self._layers().values())
        shapes = [s for layer in layers for s in ((layer.n_out, layer.n_in), (layer.n_out, 1))]
        shapes.append((1, 1))
        sizes = [self.n_members * n_out * n_in for n_out, n_in in shapes]
        # Fused Adam rounds the last few numbers of a vector, those short of a SIMD register,
        # otherwise than the rest. Padding keeps all weights off that tail, or a member's
        # last bits would depend on how many others there are.
        sizes.append(-sum(sizes) % SIMD_NUMBERS)
        flat, d_flat = (torch.zeros(sum(sizes), device=device) for _ in range(2))
        self.parameters = torch.nn.Parameter(flat)
        self.parameters.grad = d_flat
        views = (
            (values.view(self.n_members, *shape), gradient.view(self.n_members, *shape))
            for shape, values, gradient in zip(
                shapes, torch.split(flat, sizes), torch.split(d_flat, sizes), strict=False
            )  # the padding has no shape
        )
        for layer in layers:
            layer.weight, layer.d_weight = next(views)
            layer.bias, layer.d_bias = next(views)
        self.attention.gamma, self.attention.d_gamma = next(views)

    def _initialise(self, generators: Sequence[np.random.Generator]) -> None:
        """Draw weights and biases from U(+-1/sqrt(fan in)); gamma stays 0."""
        for layer in self._layers().values():
            bound = layer.n_in**-0.5
            for member, rng in enumerate(generators):
                draw = rng.uniform(-bound, bound, (layer.n_out, layer.n_in + 1))
                values = torch.from_numpy(draw.astype(np.float32))
                layer.weight[member] = values[:, :-1]
                layer.bias[member] = values[:, -1:]
