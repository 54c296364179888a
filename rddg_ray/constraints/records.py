"""Rules and what became of them as JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rddg_ray.constraints.bodies import (
    Body,
    Combinations,
    Formula,
    Implication,
    Membership,
    Order,
    Range,
)
from rddg_ray.constraints.formula_text import parse
from rddg_ray.constraints.predicates import Predicate
from rddg_ray.constraints.rule import Rule
from rddg_ray.constraints.verifying import Verdict


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A rule that could not be used as it was written.

    Attributes:
        text: What was written, cut at 300 characters; empty where it was no JSON.
        reason: Why, with key, column and value.
    """

    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a chain: the model's, and the user's.

    Attributes:
        text: The rules in the model's own words, without what it wrote in the grammar.
        verdicts: Every rule in the grammar with what the real rows say of it, the user's first.
        unreadable: What was meant as a rule and could not be used.
        shown: What the generator is shown; empty for none.
    """

    text: str = ""
    verdicts: tuple[Verdict, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    shown: str = ""

    @property
    def kept(self) -> tuple[Verdict, ...]:
        """Return the rules that rows are held to."""
        return tuple([verdict for verdict in self.verdicts if verdict.is_kept])

    @property
    def dropped(self) -> tuple[Verdict, ...]:
        """Return the rules that are not used, each with its reason and figure."""
        return tuple([verdict for verdict in self.verdicts if not verdict.is_kept])

    def to_record(self) -> dict[str, Any]:
        """Return the rules as JSON values, for `from_record`."""
        return {
            "text": self.text,
            "shown": self.shown,
            "verdicts": [_verdict_record(verdict) for verdict in self.verdicts],
            "unreadable": [{"text": u.text, "reason": u.reason} for u in self.unreadable],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Rules:
        """Return the rules that `to_record` turned into this record.

        Raises:
            KeyError, TypeError, ValueError: If it is none.
        """
        return cls(
            text=str(record["text"]),
            verdicts=tuple([_verdict(entry) for entry in record["verdicts"]]),
            unreadable=tuple([Unreadable(**entry) for entry in record["unreadable"]]),
            shown=str(record["shown"]),
        )


def _verdict_record(verdict: Verdict) -> dict[str, Any]:
    said = verdict.said_within
    return {
        "rule": _rule_record(verdict.rule),
        "support": verdict.support,
        "violations": verdict.violations,
        "bound": verdict.bound,
        "decision": verdict.decision,
        "said_within": None if said is None else list(said),
        "by_class": None if verdict.by_class is None else list(verdict.by_class),
    }


def _verdict(record: Mapping[str, Any]) -> Verdict:
    said, worst = record["said_within"], record["by_class"]
    return Verdict(
        rule=_rule(record["rule"]),
        support=int(record["support"]),
        violations=int(record["violations"]),
        bound=float(record["bound"]),
        decision=record["decision"],
        said_within=None if said is None else (float(said[0]), float(said[1])),
        by_class=None if worst is None else (str(worst[0]), int(worst[1]), int(worst[2])),
    )


def _rule_record(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "body": _body_record(rule.body),
        "when": [_predicate_record(predicate) for predicate in rule.when],
        "on_violation": rule.on_violation,
        "tolerance": rule.tolerance,
        "source": rule.source,
    }


def _rule(record: Mapping[str, Any]) -> Rule:
    return Rule(
        name=str(record["name"]),
        body=_body(record["body"]),
        when=_predicates(record["when"]),
        on_violation=record["on_violation"],
        tolerance=record["tolerance"],
        source=record["source"],
    )


def _body_record(body: Body) -> dict[str, Any]:
    if isinstance(body, Range):
        return {"type": "range", "column": body.column, "low": body.low, "high": body.high,
                "strict": body.strict}  # fmt: skip
    if isinstance(body, Membership):
        return {"type": "membership", "column": body.column, "values": list(body.values)}
    if isinstance(body, Implication):
        return {"type": "implication", "then": [_predicate_record(p) for p in body.then]}
    if isinstance(body, Order):
        return {"type": "order", "columns": list(body.columns), "strict": body.strict}
    if isinstance(body, Formula):
        return {"type": "formula", "column": body.column, "formula": str(body.expression),
                "within": body.within, "within_relative": body.within_relative}  # fmt: skip
    allowed = [list(row) for row in body.allowed]
    return {"type": "combinations", "columns": list(body.columns), "allowed": allowed,
            "is_learned": body.is_learned}  # fmt: skip


def _body(record: Mapping[str, Any]) -> Body:
    kind = record["type"]
    if kind == "range":
        return Range(record["column"], record["low"], record["high"], record["strict"])
    if kind == "membership":
        return Membership(record["column"], tuple(record["values"]))
    if kind == "implication":
        return Implication(_predicates(record["then"]))
    if kind == "order":
        return Order(tuple(record["columns"]), record["strict"])
    if kind == "formula":
        return _formula(record)
    if kind == "combinations":
        allowed = tuple([tuple(row) for row in record["allowed"]])
        return Combinations(tuple(record["columns"]), allowed, record["is_learned"])
    raise ValueError(f"{kind!r} is no kind of rule")


def _formula(record: Mapping[str, Any]) -> Formula:
    # Written by `Expression.__str__`, every column in double quotes.
    expression = parse(record["formula"], _AnyName())
    return Formula(record["column"], expression, record["within"], record["within_relative"])


class _AnyName(Sequence[str]):
    """Holds every name: a record was checked against its columns before it was written."""

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, at: Any) -> Any:
        raise IndexError(at)

    def __len__(self) -> int:
        return 0


def _predicate_record(predicate: Predicate) -> dict[str, Any]:
    return {"column": predicate.column, "relation": predicate.relation,
            "values": list(predicate.values)}  # fmt: skip


def _predicates(records: Sequence[Mapping[str, Any]]) -> tuple[Predicate, ...]:
    return tuple([Predicate(r["column"], r["relation"], tuple(r["values"])) for r in records])
