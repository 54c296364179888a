"""Whole chains over rows of a table with tails, missing cells, counts and shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

MakeChain = Callable[..., Any]


@pytest.mark.slow
def test_a_faithful_endpoint_is_left_alone(chain: MakeChain) -> None:
    chains = [chain(state).run() for state in range(16)]
    share = np.mean([one.share_said() for one in chains])
    n_anything = np.mean([record.text != "" for one in chains for record in one.records])
    assert share <= 0.02  # far below the 0.15 allowed: one false alarm among some 80 summaries
    assert n_anything <= 0.25


@pytest.mark.slow
def test_an_untold_faithful_endpoint_raises_alarms_at_the_level(chain: MakeChain) -> None:
    chains = [chain(state, is_told=False).run(1, of=12) for state in range(150)]
    # Under no bias at all, a false-discovery rate is the rate of rounds with any discovery: 0.1.
    # Of 150 rounds its standard error is 0.0245.
    alarms = np.mean([record.text != "" for one in chains for record in one.records])
    assert alarms <= 0.1 + 3 * 0.0245


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.3, 1.0, 1.5])
@pytest.mark.parametrize("reads_change", [False, True])
def test_a_bias_of_the_means_is_learned_and_made_up_for(
    chain: MakeChain, gain: float, reads_change: bool
) -> None:
    chains = [chain(state, gain=gain, bias=0.5, reads_change=reads_change, follows=True).run()
              for state in range(4)]  # fmt: skip
    untold = [chain(state, bias=0.5, follows=True, is_told=False).run() for state in range(4)]
    errors = {kind: [np.mean([one.error(kind) for one in some]) for some in (chains, untold)]
              for kind in ("mean", "std", "correlation")}  # fmt: skip
    told, alone = errors["mean"]
    assert alone == pytest.approx(0.5, abs=0.06)
    # Less at a gain of 0.3, where it takes rounds to learn how hard to ask.
    assert told < (0.45 if gain < 1 else 0.2) * alone
    # Nothing else is paid for it but noise: within a fifth of a batch's own, 1 / sqrt(15).
    for kind in ("std", "correlation"):
        assert errors[kind][0] < errors[kind][1] + 0.2 / np.sqrt(15)
    # At a gain of 0.3 too little comes back to tell the readings apart every time.
    if gain >= 1:
        readings = {one.records[-1].reading for one in chains}
        assert readings == {"change" if reads_change else "value"}


@pytest.mark.slow
def test_a_faithful_endpoint_is_not_made_worse_by_what_it_is_told(chain: MakeChain) -> None:
    told = [chain(state, follows=True).run() for state in range(8)]
    alone = [chain(state, follows=True, is_told=False).run() for state in range(8)]
    for kind in ("mean", "std", "correlation", "share"):
        errors = [np.mean([one.error(kind) for one in some]) for some in (told, alone)]
        assert errors[0] < 1.15 * errors[1]


def test_the_share_by_which_rows_follow_their_reference_is_learned(chain: MakeChain) -> None:
    assert chain(0, follows=True).run(4).records[-1].follow > 0.8
    independent = chain(0)
    independent.follows = False
    assert independent.run(4).records[-1].follow == 0.5  # nothing was shown: the prior's
