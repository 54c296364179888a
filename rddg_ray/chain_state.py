"""What a chain remembers: its state, the record of a round, and both as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from rddg_ray.calibration.diagnostics import CalibrationRecord
from rddg_ray.calibration.state import CalibrationState
from rddg_ray.constraints import Rules
from rddg_ray.exchange import Phase, Usage
from rddg_ray.novelty import Row
from rddg_ray.parsing import Reject
from rddg_ray.quality import Quality
from rddg_ray.relations import is_number
from rddg_ray.reply_length import ReplyLengths
from rddg_ray.table import Table

PROVENANCE = ("rddg_round", "rddg_index", "rddg_position")


@dataclass(frozen=True, slots=True)
class Accepted:
    """Rows taken from one reply.

    Attributes:
        round: Round of the chain, from 0.
        index: Prompt within the round, from 0.
        positions: Place of each row among the reply's rows, refused ones counted.
        values: Canonical values of each row in `Table.prompt_columns` order.
    """

    round: int
    index: int
    positions: tuple[int, ...]
    values: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Rows refused from one reply; the fields are those of `Accepted`."""

    round: int
    index: int
    rejects: tuple[Reject, ...]


@dataclass(frozen=True)
class State:
    """Where a chain stands. Never changed in place: `tell` returns another.

    Attributes:
        phase: What is asked next.
        round: Rounds told so far, the phases before generation included.
        n_generation_rounds: Generation rounds told so far.
        relations: The model's analysis; empty before it, or where the reply was empty.
        rules: The user's rules and the model's, checked on the real rows.
        feedback: Quality report on the last round, for the next one.
        accepted: Rows taken, one entry a reply that had any, in order.
        rejected: Rows refused, likewise.
        counts: Accepted rows by class.
        asked: Rows asked for by class.
        surplus: Valid rows by class that came when nothing lacked any more.
        n_calls: Completions told.
        empty_rounds: Generation rounds in a row without an accepted row.
        usage: Tokens of all completions.
        model: Model of the last completion, as the endpoint reports it.
        lengths: How long generation replies were, where a cap is learned from them.
        calibration: Where calibration stands; None before its first round and without it. Like
            all of the state it follows from the replies alone.
    """

    phase: Phase
    round: int = 0
    n_generation_rounds: int = 0
    relations: str = ""
    rules: Rules = field(default_factory=Rules)
    feedback: str = ""
    accepted: tuple[Accepted, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    asked: Mapping[str, int] = field(default_factory=dict)
    surplus: Mapping[str, int] = field(default_factory=dict)
    n_calls: int = 0
    empty_rounds: int = 0
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    lengths: ReplyLengths = field(default_factory=ReplyLengths)
    # Arrays, whose comparison is no boolean; the feedback that comes of them is compared.
    calibration: CalibrationState | None = field(default=None, compare=False)


@dataclass(frozen=True)
class RoundInfo:
    """The record of one round.

    Attributes:
        round: Round of the chain, from 0.
        phase: What was asked.
        n_prompts: Prompts of the round.
        requested: Rows asked for by class.
        accepted: Rows taken by class.
        rejected: Rows refused by reason.
        n_prompt_copies: Of the copies and near copies refused, those of rows that the prompt
            itself showed.
        judged: Rows by class that models judged the class of.
        implausible: Those of them that were refused.
        quality: The batch against its reference; None where Algorithm 1 compared nothing.
        feedback: What the next round is told.
        usage: Tokens of the round.
        notes: What went otherwise than it should, in words.
        calibration: What was learned of the endpoint; None where nothing was.
    """

    round: int
    phase: Phase
    n_prompts: int
    requested: Mapping[str, int] = field(default_factory=dict)
    accepted: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    n_prompt_copies: int = 0
    judged: Mapping[str, int] = field(default_factory=dict)
    implausible: Mapping[str, int] = field(default_factory=dict)
    quality: Quality | None = None
    feedback: str = ""
    usage: Usage = field(default_factory=Usage)
    notes: tuple[str, ...] = ()
    calibration: CalibrationRecord | None = field(default=None, compare=False)


def accepted_frame(state: State, table: Table) -> pd.DataFrame:
    """Return a chain's accepted rows in the order they were accepted.

    Args:
        state: Any state of the chain.
        table: The chain's training rows.

    Returns:
        Canonical cells of the features and the target in the schema's order, then
        `rddg_round`, `rddg_index` and `rddg_position` (integers) that say which reply, and
        which row of it, a row came from. Index 0, 1, ...
    """
    rows = [row for batch in state.accepted for row in batch.values]
    cells = {
        column.name: pd.Series(
            [row[at] for row in rows], dtype="float64" if is_number(column) else "str"
        )
        for at, column in enumerate(table.prompt_columns)
    }
    origins = [(b.round, b.index, p) for b in state.accepted for p in b.positions]
    ordered = {name: cells[name] for name in table.schema.names if name in cells}
    return pd.DataFrame(ordered | _origin_columns(origins))


def rejected_frame(state: State) -> pd.DataFrame:
    """Return a chain's refused rows: provenance, then `reason`, `detail` and `text`."""
    found = [(b.round, b.index, reject) for b in state.rejected for reject in b.rejects]
    words = {
        name: pd.Series([getattr(reject, name) for _, _, reject in found], dtype="str")
        for name in ("reason", "detail", "text")
    }
    origins = [(round_, index, reject.position) for round_, index, reject in found]
    return pd.DataFrame(_origin_columns(origins) | words)


def _origin_columns(origins: Sequence[tuple[int, int, int]]) -> dict[str, pd.Series]:
    columns = zip(*origins, strict=True) if origins else [()] * len(PROVENANCE)
    return {
        name: pd.Series(list(values), dtype="int64")
        for name, values in zip(PROVENANCE, columns, strict=True)
    }
