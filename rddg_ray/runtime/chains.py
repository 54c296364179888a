"""Chains of a run: which there are, how one is run, and how it is replayed from the journal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rddg_ray.batches import targets
from rddg_ray.chain_state import RoundInfo, State
from rddg_ray.config import GENERATIVE_METHODS, GenerationSettings, RunSettings
from rddg_ray.exchange import CallId, Completion, Endpoint, Prompt, Usage
from rddg_ray.method_parts import METHOD_PARTS
from rddg_ray.runtime.leaving import CallLeftError
from rddg_ray.runtime.loop import run_study
from rddg_ray.runtime.sharing import models_of, rules_of
from rddg_ray.synthesis import Synthesis
from rddg_ray.table import Table

PROVENANCE = ("rddg_dataset", "rddg_method", "rddg_generator_state", "rddg_chain", "rddg_model")
"""Columns that say where a synthetic row comes from, beside those of the chain itself."""


ENDED_BECAUSE: Mapping[str, str] = {
    "target": "the target was reached",
    "rounds": "the round limit (generation.max_rounds) was reached",
    "empty_rounds": "no row was accepted in several rounds in a row; see the rejects",
    "budget": "the calls a chain may make (max_calls) were used up",
    "stopped": "it was stopped",
    "failed": "it failed; the end of the run says why",
}
"""Why a chain ended, in words, by `ChainOutcome.ended_because`."""


@dataclass(frozen=True)
class ChainSpec:
    """One chain of a run, by what tells it from the others.

    Attributes:
        dataset: Name of the table.
        method: One of `config.GENERATIVE_METHODS`.
        generator_state: Which repetition of the method.
        index: Number of the chain among those of (dataset, method, generator_state).
        targets: Rows to add by class.
        n_before: Rows that chains with a smaller index were asked for, so that ids differ.
    """

    dataset: str
    method: str
    generator_state: int
    index: int
    targets: Mapping[str, int]
    n_before: int = 0

    @property
    def name(self) -> str:
        """Return the chain's name, unique within its table."""
        return f"{self.method}/g{self.generator_state}/{self.index}"

    @property
    def n_target(self) -> int:
        """Return the rows asked for over all classes."""
        return sum(self.targets.values())

    def call(self, round_: int, position: int) -> CallId:
        """Return the name of a call of this chain."""
        return CallId(self.dataset, self.name, round_, position)


@dataclass(frozen=True)
class ChainOutcome:
    """What became of a chain; small, for the driver.

    Attributes:
        spec: Which chain.
        accepted: Accepted rows by class.
        rejects: Refused rows by reason.
        shortfall: Rows lacking by class; empty at the target.
        ended_because: One of `ENDED_BECAUSE`.
        rounds: Rounds told, those before generation included.
        usage: Tokens over all calls, those of an earlier start of the run too.
        model: Name the endpoint gave.
        relations: The model's analysis.
        rules: The model's rules.
        n_calibrated_rounds: Rounds that calibration learned of.
    """

    spec: ChainSpec
    accepted: Mapping[str, int]
    rejects: Mapping[str, int]
    shortfall: Mapping[str, int]
    ended_because: str
    rounds: int
    usage: Usage
    model: str
    relations: str
    rules: str
    n_calibrated_rounds: int = 0

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ChainOutcome:
        """Return the outcome that `dataclasses.asdict` turned into this record."""
        parts = {"spec": ChainSpec(**record["spec"]), "usage": Usage(**record["usage"])}
        return cls(**{**record, **parts})

    @property
    def n_accepted(self) -> int:
        """Return accepted rows over all classes."""
        return sum(self.accepted.values())


