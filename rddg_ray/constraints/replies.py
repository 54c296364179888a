"""A model's answer about rules: the prose in it, and the rules it writes in the grammar."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from rddg_ray.constraints.lenient_json import LenientJson, LenientJsonError

MAX_RULES = 100
_MAX_BLOCK = 100_000
_MAX_TRIES = 50
_FENCE = re.compile(r"^[ \t]*(?:```+|~~~+)[ \t]*[\w-]*[ \t]*$", re.MULTILINE)
_BARE = re.compile(r"^[ \t]*(?=\[\s*\{|\{\s*[\"'])", re.MULTILINE)
# An object that holds rules rather than being one.
_WRAPPERS = ("rules", "constraints", "checks", "checkable_rules", "items")
_RULE_KEYS = frozenset({"type", "kind", "when", "then", "column", "columns", "formula",
                        "constraint_class"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class RulesReply:
    """What an answer holds.

    Attributes:
        prose: The answer without its blocks of rules.
        items: The rules as they are written, at most `MAX_RULES`.
        errors: What could not be read, in words.
    """

    prose: str = ""
    items: tuple[Any, ...] = ()
    errors: tuple[str, ...] = ()


def split_reply(text: str) -> RulesReply:
    """Read an answer: rules in fenced blocks, or bare where no fence holds any.

    Any text can be read; what is no JSON is prose.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    fenced = _split(text, _fences(text))
    return fenced if fenced.items or fenced.errors else _split(text, _bare_blocks(text))


def _split(text: str, spans: list[tuple[int, int, int, int]]) -> RulesReply:
    """Take the spans (outer start, inner start, inner end, outer end) that hold rules."""
    items: list[Any] = []
    errors: list[str] = []
    kept, at = [], 0
    for start, inner, inner_end, end in spans:
        found = _block(text[inner:inner_end])
        if found is None:
            continue
        items += found[0]
        errors += found[1]
        kept.append(text[at:start])
        at = end
    kept.append(text[at:])
    if len(items) > MAX_RULES:
        errors.append(f"{len(items)} rules, of which the first {MAX_RULES} are read")
    prose = re.sub(r"\n{3,}", "\n\n", "".join(kept)).strip()
    return RulesReply(prose, tuple(items[:MAX_RULES]), tuple(errors))


def _fences(text: str) -> list[tuple[int, int, int, int]]:
    marks = list(_FENCE.finditer(text))
    spans, at = [], 0
    while at < len(marks):
        first = marks[at]
        last = marks[at + 1] if at + 1 < len(marks) else None
        # A reply that was cut off never closes its fence.
        inner_end, end = (last.start(), last.end()) if last else (len(text), len(text))
        spans.append((first.start(), first.end(), inner_end, end))
        at += 2
    return spans


def _bare_blocks(text: str) -> list[tuple[int, int, int, int]]:
    spans, at = [], 0
    for _ in range(_MAX_TRIES):
        if (found := _BARE.search(text, at)) is None:
            break
        start = found.end()
        reader = LenientJson(text[start : start + _MAX_BLOCK])
        try:
            reader.read()
        except LenientJsonError:
            at = start + 1
            continue
        at = start + max(reader.end, 1)
        spans.append((start, start, at, at))
    return spans


def _block(text: str) -> tuple[list[Any], list[str]] | None:
    """Return the rules of a block and what could not be read of it; None if it holds none."""
    body = text.strip()
    if not body.startswith(("[", "{")):
        return None
    if len(body) > _MAX_BLOCK:
        return [], [f"a block of {len(body)} characters is longer than {_MAX_BLOCK}"]
    values, errors = _values(body)
    rules = [rule for value in values for rule in _rules_of(value)]
    return (rules, errors) if rules or errors else None


def _values(body: str) -> tuple[list[Any], list[str]]:
    values: list[Any] = []
    errors: list[str] = []
    # Some write objects one below the other, with no list around them.
    while body.startswith(("[", "{")):
        reader = LenientJson(body)
        try:
            values.append(reader.read())
        except LenientJsonError as error:
            errors.append(str(error))
            break
        errors += reader.errors
        body = body[reader.end :].lstrip(", \n\t")
    return values, errors


def _rules_of(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [rule for entry in value for rule in _rules_of(entry)]
    if not isinstance(value, dict):
        return []
    for key in _WRAPPERS:
        if isinstance(value.get(key), list):
            return [rule for entry in value[key] for rule in _rules_of(entry)]
    return [value] if value.keys() & _RULE_KEYS else []


def as_text(item: Any) -> str:
    """Return a rule as it was written, on one line, cut at 300 characters."""
    text = json.dumps(item, ensure_ascii=False, default=str)
    return text if len(text) <= 300 else text[:300] + "..."
