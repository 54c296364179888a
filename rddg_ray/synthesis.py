"""The chain (Algorithm 2) as a study: what to ask next, and what an answer means."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from rddg_ray.batches import Positions, ReferenceBatches, requests
from rddg_ray.chain_state import (
    PROVENANCE,
    Accepted,
    RoundInfo,
    State,
    accepted_frame,
    rejected_frame,
)
from rddg_ray.codes import Codes
from rddg_ray.config import GENERATIVE_METHODS, GenerationSettings
from rddg_ray.constraints import Rules
from rddg_ray.errors import ConfigError, DataError
from rddg_ray.exchange import Completion, Phase, Prompt, Usage
from rddg_ray.feedback import FeedbackWriter
from rddg_ray.measuring import Gauge
from rddg_ray.novelty import Row, RowKey, row_key
from rddg_ray.parsing import ParsedReply, RowParser
from rddg_ray.prompts import PromptWriter
from rddg_ray.quality import Quality, compare
from rddg_ray.reply_length import Told
from rddg_ray.reply_lines import prose
from rddg_ray.reply_schema import reply_keys
from rddg_ray.sifting import Sieve
from rddg_ray.table import Table

EndReason = Literal["target", "rounds", "empty_rounds", "budget"]

# The default round limit: rounds that would do if every row were accepted, times a factor, plus
# some for small targets.
_ROUNDS_FACTOR, _SPARE_ROUNDS = 3, 20

# Of relations or rules; strong models write some 5,000. A reply of a megabyte, quoted in every
# later prompt, would be paid for again and again.
_MAX_QUOTED_CHARACTERS = 20_000


class Synthesis:
    """A chain of relations, constraints and generation rounds (a `Study`).

    Methods: `epic` generates only, without rules and feedback; `rddg` is the whole chain;
    `rddg_no_feedback` drops the report; `rddg_random_coreset` is `rddg` with a coreset that the
    caller drew at random.
    """

    def __init__(
        self,
        table: Table,
        coreset: Sequence[int] | None,
        settings: GenerationSettings,
        *,
        method: str,
        random_state: int,
        targets: Mapping[str, int],
        chain: int = 0,
    ) -> None:
        """Prepare a chain.

        Args:
            table: The training rows.
            coreset: Positions of the rows to draw from for relations; repeats count once. None
                draws from all rows.
            settings: What to ask for and what to accept.
            method: One of `config.GENERATIVE_METHODS`.
            random_state: Seeds codes, shuffles and draws, at least 0.
            targets: Rows to add by class (`batches.targets`).
            chain: Number of the chain; chains of one random state draw differently.

        Raises:
            ConfigError: If the method or a target class is unknown, or the random state negative.
            DataError: If a column has the name of a provenance column.
        """
        _check(table, method, random_state, targets)
        self._table = table
        self._settings = settings
        self._seed = (random_state, chain)
        self._has_rules = method != "epic"
        self._has_feedback = method in ("rddg", "rddg_random_coreset")
        self._targets = {label: targets.get(label, 0) for label in table.classes}
        self._max_rounds = settings.max_rounds or _default_rounds(self._targets, settings)
        self._rows = {label: np.flatnonzero(table.labels == label) for label in table.classes}
        self._coreset = self._rows if coreset is None else self._by_class(coreset)
        self._columns = table.prompt_columns
        codes = Codes.draw(self._columns, random_state) if settings.codes else Codes()
        self._writer = PromptWriter(
            table,
            codes,
            temperature=settings.temperature,
            max_completion_tokens=_fixed_cap(settings),
            reply_format=settings.reply_format,
        )
        is_json = settings.reply_format == "json_schema"
        keys = reply_keys(self._columns) if is_json else None
        self._parser = RowParser(self._columns, codes, table.classes, keys)
        self._batches = ReferenceBatches(
            self._rows,
            settings.reference_rows_per_class,
            random_state=random_state,
            chain=chain,
        )
        self._real_keys = frozenset() if settings.allow_copies else frozenset(table.row_keys())
        self._gauge = Gauge(table.features, table.classes)
        self._measured = self._gauge.of_frame(table.frame, list(table.labels))
        self._feedback = FeedbackWriter(
            self._gauge, settings.feedback, codes, self._writer.class_name
        )
        # Keys of the accepted rows of the latest state, so that a round need not redo them all.
        self._known: tuple[tuple[Accepted, ...], set[RowKey]] = ((), set())

    def start(self) -> State:
        """Return the state before anything is asked."""
        nothing = dict.fromkeys(self._targets, 0)
        phase: Phase = "relations" if self._has_rules else "generation"
        return State(phase=phase, counts=nothing, asked=dict(nothing))

    def is_done(self, state: State) -> bool:
        """Return whether the targets are met or a limit is reached."""
        return self.ended_because(state) is not None

    def ended_because(self, state: State) -> EndReason | None:
        """Return why the chain ends here: its target or the limit met first; None if it goes on."""
        settings = self._settings
        if not any(self.shortfall(state).values()):
            return "target"
        if state.n_generation_rounds >= self._max_rounds:
            return "rounds"
        if state.empty_rounds >= settings.max_empty_rounds:
            return "empty_rounds"
        # A round is asked whole or not at all, so that what it asks hangs on no limit.
        n_next = len(self._requests(state)) if state.phase == "generation" else 1
        if settings.max_calls is not None and state.n_calls + n_next > settings.max_calls:
            return "budget"
        return None

    def shortfall(self, state: State) -> dict[str, int]:
        """Return how many rows of each class are lacking."""
        return {
            label: max(target - state.counts.get(label, 0), 0)
            for label, target in self._targets.items()
        }

    def ask(self, state: State) -> list[Prompt]:
        """Return the prompts of the next round; none if the chain is done."""
        if self.is_done(state):
            return []
        if state.phase == "relations":
            return [self._writer.relations(self._shown_for_relations())]
        if state.phase == "constraints":
            return [self._writer.constraints(state.relations)]
        return [
            self._writer.generation(
                self._batch(state, index),
                request,
                rules=state.rules.text,
                feedback=state.feedback,
                max_completion_tokens=self._cap(state, request),
            )
            for index, request in enumerate(self._requests(state))
        ]

    def tell(self, state: State, answers: Sequence[Completion]) -> tuple[State, RoundInfo]:
        """Return the state after the answers to `ask(state)`, in its order, and their record.

        Raises:
            ValueError: If there are not as many answers as prompts.
        """
        n_prompts = self._n_prompts(state)
        if len(answers) != n_prompts:
            raise ValueError(
                f"{len(answers)} answers to {n_prompts} prompts of round {state.round}"
            )
        usage = sum((answer.usage for answer in answers), Usage())
        told = replace(
            state,
            round=state.round + 1,
            n_calls=state.n_calls + len(answers),
            usage=state.usage + usage,
            model=answers[-1].model if answers else state.model,
        )
        info = RoundInfo(state.round, state.phase, n_prompts, usage=usage)
        if state.phase == "generation":
            return self._tell_rows(state, told, info, answers)
        return _tell_words(told, info, answers[0])

    def rows_frame(self, state: State) -> pd.DataFrame:
        """Return the accepted rows (see `chain_state.accepted_frame`)."""
        return accepted_frame(state, self._table)

    def rejects_frame(self, state: State) -> pd.DataFrame:
        """Return the refused rows (see `chain_state.rejected_frame`)."""
        return rejected_frame(state)

    def _by_class(self, positions: Sequence[int]) -> dict[str, Positions]:
        unique = np.unique(np.asarray(positions, dtype=np.int64))
        labels = self._table.labels[unique]
        # A class that the coreset leaves out would leave the model without an example of it.
        return {
            label: unique[labels == label] if (labels == label).any() else rows
            for label, rows in self._rows.items()
        }

    def _shown_for_relations(self) -> dict[str, Positions]:
        rng = np.random.default_rng([*self._seed, 0])
        size = self._settings.relation_rows_per_class
        return {
            label: rng.choice(rows, size=min(size, len(rows)), replace=False)
            for label, rows in self._coreset.items()
        }

    def _batch(self, state: State, index: int) -> dict[str, Positions]:
        number = state.n_generation_rounds * self._settings.batches_per_round + index
        return self._batches.batch(number)

    def _requests(self, state: State) -> list[dict[str, int]]:
        settings = self._settings
        return requests(
            self.shortfall(state),
            n_prompts=settings.batches_per_round,
            rows_per_class=settings.request_rows_per_class,
            accepted=state.counts,
            asked=state.asked,
        )

    def _cap(self, state: State, request: Mapping[str, int]) -> int | None:
        """Return the cap that is learned, or None where none is or too few replies were seen."""
        if self._settings.max_completion_tokens != "auto":
            return None
        return state.lengths.cap(sum(request.values()))

    def _n_prompts(self, state: State) -> int:
        if self.is_done(state):
            return 0
        return len(self._requests(state)) if state.phase == "generation" else 1

    def _tell_rows(
        self, state: State, told: State, info: RoundInfo, answers: Sequence[Completion]
    ) -> tuple[State, RoundInfo]:
        known = self._known_keys(state)
        sieve = Sieve(
            self._columns,
            self.shortfall(state),
            self._real_keys,
            known,
            self._settings.allow_repeats,
        )
        replies = [self._parser.parse(answer.text, answer.finish_reason) for answer in answers]
        for index, reply in enumerate(replies):
            sieve.sift(reply, state.round, index)
        requested = self._requests(state)
        asked: Counter[str] = Counter()
        for request in requested:
            asked.update(request)
        quality = self._quality(state, sieve.fresh, len(answers))
        told = self._after(state, told, sieve, asked)
        if self._settings.max_completion_tokens == "auto":
            told = replace(told, lengths=state.lengths.after(_lengths(requested, replies, answers)))
        told = replace(told, feedback=self._feedback.write(quality) if quality else "")
        known |= sieve.seen
        self._known = (told.accepted, known)
        return told, replace(
            info,
            requested=dict(asked),
            accepted=sieve.taken,
            rejected=sieve.reasons,
            quality=quality,
            feedback=told.feedback,
            notes=_notes(answers),
        )

    def _after(self, state: State, told: State, sieve: Sieve, asked: Mapping[str, int]) -> State:
        taken = sieve.taken
        return replace(
            told,
            n_generation_rounds=state.n_generation_rounds + 1,
            accepted=(*state.accepted, *sieve.accepted),
            rejected=(*state.rejected, *sieve.rejected),
            counts={label: n_rows + taken[label] for label, n_rows in state.counts.items()},
            asked={label: n_rows + asked[label] for label, n_rows in state.asked.items()},
            empty_rounds=0 if any(taken.values()) else state.empty_rounds + 1,
        )

    def _known_keys(self, state: State) -> set[RowKey]:
        accepted, keys = self._known
        if accepted is state.accepted:
            return keys
        return {row_key(self._columns, row) for batch in state.accepted for row in batch.values}

    def _quality(self, state: State, rows: Sequence[Row], n_prompts: int) -> Quality | None:
        """Return the round's new rows against all that its prompts showed."""
        if not self._has_feedback or not rows:
            return None
        shown = [at for index in range(n_prompts) for at in self._batch(state, index).values()]
        real = self._measured.take(np.unique(np.concatenate(shown)))
        return compare(real, self._gauge.of_rows(rows), self._gauge)


