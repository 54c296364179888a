"""A chain as a pure state machine: it says what to ask and is told the answers.

An implementation opens no socket and no file, reads no clock and no environment variable,
and draws randomness only from `np.random.default_rng([random_state, chain, round])`. So a
chain that is told the same answers reaches the same state, on a laptop, in an actor, or
when it is replayed from a journal after a crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

State = TypeVar("State")
Question = TypeVar("Question")
Answer_contra = TypeVar("Answer_contra", contravariant=True)
Info_co = TypeVar("Info_co", covariant=True)


class Study(Protocol[State, Question, Answer_contra, Info_co]):
    """What a loop needs to know of a chain."""

    def start(self) -> State:
        """Return the state before anything is asked."""
        ...

    def is_done(self, state: State) -> bool:
        """Return whether nothing is left to ask."""
        ...

    def ask(self, state: State) -> list[Question]:
        """Return the questions of the next round; the same for the same state."""
        ...

    def tell(self, state: State, answers: Sequence[Answer_contra]) -> tuple[State, Info_co]:
        """Return the state after the answers to `ask(state)`, in that order, and its record."""
        ...
