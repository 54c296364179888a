"""Lost chains are started again for as long as they get on."""

from __future__ import annotations

from rddg_ray.runtime.restarts import Restarts


def test_pauses_double_and_end_where_nothing_gets_on():
    restarts = Restarts()
    pauses = [restarts.pause_s(0, rounds=3) for _ in range(6)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, None]


def test_a_round_more_is_a_new_beginning():
    restarts = Restarts()
    assert [restarts.pause_s(0, rounds) for rounds in range(1, 50)] == [1.0] * 49


def test_rounds_that_are_told_again_after_a_restart_are_no_progress():
    restarts = Restarts()
    assert [restarts.pause_s(0, rounds) for rounds in (5, 2, 5)] == [1.0, 2.0, 4.0]


def test_chains_do_not_share_their_losses():
    restarts = Restarts()
    assert [restarts.pause_s(chain, 0) for chain in (0, 1, 0)] == [1.0, 1.0, 2.0]


def test_the_first_refusal_of_each_host_is_no_loss_and_the_second_is():
    restarts = Restarts()
    refused_by = [0, 1, 2, 0, 1, 2, 3]
    pauses = [restarts.pause_s(0, rounds=0, refused_by=host) for host in refused_by]
    assert pauses == [0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 0.0]
    assert restarts.pause_s(0, rounds=1, refused_by=0) == 0.0


def test_a_chain_that_takes_every_host_along_at_once_is_given_up():
    restarts, n_starts = Restarts(), 0
    while restarts.pause_s(0, rounds=0, refused_by=n_starts % 8) is not None:
        n_starts += 1
    assert n_starts == 8 + 5
