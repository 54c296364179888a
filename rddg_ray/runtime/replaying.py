"""From replies on record to all that is published of chains."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from rddg_ray.chain_state import RoundInfo, State
from rddg_ray.exchange import Completion, Prompt
from rddg_ray.llm.journal import find, read_replies
from rddg_ray.method_parts import METHOD_PARTS
from rddg_ray.runtime.chains import PROVENANCE, ChainSpec, ChainWork, build_study
from rddg_ray.runtime.loop import replay_study
from rddg_ray.runtime.recording import ChainRecorder
from rddg_ray.runtime.sharing import models_of
from rddg_ray.synthesis import Synthesis

Frames = dict[str, pd.DataFrame]


def kinds_of(method: str) -> tuple[str, ...]:
    """Return what is published of a method's chains: one folder of files for each kind."""
    is_calibrated = METHOD_PARTS[method].feedback == "calibrated"
    return ("rows", "rejects", "records", *(("calibration",) if is_calibrated else ()))


def replay_chain(
    work: ChainWork,
    spec: ChainSpec,
    study: Synthesis,
    on_round: Callable[[State, RoundInfo], None] = lambda state, info: None,
) -> State:
    """Return the chain's state after the rounds it was run for, from the replies on record.

    Raises:
        StoreError: If a call is on record with another prompt.
    """
    replies = read_replies(work.journal, spec.dataset, spec.name)
    fingerprint = work.settings.fingerprint()

    def answer(prompt: Prompt, round_: int, position: int) -> Completion | None:
        return find(replies, prompt, spec.call(round_, position), fingerprint, work.journal)

    return replay_study(study, answer, work.rounds[spec.name], on_round)


def replayed(work: ChainWork, specs: Sequence[ChainSpec]) -> Frames:
    """Replay chains of one table and method and return what is published of them, in order.

    Args:
        work: Says how far each chain went, and of which the calibration is written down.
        specs: Which chains, at least one.

    Returns:
        For each of `kinds_of` the method: `rows` in the table's output types, `rejects`,
        `records` (one row a chain) and `calibration` (see `recording.ChainRecorder`). All say
        where each row comes from.

    Raises:
        StoreError: If the replies on record are not those that the chains ask for.
    """
    # How far a chain went was decided by the limits of its day, not by today's.
    limits = {"max_rounds": sys.maxsize, "max_empty_rounds": sys.maxsize, "max_calls": None}
    generation = work.settings.generation.model_copy(update=limits)
    unlimited = work.settings.model_copy(update={"generation": generation})
    day = replace(work, settings=unlimited)
    found = [_replayed_one(day, spec) for spec in specs]
    return {kind: _joined([frames[kind] for frames in found]) for kind in found[0]}


def _replayed_one(work: ChainWork, spec: ChainSpec) -> Frames:
    table, settings = work.tables[spec.dataset], work.settings
    study = build_study(spec, table, work.coreset(spec), settings)
    kinds = kinds_of(spec.method)
    recorder = ChainRecorder(
        study,
        table,
        models_of(table, settings.generation),
        is_calibrated="calibration" in kinds and spec.name in work.recorded,
    )
    state = replay_chain(work, spec, study, recorder.on_round)
    frames = {
        "rows": table.to_output(study.rows_frame(state), n_before=spec.n_before),
        "rejects": study.rejects_frame(state),
        "records": recorder.record(state),
        "calibration": recorder.calibration(),
    }
    return {kind: _with_provenance(frames[kind], spec, state.model) for kind in kinds}


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    # A frame without rows has columns without a type, which would spoil those of the others.
    return pd.concat([f for f in frames if len(f)] or frames[:1], ignore_index=True)


def _with_provenance(frame: pd.DataFrame, spec: ChainSpec, model: str) -> pd.DataFrame:
    values = (spec.dataset, spec.method, spec.generator_state, spec.name, model)
    columns = {
        name: pd.Series(
            [value] * len(frame),
            index=frame.index,
            dtype="int64" if isinstance(value, int) else "str",
        )
        for name, value in zip(PROVENANCE, values, strict=True)
    }
    return pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)
