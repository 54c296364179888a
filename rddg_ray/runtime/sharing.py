"""What chains of one table share in a process: models of its rows, and rules checked on them."""

from __future__ import annotations

import json
import weakref
from dataclasses import dataclass, field

from rddg_ray.config import GenerationSettings
from rddg_ray.constraints import Verdict, user_rules
from rddg_ray.method_parts import METHOD_PARTS
from rddg_ray.table import Table
from rddg_ray.table_models import TableModels


@dataclass
class _Shared:
    models: dict[tuple[float, ...], TableModels] = field(default_factory=dict)
    rules: dict[str, tuple[Verdict, ...]] = field(default_factory=dict)


# By the table's identity, as long as it lives: a process that hosts hundreds of chains holds each
# table once, and comparing tables would take longer than what is shared here.
_SHARED: dict[int, _Shared] = {}


def _shared(table: Table) -> _Shared:
    found = _SHARED.get(id(table))
    if found is None:
        found = _SHARED[id(table)] = _Shared()
        weakref.finalize(table, _SHARED.pop, id(table), None)
    return found


def models_of(table: Table, settings: GenerationSettings) -> TableModels:
    """Return the models of a table's rows, the same ones for the same table and settings."""
    known = _shared(table).models
    part = TableModels.part_of(settings)
    if part not in known:
        known[part] = TableModels(table, settings)
    return known[part]


def prepare_models(table: Table, method: str, settings: GenerationSettings) -> None:
    """Fit what chains of a method need of a table; takes seconds for a large one, then nothing."""
    parts = METHOD_PARTS[method]
    models_of(table, settings).prepare(
        copies=not settings.allow_copies,
        judged=parts.is_judged and settings.plausibility.enabled,
        calibrated=parts.feedback == "calibrated",
    )


def rules_of(table: Table, settings: GenerationSettings) -> tuple[Verdict, ...]:
    """Return the user's rules (`GenerationSettings.rules`), checked on a table's rows.

    Raises:
        ConfigError: If a rule cannot be read or the rows do not keep it; the message names the
            file, the table and the rule.
    """
    if settings.rules is None:
        return ()
    known = _shared(table).rules
    content = json.dumps(settings.rules.model_dump(mode="json"), sort_keys=True)
    if content not in known:
        where = settings.rules.file or "generation.rules"
        known[content] = user_rules(
            settings.rules.items,
            table.prompt_columns,
            table.frame,
            where=f"{where} (table {table.name!r})",
        )
    return known[content]