@dataclass(frozen=True)
class ChainWork:
    """Chains to run or gather, and all they need.

    Attributes:
        specs: Which chains.
        tables: Training rows by data set.
        coresets: Positions of the rows shown for relations, by (data set, method).
        settings: The run's settings.
        journal: Folder of replies.
        epoch: Of this start of the run; part of the journal files' names.
        rounds: Rounds that each chain was run for, by its name; for gathering.
        recorded: Names of the chains whose calibration is written down; for gathering.
    """

    specs: Sequence[ChainSpec]
    tables: Mapping[str, Table]
    coresets: Mapping[tuple[str, str], Sequence[int]]
    settings: RunSettings
    journal: Path
    epoch: int
    rounds: Mapping[str, int] = field(default_factory=dict)
    recorded: frozenset[str] = frozenset()

    @property
    def fingerprint(self) -> str:
        """Return what is part of every call's key."""
        return self.settings.fingerprint()

    def coreset(self, spec: ChainSpec) -> Sequence[int]:
        """Return the rows a chain shows for relations; none for a method without them."""
        return self.coresets.get((spec.dataset, spec.method), ())


def list_chains(settings: RunSettings, tables: Mapping[str, Table]) -> list[ChainSpec]:
    """Return every chain of a run, tables in order, methods in order.

    Raises:
        ConfigError: If a sampling strategy, or a rule of the user's, does not fit a table.
    """
    for table in tables.values():
        rules_of(table, settings.generation)  # before the first call is paid for
    generative = [method for method in settings.methods if method in GENERATIVE_METHODS]
    return [
        spec
        for dataset, table in tables.items()
        for method in generative
        for state in settings.generator_states
        for spec in _chains_of(dataset, method, state, settings.generation, table)
    ]


def _chains_of(
    dataset: str, method: str, state: int, settings: GenerationSettings, table: Table
) -> list[ChainSpec]:
    wanted = {
        label: count
        for label, count in targets(
            table.class_counts,
            settings.sampling_strategy,
            settings.rows_per_class,
            table.rare_class,
        ).items()
        if count > 0
    }
    parts = [wanted] if settings.chain_per == "table" else [{c: n} for c, n in wanted.items()]
    starts = np.cumsum([0, *(sum(part.values()) for part in parts)])
    return [
        ChainSpec(dataset, method, state, index, part, int(starts[index]))
        for index, part in enumerate(parts)
        if part
    ]


def build_study(
    spec: ChainSpec, table: Table, coreset: Sequence[int], settings: RunSettings
) -> Synthesis:
    """Return the chain as a study; the same arguments give one that asks the same.

    Args:
        spec: Which chain.
        table: Training rows.
        coreset: Positions of the rows shown for relations; empty for a method without them.
        settings: The run's settings.
    """
    # Repetitions and methods draw from streams of their own, whatever the run's random state.
    method = METHOD_PARTS[spec.method].stream
    stream = np.random.SeedSequence([settings.random_state, spec.generator_state, method])
    return Synthesis(
        table,
        coreset or None,
        settings.generation,
        method=spec.method,
        random_state=int(stream.generate_state(1)[0]),
        chain=spec.index,
        targets=spec.targets,
        user_rules=rules_of(table, settings.generation),
        models=models_of(table, settings.generation),
    )


async def run_chain(
    spec: ChainSpec,
    study: Synthesis,
    endpoint: Endpoint,
    on_round: Callable[[State, RoundInfo], None] = lambda state, info: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> ChainOutcome:
    """Run a chain to its end, or until it is asked to stop, and return what became of it.

    A call that was given up for a stop ends it before that round.
    """
    state = study.start()

    async def answer(prompt: Prompt, round_: int, position: int) -> Completion:
        return await endpoint.complete(prompt, spec.call(round_, position))

    def note(now: State, info: RoundInfo) -> None:
        nonlocal state
        state = now
        on_round(now, info)

    with contextlib.suppress(CallLeftError):
        state = await run_study(study, answer, note, should_stop)
    return outcome_of(spec, study, state)


def outcome_of(spec: ChainSpec, study: Synthesis, state: State) -> ChainOutcome:
    """Return what became of a chain in this state."""
    rejects = study.rejects_frame(state)
    return ChainOutcome(
        spec=spec,
        accepted=dict(state.counts),
        rejects={str(k): int(n) for k, n in rejects["reason"].value_counts().items()},
        shortfall={label: n for label, n in study.shortfall(state).items() if n},
        ended_because=study.ended_because(state) or "stopped",
        rounds=state.round,
        usage=state.usage,
        model=state.model,
        relations=state.relations,
        rules=state.rules.text,
        n_calibrated_rounds=state.calibration.round if state.calibration else 0,
    )
