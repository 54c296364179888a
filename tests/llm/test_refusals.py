"""One pause a burst; one more in flight or half as many."""

from __future__ import annotations

import pytest

from rddg_ray.llm.refusals import Bursts, Window


def test_all_refusals_within_the_pause_are_one_burst():
    bursts = Bursts()
    pauses = [bursts.refuse(now_s, 2.0) for now_s in (10.0, 10.1, 11.0, 11.9)]
    assert pauses == [2.0, 0.0, 0.0, 0.0]
    assert bursts.refuse(12.0, 2.0) == 2.0
    assert bursts.n_bursts == 2


def test_a_much_longer_wait_lengthens_the_pause_of_its_burst():
    bursts = Bursts()
    assert bursts.refuse(0.0, 1.0) == 1.0
    assert bursts.refuse(0.1, 30.0) == 29.0
    assert bursts.refuse(20.0, 30.0) == 0.0
    assert bursts.n_bursts == 1


@pytest.mark.parametrize("told_s", [None, 0.0])
def test_without_a_wait_named_the_pause_doubles_up_to_a_minute_and_calms_down(told_s):
    bursts, now_s, pauses = Bursts(), 0.0, []
    for _ in range(8):
        pauses.append(bursts.refuse(now_s, told_s))
        now_s += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert bursts.refuse(now_s + 121.0, told_s) == 1.0


def test_a_server_cannot_ask_for_a_day():
    assert Bursts().refuse(0.0, 86_400.0) == 300.0


def test_the_window_doubles_a_round_until_refused_then_adds_one_a_round():
    window = Window(initial=4)
    for _ in range(4):
        window.succeed()
    assert window.size == 8
    window.back_off()
    assert window.size == 4
    # Each success adds 1 / size: a round of four adds a little under one.
    for _ in range(5):
        window.succeed()
    assert window.size == 5


def test_while_calls_wait_in_silence_the_window_opens_by_one_each_fifteenth_of_a_second():
    window = Window(initial=4)
    assert window.n_free(10.0, 0, 3) == 3
    # Nobody waited until now, so the time before counts for nothing.
    assert window.n_free(20.0, 3, 9) == 1
    for step in range(1, 25):
        window.n_free(20.0 + step / 8, 999, 1)
    assert window.size == 4 + 45


def test_a_long_pause_between_two_questions_opens_little():
    window = Window(initial=4)
    assert window.n_free(0.0, 4, 9) == 0
    assert window.n_free(60.0, 4, 9) == 2


def test_once_refused_the_window_opens_by_successes_alone():
    window = Window(initial=4)
    window.back_off()
    assert window.n_free(0.0, 2, 9) == 0
    assert window.n_free(0.1, 2, 9) == 0
    assert window.size == 2


def test_a_window_far_wider_than_what_is_in_flight_is_halved_from_there():
    window = Window(initial=1024)
    window.back_off(n_in_flight=60)
    assert window.size == 30


def test_the_window_stays_within_one_and_its_maximum():
    window = Window(initial=1, maximum=3)
    for _ in range(9):
        window.succeed()
    assert window.size == 3
    for _ in range(9):
        window.back_off()
    assert window.size == 1
    with pytest.raises(ValueError, match="initial"):
        Window(initial=0)
