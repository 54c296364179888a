"""Rules of published chains, with what the real rows say of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from rddg_ray.constraints import Rules, Verdict, holds_in, why_dropped
from rddg_ray.errors import StoreError
from rddg_ray.runtime.store import RunDirectory

RuleState = Literal["kept", "dropped", "not read"]
_ORDER: Mapping[str, int] = {"kept": 0, "dropped": 1, "not read": 2}


@dataclass(frozen=True)
class RuleLine:
    """A rule, and what became of it.

    Attributes:
        state: Whether rows are held to it, it was dropped, or could not be read.
        rule: The rule in words, with the categories as they are; as written if it was not read.
        figure: What the real rows say of it, or why it is not used.
        source: Who wrote it: `model` or `user`.
        chains: Names of the chains that have it.
        verdict: The rule and its figures as JSON values; None if it was not read.
    """

    state: RuleState
    rule: str
    figure: str
    source: str
    chains: tuple[str, ...] = ()
    verdict: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TableRules:
    """The rules of a table's chains by one method.

    Attributes:
        dataset: Name of the table.
        method: The method.
        n_chains: Chains looked at.
        lines: Their rules, the kept ones first, those of most chains before others.
        texts: The model's rules in prose, by chain.
    """

    dataset: str
    method: str
    n_chains: int
    lines: tuple[RuleLine, ...]
    texts: Mapping[str, str]


def load_rules(record: Mapping[str, Any], where: str) -> Rules:
    """Return the rules of a chain from its record.

    Args:
        record: What `Rules.to_record` gave.
        where: Where the record stands, for errors.

    Raises:
        StoreError: If it is no such record.
    """
    try:
        return Rules.from_record(record)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{where}: this is no record of rules: {error!r}") from error


def rules_of_run(store: RunDirectory, chain: str | None = None) -> list[TableRules]:
    """Return the rules of a run's published chains, a table and method at a time.

    Args:
        store: The run directory.
        chain: Name of one chain, such as `rddg_calibrated/g0/0`; all by default.

    Raises:
        StoreError: If nothing is published, no chain has that name, or a record is broken.
    """
    store.read_run()
    names = [entry["outcome"]["spec"] for entry in store.manifest().get("chains", {}).values()]
    if not names:
        raise StoreError(f"{store.path}: no chain of this run is published yet")
    parts = store.parts("records")
    if not parts:
        raise StoreError(
            f"{store.path}: this run was made by a version that kept no record of rules; their "
            "words are in _manifest.json"
        )
    found = [_of_part(store, dataset, method, chain) for dataset, method in parts]
    kept = [rules for rules in found if rules.n_chains]
    if not kept:
        known = sorted({f"{s['method']}/g{s['generator_state']}/{s['index']}" for s in names})
        raise StoreError(
            f"{store.path}: there is no chain {chain!r}; known: {', '.join(known[:8])}"
            f"{', ...' if len(known) > 8 else ''}"
        )
    return kept


def _of_part(store: RunDirectory, dataset: str, method: str, chain: str | None) -> TableRules:
    records = store.read_published("records", dataset, method)
    if records is None or not len(records):
        return TableRules(dataset, method, 0, (), {})
    if chain is not None:
        records = records[records["rddg_chain"] == chain]
    return table_rules(records, dataset, method, str(store.path))


def table_rules(records: pd.DataFrame, dataset: str, method: str, where: str) -> TableRules:
    """Return the rules of chains, equal ones once.

    Args:
        records: The published `records` of a table and method, one row a chain.
        dataset: Name of the table.
        method: The method.
        where: Where they stand, for errors.

    Raises:
        StoreError: If a record is broken.
    """
    merged: dict[tuple[str, str, str, str], RuleLine] = {}
    texts = {}
    for name, content in zip(records["rddg_chain"], records["rules"], strict=True):
        rules, words = _read(content, f"{where}: records of {dataset}/{method}, chain {name}")
        texts[str(name)] = rules.text
        for line in _lines(rules, words):
            key = (line.state, line.rule, line.figure, line.source)
            known = merged.setdefault(key, line)
            # A chain that says a rule twice is one chain that says it.
            chains = tuple(dict.fromkeys((*known.chains, str(name))))
            merged[key] = replace(known, chains=chains)
    ordered = sorted(merged.values(), key=lambda line: (_ORDER[line.state], -len(line.chains)))
    return TableRules(dataset, method, len(records), tuple(ordered), texts)


def _read(content: str, where: str) -> tuple[Rules, list[str]]:
    try:
        record = json.loads(content)
        rules, words = record["record"], list(record["words"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{where}: this is no record of rules: {error!r}") from error
    found = load_rules(rules, where)
    if len(words) != len(found.verdicts):
        raise StoreError(f"{where}: {len(words)} rules in words, {len(found.verdicts)} checked")
    return found, words


def _lines(rules: Rules, words: list[str]) -> list[RuleLine]:
    records = rules.to_record()["verdicts"]
    checked = [
        _checked_line(verdict, rule, record)
        for verdict, rule, record in zip(rules.verdicts, words, records, strict=True)
    ]
    return checked + [RuleLine("not read", u.text, u.reason, "model") for u in rules.unreadable]


def _checked_line(verdict: Verdict, rule: str, record: Mapping[str, Any]) -> RuleLine:
    state: RuleState = "kept" if verdict.is_kept else "dropped"
    return RuleLine(state, rule, figure(verdict), verdict.rule.source, verdict=record)


def figure(verdict: Verdict) -> str:
    """Return what the real rows say of a rule, in words."""
    if not verdict.is_kept:
        return why_dropped(verdict)
    said = verdict.said_within
    most = f", at most {100 * verdict.bound:.1f}% of rows break it (95%)"
    more = ""
    if said is not None:
        figures = [f"{said[0]:g}"] if said[0] or not said[1] else []
        figures += [f"{100 * said[1]:g}%"] if said[1] else []
        more = f"; the model said within {' or '.join(figures)}"
    repair = ", repaired" if verdict.rule.on_violation == "repair" else ""
    return f"{holds_in(verdict)}{most}{more}{repair}"
