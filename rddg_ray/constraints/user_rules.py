"""Rules that a user writes, in a file or in Python, in the grammar that the model is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rddg_ray.constraints.cells import Cells
from rddg_ray.constraints.grammar import GrammarReader
from rddg_ray.constraints.replies import MAX_RULES
from rddg_ray.constraints.rule import Rule
from rddg_ray.constraints.values import RuleError
from rddg_ray.constraints.verifying import TOLERANCE, Verdict, verify
from rddg_ray.constraints.wording import RuleWords
from rddg_ray.errors import ConfigError
from rddg_ray.schema import Column


def user_rules(
    items: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    frame: pd.DataFrame,
    *,
    where: str = "rules",
    tolerance: float = TOLERANCE,
) -> tuple[Verdict, ...]:
    """Read a user's rules and check them on the real training rows.

    Args:
        items: The rules as JSON or YAML gives them; see `read_rules_file`.
        columns: The target and the features (`Table.prompt_columns`).
        frame: The real training rows, canonical (`Table.frame`).
        where: The file's name, for errors.
        tolerance: Share of the real rows that may break a rule that gives no `tolerance`.

    Returns:
        What the real rows say of each rule; all are kept.

    Raises:
        ConfigError: If a rule cannot be read, no real row meets its condition, or more real rows
            break it than its tolerance; the message names the file, the rule, the key, the
            column and the value, or the rule's figure.
    """
    if len(items) > MAX_RULES:
        raise ConfigError(f"{where}: {len(items)} rules are more than {MAX_RULES}")
    reader = GrammarReader(columns, frame, source="user")
    rules = _read(items, reader, where)
    verdicts = verify(rules, Cells.of_frame(columns, frame), columns[0].name, tolerance)
    words = RuleWords(columns)
    for number, verdict in enumerate(verdicts, start=1):
        if not verdict.is_kept:
            raise ConfigError(_refusal(verdict, words, f"{where}: {_name(number, verdict.rule)}",
                                       tolerance))  # fmt: skip
    return verdicts


def _read(items: Sequence[Mapping[str, Any]], reader: GrammarReader, where: str) -> list[Rule]:
    rules: list[Rule] = []
    for number, item in enumerate(items, start=1):
        said = item.get("name") if isinstance(item, Mapping) else None
        place = f"{where}: rule {number}" + (f" ({said!r:.80})" if said else "")
        try:
            rule = reader.read(item, f"rule {number}")
        except RuleError as error:
            raise ConfigError(f"{place}: {error}") from error
        if any(rule.name == other.name for other in rules):
            raise ConfigError(f"{place}: name = {rule.name!r} is given to two rules; rename one")
        rules.append(rule)
    return rules


def _name(number: int, rule: Rule) -> str:
    default = f"rule {number}"
    return default if rule.name == default else f"{default} ({rule.name!r})"


def _refusal(verdict: Verdict, words: RuleWords, place: str, tolerance: float) -> str:
    said = words.rule(verdict.rule)
    columns = ", ".join(map(repr, verdict.rule.columns))
    start = f"{place}: columns {columns}: {said}: "
    if verdict.decision == "violated":
        allowed = verdict.rule.tolerance if verdict.rule.tolerance is not None else tolerance
        label, support, violations = verdict.by_class or ("", verdict.support, verdict.violations)
        of_class = f" of class {label!r}" if label else ""
        return start + (
            f"{support - violations:,} of the {support:,} real rows{of_class} that it speaks of "
            f"keep it, {violations:,} ({100 * violations / support:.1f}%) break it, more than the "
            f"tolerance {100 * allowed:g}%. Correct the rule, or give it a higher 'tolerance'"
        )
    if verdict.decision == "never_met":
        return start + (
            "0 real rows meet its condition and have its cells filled, so that nothing speaks for "
            "it. Correct 'when' or the columns"
        )
    if verdict.decision == "repeated":
        return start + "an earlier rule says the same; delete one"
    return start + "no row could break it; delete it"
