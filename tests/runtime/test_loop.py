"""The loop asks, waits and tells; a replay tells without asking."""

from __future__ import annotations

import asyncio

import pytest

from rddg_ray.runtime.loop import replay_study, run_study


class Doubling:
    """Asks two numbers a round, three rounds long; its state is what it was told."""

    def start(self):
        return ()

    def is_done(self, state):
        return len(state) == 3

    def ask(self, state):
        return [10 * len(state), 10 * len(state) + 1]

    def tell(self, state, answers):
        return (*state, tuple(answers)), len(answers)


WHOLE = ((0, 2), (20, 22), (40, 42))


def test_questions_of_a_round_are_asked_at_once_and_told_in_order():
    flying = []

    async def answer(question, round_, position):
        flying.append((round_, position))
        await asyncio.sleep(0.02 * (1 - position))
        assert {(round_, 0), (round_, 1)} <= set(flying)
        return 2 * question

    told = []
    state = asyncio.run(run_study(Doubling(), answer, lambda state, info: told.append(info)))
    assert state == WHOLE
    assert told == [2, 2, 2]


def test_an_error_is_raised_after_the_other_answers_of_its_round_came():
    ended = []

    async def answer(question, round_, position):
        if position == 0:
            raise ValueError("no")
        await asyncio.sleep(0.02)
        ended.append(question)

    with pytest.raises(ValueError, match="no"):
        asyncio.run(run_study(Doubling(), answer))
    assert ended == [1]


@pytest.mark.parametrize("n_known", range(7))
def test_a_replay_ends_at_the_first_round_that_lacks_an_answer(n_known):
    known = [(round_, at) for round_ in range(3) for at in range(2)][:n_known]

    def find(question, round_, position):
        return 2 * question if (round_, position) in known else None

    assert replay_study(Doubling(), find, 100) == WHOLE[: n_known // 2]