def _tell_words(told: State, info: RoundInfo, answer: Completion) -> tuple[State, RoundInfo]:
    words, notes = _words(prose(answer.text), info.phase)
    if info.phase == "relations":
        told = replace(told, phase="constraints", relations=words)
    else:
        told = replace(told, phase="generation", rules=Rules(words))
    return told, replace(info, notes=notes)


def _words(text: str, phase: Phase) -> tuple[str, tuple[str, ...]]:
    """Return words fit to be quoted in every prompt to come, and notes on what is wrong."""
    if not text:
        return text, (f"the reply on {phase} is empty; the chain goes on without",)
    if len(text) <= _MAX_QUOTED_CHARACTERS:
        return text, ()
    note = f"of {len(text)} characters on {phase} the first {_MAX_QUOTED_CHARACTERS} are used"
    return text[:_MAX_QUOTED_CHARACTERS], (note,)


def _fixed_cap(settings: GenerationSettings) -> int | None:
    cap = settings.max_completion_tokens
    return None if cap == "auto" else cap


def _lengths(
    requested: Sequence[Mapping[str, int]],
    replies: Sequence[ParsedReply],
    answers: Sequence[Completion],
) -> list[Told]:
    return [
        Told(sum(request.values()), len(reply.rows) + len(reply.rejects), answer)
        for request, reply, answer in zip(requested, replies, answers, strict=True)
    ]


def _notes(answers: Sequence[Completion]) -> tuple[str, ...]:
    return tuple(
        [
            f"prompt {index}: the reply is empty (finish reason {answer.finish_reason!r})"
            for index, answer in enumerate(answers)
            if not answer.text.strip()
        ]
    )


def _default_rounds(targets: Mapping[str, int], settings: GenerationSettings) -> int:
    a_round = settings.request_rows_per_class * settings.batches_per_round
    needed = math.ceil(max(targets.values(), default=0) / a_round)
    return _ROUNDS_FACTOR * needed + _SPARE_ROUNDS


def _check(table: Table, method: str, random_state: int, targets: Mapping[str, int]) -> None:
    if method not in GENERATIVE_METHODS:
        raise ConfigError(f"method: {method!r} is not one of {list(GENERATIVE_METHODS)}")
    if random_state < 0:
        raise ConfigError(f"random_state: {random_state} is below 0")
    for label in targets:
        if label not in table.class_counts:
            raise ConfigError(f"targets: there is no class {label!r}; classes: {table.classes}")
    for name in table.schema.names:
        if name in PROVENANCE:
            raise DataError(
                f"{table.name}: column {name!r} has the name of a column that says where a "
                "synthetic row came from; rename it"
            )
