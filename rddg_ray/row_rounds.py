"""What the answers of a generation round become: rows, rejects, and what is said next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from rddg_ray.batches import Positions
from rddg_ray.chain_state import Accepted, RoundInfo, State
from rddg_ray.config import GenerationSettings
from rddg_ray.constraints import Enforcer
from rddg_ray.exchange import Completion
from rddg_ray.method_parts import MethodParts
from rddg_ray.novelty import RowKey, row_key
from rddg_ray.parsing import ParsedReply, RowParser
from rddg_ray.plausibility import Plausibility
from rddg_ray.reply_length import Told
from rddg_ray.round_feedback import RoundFeedback, rounds_left
from rddg_ray.schema import Column
from rddg_ray.sifting import Sieve
from rddg_ray.table_models import TableModels


class RowRounds:
    """Turns the answers of a chain's generation rounds into its next state."""

    def __init__(
        self,
        columns: Sequence[Column],
        targets: Mapping[str, int],
        *,
        parts: MethodParts,
        models: TableModels,
        parser: RowParser,
        feedback: RoundFeedback,
        settings: GenerationSettings,
    ) -> None:
        """Prepare a chain.

        Args:
            columns: Target and features (`Table.prompt_columns`).
            targets: Rows to add, by class, all of them named.
            parts: Of the chain's method.
            models: Of the table.
            parser: Reads replies.
            feedback: Writes the report on a round.
            settings: What is accepted.
        """
        self._columns = columns
        self._targets = targets
        self._parser = parser
        self._models = models
        self._feedback = feedback
        self._parts = parts
        self._settings = settings
        # Keys of the accepted rows of the latest state, so that a round need not redo them all.
        self._known: tuple[tuple[Accepted, ...], set[RowKey]] = ((), set())

    @property
    def plausibility(self) -> Plausibility | None:
        """Return the models that judge classes; None where nothing does."""
        is_judged = self._parts.is_judged and self._settings.plausibility.enabled
        return self._models.plausibility if is_judged else None

    @property
    def rows_per_round(self) -> int:
        """Return the most rows of one class that a round can ask for."""
        return self._settings.batches_per_round * self._settings.request_rows_per_class

    def shortfall(self, state: State) -> dict[str, int]:
        """Return how many rows of each class are lacking."""
        return {
            label: max(target - state.counts.get(label, 0), 0)
            for label, target in self._targets.items()
        }

    def tell(
        self,
        state: State,
        told: State,
        info: RoundInfo,
        answers: Sequence[Completion],
        *,
        requested: Sequence[Mapping[str, int]],
        shown: Sequence[Positions],
    ) -> tuple[State, RoundInfo]:
        """Return the state and the record after a round of rows.

        Args:
            state: Before the round.
            told: The same with the round counted and paid for.
            info: What is on record of the round already.
            answers: To its prompts, in order.
            requested: Rows that each prompt asked for, by class.
            shown: Positions of the real rows that each prompt showed.
        """
        known = self._known_keys(state)
        replies = [self._parser.parse(answer.text, answer.finish_reason) for answer in answers]
        # Models are fitted when there is something to judge: a preview of prompts needs none.
        has_rows = any(reply.rows for reply in replies)
        sieve = self._sieve(state, known, self.plausibility if has_rows else None)
        sieve.sift(replies, state.round, [self._keys_of(positions) for positions in shown])
        asked: Counter[str] = Counter()
        for request in requested:
            asked.update(request)
        told = self._after(state, told, sieve, asked)
        if self._settings.max_completion_tokens == "auto":
            told = replace(told, lengths=state.lengths.after(_lengths(requested, replies, answers)))
        needs = self.shortfall(told)
        n_left = rounds_left(told, needs, self.rows_per_round)
        report = self._feedback.after(state, sieve, shown, needs, n_left)
        told = replace(told, feedback=report.text, calibration=report.calibration)
        known |= sieve.seen
        self._known = (told.accepted, known)
        return told, replace(
            info,
            requested=dict(asked),
            accepted=sieve.taken,
            rejected=sieve.reasons,
            n_prompt_copies=sieve.n_prompt_copies,
            judged=dict(sieve.n_judged),
            implausible=dict(sieve.implausible),
            quality=report.quality,
            feedback=told.feedback,
            notes=_notes(answers),
            calibration=report.record,
        )

    def _sieve(self, state: State, known: Set[RowKey], plausibility: Plausibility | None) -> Sieve:
        settings = self._settings
        return Sieve(
            self._columns,
            self.shortfall(state),
            None if settings.allow_copies else self._models,
            known,
            settings.allow_repeats,
            Enforcer(self._columns, [verdict.rule for verdict in state.rules.kept]),
            plausibility,
        )

    def _keys_of(self, positions: Positions) -> frozenset[RowKey]:
        return frozenset([self._models.keys[int(at)] for at in positions])

    def _after(self, state: State, told: State, sieve: Sieve, asked: Mapping[str, int]) -> State:
        taken = sieve.taken
        return replace(
            told,
            n_generation_rounds=state.n_generation_rounds + 1,
            accepted=(*state.accepted, *sieve.accepted),
            rejected=(*state.rejected, *sieve.rejected),
            counts={label: n_rows + taken[label] for label, n_rows in state.counts.items()},
            asked={label: n_rows + asked[label] for label, n_rows in state.asked.items()},
            surplus={
                label: n_rows + sieve.surplus[label] for label, n_rows in state.surplus.items()
            },
            empty_rounds=0 if any(taken.values()) else state.empty_rounds + 1,
        )

    def _known_keys(self, state: State) -> set[RowKey]:
        accepted, keys = self._known
        if accepted is state.accepted:
            return keys
        return {row_key(self._columns, row) for batch in state.accepted for row in batch.values}


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
