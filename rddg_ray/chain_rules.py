"""What the words of prompts 1 and 2 become: analysis and rules that later prompts quote."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from rddg_ray.calibration.summary import Summary
from rddg_ray.chain_state import RoundInfo, State
from rddg_ray.constraints import Rule, Rules
from rddg_ray.constraints.bodies import Formula, Order
from rddg_ray.exchange import Completion, Phase
from rddg_ray.reply_lines import prose
from rddg_ray.rule_replies import RulesReader

# Of relations or rules; strong models write some 5,000. A reply of a megabyte, quoted in every
# later prompt, would be paid for again and again.
_MAX_QUOTED_CHARACTERS = 20_000


def tell_words(
    told: State, info: RoundInfo, answer: Completion, reader: RulesReader
) -> tuple[State, RoundInfo]:
    """Return the state and the record of a round that asked for relations or rules."""
    words, notes = _words(prose(answer.text), info.phase)
    if info.phase == "relations":
        return replace(told, phase="constraints", relations=words), replace(info, notes=notes)
    rules = reader.read(answer.text)
    n_model = len(rules.verdicts) + len(rules.unreadable) - len(reader.start().verdicts)
    n_lost = len(rules.dropped) + len(rules.unreadable)
    if n_lost:
        note = (
            f"{n_lost} of the model's {n_model} rules are not used: {len(rules.dropped)} for "
            f"what the real rows say, {len(rules.unreadable)} cannot be read"
        )
        notes = (*notes, note)
    return replace(told, phase="generation", rules=rules), replace(info, notes=notes)


def _words(text: str, phase: Phase) -> tuple[str, tuple[str, ...]]:
    """Return words fit to be quoted in every prompt to come, and notes on what is wrong."""
    if not text:
        return text, (f"the reply on {phase} is empty; the chain goes on without",)
    if len(text) <= _MAX_QUOTED_CHARACTERS:
        return text, ()
    note = f"of {len(text)} characters on {phase} the first {_MAX_QUOTED_CHARACTERS} are used"
    return text[:_MAX_QUOTED_CHARACTERS], (note,)


def ruled(rules: Rules, items: Collection[Summary], target: str) -> list[Summary]:
    """Return the summaries that a verified rule speaks of, for calibration's prior.

    A formula or an order ties columns to one another, so it speaks of their correlations; any
    other rule says which values a column has, so it speaks of its mean, spread and shares. A
    rule for some classes alone says nothing of the others.

    Args:
        rules: The rules of the chain.
        items: All summaries (`Summaries.items`).
        target: Name of the class column.
    """
    kept = [verdict.rule for verdict in rules.kept]
    return [item for item in items if any(_speaks_of(rule, item, target) for rule in kept)]


def _speaks_of(rule: Rule, item: Summary, target: str) -> bool:
    is_tie = isinstance(rule.body, Formula | Order)
    if is_tie != (item.kind == "correlation") or not set(item.names) <= set(rule.body.columns):
        return False
    return all(
        item.label in predicate.values
        for predicate in rule.when
        if predicate.column == target and predicate.relation == "in"
    )
