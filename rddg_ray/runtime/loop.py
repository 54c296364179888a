"""The loop that turns a study's questions into answers, wherever it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from rddg_ray.study import Study

State = TypeVar("State")
Question = TypeVar("Question")
Answer = TypeVar("Answer")
Info = TypeVar("Info")


async def run_study(
    study: Study[State, Question, Answer, Info],
    answer: Callable[[Question, int, int], Awaitable[Answer]],
    on_round: Callable[[State, Info], None] = lambda state, info: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> State:
    """Run a study to its end, or until it is asked to stop.

    Args:
        study: Says what to ask.
        answer: Called with a question, its round from 0 and its position in the round. The
            questions of a round are answered at the same time.
        on_round: Called after each round.
        should_stop: Asked before each round; once it says so, no more questions are asked.

    Returns:
        The last state.

    Raises:
        Exception: What `answer` raised first; answers already under way are awaited, so that
            what was paid for is on record.
    """
    state, round_ = study.start(), 0
    while not study.is_done(state) and not should_stop():
        waiting = [answer(question, round_, i) for i, question in enumerate(study.ask(state))]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        state, info = study.tell(state, _all_or_first_error(results))
        on_round(state, info)
        round_ += 1
    return state


def _all_or_first_error(results: Iterable[Answer | BaseException]) -> list[Answer]:
    answers: list[Answer] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        answers.append(result)
    return answers


def replay_study(
    study: Study[State, Question, Answer, Info],
    find: Callable[[Question, int, int], Answer | None],
    n_rounds: int,
    on_round: Callable[[State, Info], None] = lambda state, info: None,
) -> State:
    """Return the state after the answers on record, without asking for any.

    Args:
        study: Says what was asked.
        n_rounds: Rounds to replay at most.
        on_round: Called after each round.
        find: Called with a question, its round and its position; returns the answer, or None
            where there is none. The first round that lacks one ends the replay.
    """
    state, round_ = study.start(), 0
    while round_ < n_rounds and not study.is_done(state):
        answers: list[Answer] = []
        for position, question in enumerate(study.ask(state)):
            found = find(question, round_, position)
            if found is None:
                return state
            answers.append(found)
        state, info = study.tell(state, answers)
        on_round(state, info)
        round_ += 1
    return state
