"""The flat ensemble against the module that defines the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rddg_ray.coreset.ensemble import N_UNITS_WITH_DROPOUT, Ensemble
from rddg_ray.coreset.network import BLOCK_WIDTHS, Network

SHAPES = [(1, 2), (3, 2), (23, 2), (16, 6), (200, 3)]
N_MEMBERS = 3
N_ROWS = 29


def make_ensemble(n_features: int, n_classes: int) -> Ensemble:
    ensemble = Ensemble(n_features, n_classes, [np.random.default_rng(i) for i in range(N_MEMBERS)])
    # Attention starts switched off; switched on, an error in it would show.
    ensemble.attention.gamma[:] = torch.tensor([0.7, -1.3, 0.2]).view(-1, 1, 1)
    return ensemble


def make_reference(ensemble: Ensemble, member: int, n_features: int, n_classes: int) -> Network:
    network = Network(n_features, n_classes)
    network.load_state_dict(ensemble.state(member))
    return network


def make_batch(n_features: int, n_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features, class codes and dropout factors, one batch a member, rows last."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(N_MEMBERS, n_features, N_ROWS, generator=generator)
    y = torch.randint(n_classes, (N_MEMBERS, N_ROWS), generator=generator)
    shape = (N_MEMBERS, N_UNITS_WITH_DROPOUT, N_ROWS)
    return x, y, 2.0 * torch.randint(2, shape, generator=generator)


def one_hot_of(y: Tensor, n_classes: int) -> Tensor:
    return torch.nn.functional.one_hot(y, n_classes).float().transpose(1, 2).contiguous()


@pytest.mark.parametrize(("n_features", "n_classes"), SHAPES)
def test_logits_equal_those_of_the_module_with_the_same_weights(
    n_features: int, n_classes: int
) -> None:
    ensemble = make_ensemble(n_features, n_classes)
    x, _, _ = make_batch(n_features, n_classes)
    with torch.no_grad():
        logits = ensemble.logits(x)
        for member in range(N_MEMBERS):
            network = make_reference(ensemble, member, n_features, n_classes).eval()
            expected = network(x[member].T).T
            torch.testing.assert_close(logits[member], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n_features", "n_classes"), SHAPES)
def test_gradient_and_one_adam_step_equal_those_of_autograd_on_the_module(
    n_features: int, n_classes: int
) -> None:
    ensemble = make_ensemble(n_features, n_classes)
    x, y, keep = make_batch(n_features, n_classes)
    references = [
        make_reference(ensemble, member, n_features, n_classes) for member in range(N_MEMBERS)
    ]
    with torch.no_grad():
        ensemble.backward(x, one_hot_of(y, n_classes), keep)
        torch.optim.Adam([ensemble.parameters], lr=1e-3, fused=True).step()
    for member, network in enumerate(references):
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
        logits = network(x[member].T, torch.split(keep[member].T, BLOCK_WIDTHS, dim=1))
        torch.nn.functional.cross_entropy(logits, y[member]).backward()
        optimiser.step()
        state = ensemble.state(member)
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            # Adam's first step is the sign of the gradient: rounding decides where it is 0.
            clear = parameter.grad.abs() > 1e-6
            torch.testing.assert_close(
                state[name][clear], parameter.detach()[clear], rtol=0, atol=2e-6, msg=name
            )
        gradients = gradients_of(ensemble, member)
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(
                gradients[name], parameter.grad, rtol=1e-3, atol=1e-6, msg=name
            )


def gradients_of(ensemble: Ensemble, member: int) -> dict[str, Tensor]:
    """One member's gradients by name: its state, read with the gradient in place of weights."""
    with torch.no_grad():
        weights = ensemble.parameters.clone()
        ensemble.parameters.copy_(ensemble.parameters.grad)
        gradients = ensemble.state(member)
        ensemble.parameters.copy_(weights)
    return gradients


def test_the_module_has_the_layers_of_table_11_in_their_order() -> None:
    linear = [m for m in Network(27, 2).modules() if isinstance(m, torch.nn.Linear)]
    main_path = [(m.in_features, m.out_features) for m in (linear[1], linear[4], linear[7])]
    assert main_path == [(27, 64), (64, 32), (32, 16)]
    assert [(m.in_features, m.out_features) for m in linear[-2:]] == [(16, 8), (8, 2)]


def test_attention_with_one_key_adds_its_value_to_every_cell() -> None:
    # One key takes the whole softmax, so out = x + gamma v, whatever the queries are.
    network = Network(3, 2)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.attention.gamma.fill_(0.5)
        value = network.attention.qkv(x)[:, -1:]
        torch.testing.assert_close(network.attention(x), x + 0.5 * value)


def test_large_cells_do_not_overflow_the_softmax() -> None:
    ensemble = make_ensemble(16, 2)
    x = torch.full((N_MEMBERS, 16, 4), 1e4)
    with torch.no_grad():
        assert torch.isfinite(ensemble.logits(x)).all()


def test_first_weights_fill_the_interval_of_one_over_root_fan_in() -> None:
    state = make_ensemble(23, 2).state(0)
    weights = state["blocks.0.widen.weight"]
    bound = 23**-0.5
    assert weights.abs().max() <= bound
    # The largest of n uniform draws falls short of the bound by bound / n on average.
    assert weights.abs().max() > bound * (1 - 20 / weights.numel())
    # Standard deviation of U(-b, b) is b / sqrt 3; its relative error is about 0.45 / sqrt n.
    assert float(weights.std()) == pytest.approx(bound / 3**0.5, rel=4 * 0.45 / 1472**0.5)
