"""The chain (Algorithm 2) as a study: what to ask next, and what an answer means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from rddg_ray.batches import Positions, requests
from rddg_ray.chain_rules import tell_words
from rddg_ray.chain_state import (
    PROVENANCE,
    RoundInfo,
    State,
    accepted_frame,
    rejected_frame,
)
from rddg_ray.codes import Codes
from rddg_ray.config import GENERATIVE_METHODS, GenerationSettings
from rddg_ray.constraints import Verdict
from rddg_ray.errors import ConfigError, DataError
from rddg_ray.exchange import Completion, Phase, Prompt, Usage
from rddg_ray.method_parts import METHOD_PARTS
from rddg_ray.near_copies import CopyRates
from rddg_ray.parsing import RowParser
from rddg_ray.prompts import PromptWriter
from rddg_ray.reply_schema import reply_keys
from rddg_ray.round_feedback import RoundFeedback, wanted
from rddg_ray.row_rounds import RowRounds
from rddg_ray.rule_replies import RulesReader
from rddg_ray.shown_rows import ShownRows
from rddg_ray.table import Table
from rddg_ray.table_models import TableModels

EndReason = Literal["target", "rounds", "empty_rounds", "budget"]

# The default round limit: rounds that would do if every row were accepted, times a factor, plus
# some for small targets.
_ROUNDS_FACTOR, _SPARE_ROUNDS = 3, 20


class Synthesis:
    """A chain of relations, constraints and generation rounds (a `Study`).

    Which of these a method has, and in what form, `method_parts.METHOD_PARTS` says.
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
        user_rules: Sequence[Verdict] = (),
        models: TableModels | None = None,
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
            user_rules: A user's rules, verified on these rows (`constraints.user_rules`); rows
                are held to them by every method.
            models: Of this table under these settings, to be shared by many chains; made anew by
                default.

        Raises:
            ConfigError: If the method or a target class is unknown, or the random state negative.
            DataError: If a column has the name of a provenance column.
        """
        _check(table, method, random_state, targets)
        self._table = table
        self._settings = settings
        self._parts = METHOD_PARTS[method]
        self._targets = {label: targets.get(label, 0) for label in table.classes}
        self._max_rounds = settings.max_rounds or _default_rounds(self._targets, settings)
        self._shown = ShownRows(table, coreset, settings, random_state=random_state, chain=chain)
        columns = table.prompt_columns
        codes = Codes.draw(columns, random_state) if settings.codes else Codes()
        self._writer = PromptWriter(
            table,
            codes,
            temperature=settings.temperature,
            max_completion_tokens=_fixed_cap(settings),
            reply_format=settings.reply_format,
        )
        is_checked = self._parts.rules == "checked"
        self._rules = RulesReader(table, codes, user_rules, is_checked=is_checked)
        self._models = models or TableModels(table, settings)
        feedback = RoundFeedback(
            self._parts,
            self._models,
            settings,
            codes=codes,
            class_name=self._writer.class_name,
            rules=self._rules,
            target=table.target,
        )
        keys = reply_keys(columns) if settings.reply_format == "json_schema" else None
        parser = RowParser(columns, codes, table.classes, keys)
        self._rounds = RowRounds(
            columns,
            self._targets,
            parts=self._parts,
            models=self._models,
            parser=parser,
            feedback=feedback,
            settings=settings,
        )

    def start(self) -> State:
        """Return the state before anything is asked."""
        nothing = dict.fromkeys(self._targets, 0)
        phase: Phase = "relations" if self._parts.has_relations else "generation"
        return State(
            phase=phase,
            rules=self._rules.start(),
            counts=nothing,
            asked=dict(nothing),
            surplus=dict(nothing),
        )

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
        return self._rounds.shortfall(state)

    def ask(self, state: State) -> list[Prompt]:
        """Return the prompts of the next round; none if the chain is done."""
        if self.is_done(state):
            return []
        if state.phase == "relations":
            return [self._writer.relations(self._shown.for_relations())]
        if state.phase == "constraints":
            checkable = self._parts.rules == "checked"
            return [self._writer.constraints(state.relations, checkable=checkable)]
        return [
            self._writer.generation(
                self._shown.batch(state.n_generation_rounds, index),
                request,
                rules=state.rules.shown,
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
            requested = self._requests(state)
            shown = [self._positions(state, index) for index in range(len(answers))]
            return self._rounds.tell(state, told, info, answers, requested=requested, shown=shown)
        return tell_words(told, info, answers[0], self._rules)

    def rows_frame(self, state: State) -> pd.DataFrame:
        """Return the accepted rows (see `chain_state.accepted_frame`)."""
        return accepted_frame(state, self._table)

    def rejects_frame(self, state: State) -> pd.DataFrame:
        """Return the refused rows (see `chain_state.rejected_frame`)."""
        return rejected_frame(state)

    def rules_record(self, state: State) -> dict[str, Any]:
        """Return the rules and what became of each, as JSON values (`Rules.to_record`)."""
        return state.rules.to_record()

    def judge_lines(self) -> list[str]:
        """Return what the models that judge classes know of each, a line a class.

        Empty where the method has no such stage or it is switched off.
        """
        models = self._rounds.plausibility
        return [] if models is None else [str(judge) for judge in models.judges.values()]

    def natural_copies(self) -> CopyRates:
        """Return how many training rows have a copy among the other training rows."""
        return self._models.natural_copies

    def _requests(self, state: State) -> list[dict[str, int]]:
        settings, needs = self._settings, self.shortfall(state)
        most = self._rounds.rows_per_round
        by_rate = wanted(state, needs, most) if self._parts.has_rates else None
        return requests(
            needs,
            n_prompts=settings.batches_per_round,
            rows_per_class=settings.request_rows_per_class,
            accepted=state.counts,
            asked=state.asked,
            wanted=by_rate,
        )

    def _positions(self, state: State, index: int) -> Positions:
        """Return the positions of all rows that prompt `index` of the round shows."""
        batch = self._shown.batch(state.n_generation_rounds, index)
        return np.concatenate(list(batch.values()))

    def _cap(self, state: State, request: Mapping[str, int]) -> int | None:
        """Return the cap that is learned, or None where none is or too few replies were seen."""
        if self._settings.max_completion_tokens != "auto":
            return None
        return state.lengths.cap(sum(request.values()))

    def _n_prompts(self, state: State) -> int:
        if self.is_done(state):
            return 0
        return len(self._requests(state)) if state.phase == "generation" else 1


def _fixed_cap(settings: GenerationSettings) -> int | None:
    cap = settings.max_completion_tokens
    return None if cap == "auto" else cap


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
