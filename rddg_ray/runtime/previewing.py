"""What a chain would ask, without asking."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rddg_ray.batches import targets
from rddg_ray.config import RunSettings, SynthesisSettings, TableSettings
from rddg_ray.coreset import select_random
from rddg_ray.exchange import Completion, Prompt
from rddg_ray.runtime.chains import ChainSpec, build_study, list_chains
from rddg_ray.synthesis import Synthesis
from rddg_ray.table import Table

# English prose and comma-separated rows both come to about four characters a token.
_CHARACTERS_PER_TOKEN = 4
_STAND_IN = "(what the endpoint answers stands here)"


@dataclass(frozen=True)
class Preview:
    """What to expect of a chain.

    Attributes:
        prompts: One prompt of each phase, in order. Replies that a prompt quotes are stand-ins,
            and rows shown for relations are drawn at random instead of by difficulty.
        targets: Rows to add by class.
        n_calls: Calls if every row were accepted.
        prompt_tokens: Estimate over all calls.
        completion_tokens: Estimate over all calls.
    """

    prompts: tuple[Prompt, ...]
    targets: dict[str, int]
    n_calls: int
    prompt_tokens: int
    completion_tokens: int


def preview(table: Table, settings: SynthesisSettings) -> Preview:
    """Return the prompts of a table's first chain and what all of them will take.

    Raises:
        ConfigError: If the wanted rows do not fit the table.
    """
    run = RunSettings(
        random_state=settings.random_state,
        tables=(TableSettings(name=table.name, path=table.name, target=table.target),),
        methods=(settings.method,),
        generation=settings.generation,
    )
    specs = list_chains(run, {table.name: table})
    wanted = targets(
        table.class_counts,
        settings.generation.sampling_strategy,
        settings.generation.rows_per_class,
        table.rare_class,
    )
    if not specs:
        return Preview((), wanted, 0, 0, 0)
    coreset = select_random(
        table.encode_classes(), settings.coreset.per_class, settings.random_state
    )
    prompts = _one_of_each(build_study(specs[0], table, coreset.tolist(), run))
    n_words = len(specs) * (len(prompts) - 1)
    n_rounds = sum(_rounds(spec, settings) for spec in specs)
    sizes = [_tokens(prompt.system + prompt.user) for prompt in prompts]
    row_tokens = _tokens(",".join(table.cells([0])[0])) + 1
    return Preview(
        prompts=prompts,
        targets=wanted,
        n_calls=n_words + n_rounds,
        prompt_tokens=len(specs) * sum(sizes[:-1]) + n_rounds * sizes[-1],
        completion_tokens=n_words * sizes[-1] // 4 + sum(wanted.values()) * row_tokens,
    )


def _one_of_each(study: Synthesis) -> tuple[Prompt, ...]:
    state, prompts = study.start(), []
    while True:
        asked = study.ask(state)
        prompts.append(asked[0])
        if state.phase == "generation":
            return tuple(prompts)
        state, _ = study.tell(state, [Completion(_STAND_IN, "none") for _ in asked])


def _rounds(spec: ChainSpec, settings: SynthesisSettings) -> int:
    most = max(spec.targets.values())
    return math.ceil(most / settings.generation.request_rows_per_class)


def _tokens(text: str) -> int:
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)
