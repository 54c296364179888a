"""What chains would ask, and what they would take, without asking."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from rddg_ray.batches import targets
from rddg_ray.config import GenerationSettings, RunSettings, SynthesisSettings, TableSettings
from rddg_ray.coreset import select_random
from rddg_ray.exchange import Completion, Prompt, Usage
from rddg_ray.runtime.chains import ChainSpec, build_study, list_chains
from rddg_ray.runtime.forecast import Effort
from rddg_ray.runtime.tables import prepare
from rddg_ray.synthesis import Synthesis
from rddg_ray.table import Table

# English prose and comma-separated rows both come to about four characters a token.
_CHARACTERS_PER_TOKEN = 4
_STAND_IN = "(what the endpoint answers stands here)"
_LEAST_CACHED_TOKENS = 1024
"""Endpoints cache the beginning of a prompt from about this length on."""


@dataclass(frozen=True)
class Preview:
    """What to expect of a table's chains, or of a whole run's.

    Attributes:
        prompts: One prompt of each phase of the first chain, in order. Replies that a prompt
            quotes are stand-ins, and rows shown for relations are drawn at random instead of by
            difficulty.
        targets: Rows to add to each table by class.
        efforts: Calls and tokens if every row were accepted, by table and method.
        left_out: Columns that are not shown or learned, and why, by table.
    """

    prompts: tuple[Prompt, ...]
    targets: Mapping[str, Mapping[str, int]]
    efforts: Mapping[tuple[str, str], Effort] = field(default_factory=dict)
    left_out: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def effort(self) -> Effort:
        """Return calls and tokens over all chains."""
        return sum(self.efforts.values(), Effort())


def preview(table: Table, settings: SynthesisSettings) -> Preview:
    """Return the prompts of a table's first chain and what all of them will take.

    Raises:
        ConfigError: If the wanted rows do not fit the table.
    """
    run = RunSettings(
        random_state=settings.random_state,
        tables=(TableSettings(name=table.name, path=table.name, target=table.target),),
        methods=(settings.method,),
        coreset=settings.coreset,
        generation=settings.generation,
    )
    return preview_tables(run, {table.name: table})


def preview_run(settings: RunSettings) -> Preview:
    """Return the prompts of a run's first chain and what all chains will take.

    Tables are read, split and made imbalanced as the run would.

    Raises:
        ConfigError: If a setting does not fit a table.
        DataError: If a table cannot be used.
    """
    return preview_tables(
        settings, {entry.label: prepare(entry).train for entry in settings.tables}
    )


def preview_tables(settings: RunSettings, tables: Mapping[str, Table]) -> Preview:
    """Return the same for training rows in memory, by the name of the table."""
    grouped: dict[tuple[str, str], list[ChainSpec]] = {}
    for spec in list_chains(settings, tables):
        grouped.setdefault((spec.dataset, spec.method), []).append(spec)
    prompts = {key: _prompts(specs[0], tables[key[0]], settings) for key, specs in grouped.items()}
    return Preview(
        prompts=next(iter(prompts.values()), ())[:-1],
        targets={name: _targets(table, settings.generation) for name, table in tables.items()},
        efforts={
            key: _effort(specs, prompts[key], tables[key[0]], settings.generation)
            for key, specs in grouped.items()
        },
        left_out={name: table.left_out for name, table in tables.items()},
    )


def _targets(table: Table, settings: GenerationSettings) -> dict[str, int]:
    return targets(
        table.class_counts, settings.sampling_strategy, settings.rows_per_class, table.rare_class
    )


def _prompts(spec: ChainSpec, table: Table, settings: RunSettings) -> tuple[Prompt, ...]:
    """Return one prompt of each phase, and a second one of generation."""
    coreset = select_random(
        table.encode_classes(), settings.coreset.per_class, settings.random_state
    )
    # Two generation rounds are asked here, both empty: no limit may end the chain before that.
    no_limits = {"max_rounds": 2, "max_empty_rounds": 2, "max_calls": None}
    patient = settings.generation.model_copy(update=no_limits)
    unlimited = settings.model_copy(update={"generation": patient})
    return _asked(build_study(spec, table, coreset.tolist(), unlimited))


def _asked(study: Synthesis) -> tuple[Prompt, ...]:
    state, is_last = study.start(), False
    prompts: list[Prompt] = []
    while not is_last:
        is_last = any(prompt.phase == "generation" for prompt in prompts)
        asked = study.ask(state)
        prompts += asked[:1]
        state, _ = study.tell(state, [Completion(_STAND_IN, "none") for _ in asked])
    return tuple(prompts)


def _effort(
    specs: Sequence[ChainSpec],
    prompts: Sequence[Prompt],
    table: Table,
    settings: GenerationSettings,
) -> Effort:
    *words, batch, again = prompts
    sizes = [_tokens(prompt.system + prompt.user) for prompt in words]
    size, unchanging = _tokens(batch.system + batch.user), _unchanging_tokens(batch, again)
    row_tokens = _row_tokens(table, settings)
    efforts = []
    for spec in specs:
        n_batches = _batches(spec, settings)
        usage = Usage(
            n_calls=len(words) + n_batches,
            prompt_tokens=sum(sizes) + n_batches * size,
            completion_tokens=len(words) * size // 4 + spec.n_target * row_tokens,
            cached_tokens=(n_batches - 1) * unchanging,
        )
        n_rounds = math.ceil(n_batches / settings.batches_per_round)
        n_at_once = min(settings.batches_per_round, n_batches)
        n_all_rounds = len(words) + n_rounds
        efforts.append(Effort(1, n_all_rounds, usage.n_calls, n_at_once, usage, n_rounds))
    return sum(efforts, Effort())


def _batches(spec: ChainSpec, settings: GenerationSettings) -> int:
    return math.ceil(max(spec.targets.values()) / settings.request_rows_per_class)


def _row_tokens(table: Table, settings: GenerationSettings) -> int:
    cells = table.cells([0])[0]
    n_characters = len(",".join(cells))
    if settings.reply_format == "json_schema":
        # Every row repeats the names, with quotes and a colon around names and cells.
        names = [column.name for column in table.prompt_columns]
        n_characters += len("".join(names)) + 5 * len(names)
    return math.ceil(n_characters / _CHARACTERS_PER_TOKEN) + 1


def _unchanging_tokens(first: Prompt, second: Prompt) -> int:
    """Return the tokens both prompts begin with, 0 where they are too few to be cached."""
    pairs = zip(first.system + first.user, second.system + second.user, strict=False)
    n_characters = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    n_tokens = n_characters // _CHARACTERS_PER_TOKEN
    return n_tokens if n_tokens >= _LEAST_CACHED_TOKENS else 0


def _tokens(text: str) -> int:
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)
