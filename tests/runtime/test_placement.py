"""Chains go to hosts that answer."""

from __future__ import annotations

import pytest

from rddg_ray.runtime.placement import Placement
from rddg_ray.runtime.restarts import Restarts


class Clock:
    """A clock that the test sets."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def placed(clock, n_hosts, heard=()):
    placement = Placement(n_hosts, clock)
    for host in heard:
        placement.heard(host, [])
    return placement


def test_each_chain_begins_on_a_host_of_its_own_turn(clock):
    placement = placed(clock, 4, heard=range(4))
    assert [placement.put(chain) for chain in range(6)] == [0, 1, 2, 3, 0, 1]


def test_a_first_host_is_awaited_for_a_minute_and_then_another_one_serves(clock):
    placement = placed(clock, 2, heard=[0])
    assert placement.put(1) is None
    clock.now_s = 59.0
    placement.heard(0, [])
    assert placement.put(1) is None
    clock.now_s = 60.0
    assert placement.put(1) == 0


def test_with_seven_of_eight_hosts_gone_every_chain_goes_on_and_none_is_given_up(clock):
    placement, restarts = placed(clock, 8, heard=range(8)), Restarts()
    for chain in range(8):
        placement.put(chain)
    placement.heard(0, [0])
    # All is lost in one moment, but only word of the first host's neighbours has come.
    for host in range(1, 5):
        placement.silent(host)
    for chain in range(1, 8):
        while (host := placement.put(chain)) != 0:
            at, is_begun = placement.end(chain)
            placement.silent(at)
            assert restarts.pause_s(chain, 0, refused_by=None if is_begun else host) == 0.0
    assert [restarts.pause_s(chain, 0) for chain in range(8)] == [1.0] * 8


def test_a_host_that_was_not_heard_of_for_5_s_gets_no_chain_until_it_is(clock):
    placement = placed(clock, 2, heard=[0, 1])
    placement.put(0)
    placement.end(0)
    clock.now_s = 5.1
    assert placement.put(0) is None
    placement.heard(0, [])
    assert placement.put(0) == 0


def test_a_lost_chain_goes_where_few_are_and_not_where_it_was_lost(clock):
    placement = placed(clock, 3, heard=range(3))
    for chain in range(4):  # the fourth one shares the first host
        placement.put(chain)
    assert placement.end(1) == (1, False)
    # Its own has no chain now, the last one has one, the first one two.
    assert placement.put(1) == 2
    placement.end(1)
    assert placement.put(1) == 1


def test_a_single_host_gets_back_what_it_lost(clock):
    placement = placed(clock, 1, heard=[0])
    placement.put(0)
    placement.end(0)
    assert placement.put(0) == 0


def test_a_chain_is_begun_once_its_host_says_so_and_anew_with_every_start(clock):
    placement = placed(clock, 2, heard=[0, 1])
    placement.put(0)
    placement.heard(1, [0])  # what another host knows of an earlier start
    assert placement.end(0) == (0, False)
    assert placement.put(0) == 1
    placement.heard(1, [0])
    assert placement.end(0) == (1, True)
    assert placement.put(0) == 0
    assert placement.end(0) == (0, False)


def test_hope_ends_when_no_host_answered_for_five_minutes(clock):
    placement = placed(clock, 2)
    clock.now_s = 290.0
    placement.heard(1, [])
    clock.now_s = 590.0
    assert not placement.is_hopeless
    clock.now_s = 590.1
    assert placement.is_hopeless
