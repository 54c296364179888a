"""Rules against the real training rows: support, violations, a bound, and what is decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from rddg_ray.constraints.bodies import Combinations, Formula
from rddg_ray.constraints.cells import Bools, Cells
from rddg_ray.constraints.rule import Rule

Decision = Literal["kept", "violated", "too_rare", "never_met", "trivial", "repeated", "too_costly"]

# A rule refuses the share of honest rows that break it, so this is what a user may lose by one
# rule; slips of measuring and rounding stay below it in the tables we read (0.1 to 1%).
TOLERANCE = 0.02
# What a rule may refuse at worst: unbroken by n rows, its rate lies below 1 - 0.05**(1/n) with 95%
# confidence, so that 19 rows are the fewest that can speak for a rule. Asking for a bound as small
# as the tolerance would need 149 rows, and leave rare classes, which need rules most, without any.
MAX_BOUND = 0.15
CONFIDENCE = 0.95
# Rules that each cost little may cost much together; of a class they may refuse this share of
# the real rows at most, or one row of a small class.
MAX_TOGETHER = 0.05
# A formula's difference is widened to what real rows show, if that is not much more than was said
# and small beside the column's own spread; a model says it from 15 rows.
_MAX_WIDENING = 3.0
_MAX_OF_SPREAD = 0.25


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the real rows say of a rule.

    Attributes:
        rule: The rule; a formula whose difference was widened has the wider one.
        support: Real rows that meet its condition and have its cells known.
        violations: How many of them break it. Of combinations learned from these rows: those
            whose combination no other row has.
        bound: Upper end of the one-sided 95% confidence interval (Clopper-Pearson) of the share
            of rows that break it, in [0, 1].
        decision: What follows.
        said_within: Differences that a formula allowed before they were widened (absolute,
            relative); None where they were not.
        by_class: The class whose rows break it more often than is allowed, with its support and
            violations, where all rows together do not; None elsewhere.
    """

    rule: Rule
    support: int
    violations: int
    bound: float
    decision: Decision
    said_within: tuple[float, float] | None = None
    by_class: tuple[str, int, int] | None = None

    @property
    def is_kept(self) -> bool:
        """Return whether the rule is shown and enforced."""
        return self.decision == "kept"

    @property
    def rate(self) -> float:
        """Return the share of judged real rows that break it; 0 where there are none."""
        return self.violations / self.support if self.support else 0.0


@lru_cache(maxsize=4096)
def upper_bound(violations: int, support: int, confidence: float = CONFIDENCE) -> float:
    """Return the upper end of the one-sided Clopper-Pearson interval of a share.

    Args:
        violations: Cases seen, from 0 to `support`.
        support: Trials; 1.0 is returned for none.
        confidence: Probability that the interval covers the share, in (0, 1).
    """
    if violations >= support:
        return 1.0
    # Loaded here, because a rule is verified long after the package is imported.
    from scipy.special import betaincinv

    return float(betaincinv(violations + 1, support - violations, confidence))


def lower_bound(violations: int, support: int, confidence: float = CONFIDENCE) -> float:
    """Return the lower end of the one-sided Clopper-Pearson interval; see `upper_bound`."""
    return 1.0 - upper_bound(support - violations, support, confidence) if violations else 0.0


def verify(
    rules: Sequence[Rule], cells: Cells, target: str, tolerance: float = TOLERANCE
) -> tuple[Verdict, ...]:
    """Return what the real rows say of each rule, in order.

    A rule is kept if at most `tolerance` of the judged rows break it (or the share it gives
    itself), if no class breaks it more often with 95% confidence, if so many rows were judged
    that the bound of its share is at most `MAX_BOUND`, and if with the rules that are broken less
    often it refuses at most `MAX_TOGETHER` of each class. A user's rules cost what they cost.

    Args:
        rules: Rules about the rows' columns.
        cells: The real training rows.
        target: The class column: what all rows break seldom may be broken by every row of a rare
            class.
        tolerance: Share of the judged rows that may break a rule, in [0, 1).
    """
    classes = _class_marks(cells, target)
    found: list[Verdict] = []
    seen: set[object] = set()
    for rule in rules:
        verdict = _verdict(rule, cells, classes, tolerance)
        content = (verdict.rule.body, frozenset(rule.when))
        if verdict.is_kept and content in seen:
            verdict = replace(verdict, decision="repeated")
        seen.add(content)
        found.append(verdict)
    return _affordable(found, cells, classes)


def _class_marks(cells: Cells, target: str) -> dict[str, Bools]:
    labels = cells.texts(target)
    known = sorted({str(label) for label in labels if label is not None})
    return {label: np.array([cell == label for cell in labels], dtype=np.bool_) for label in known}


def _affordable(
    verdicts: Sequence[Verdict], cells: Cells, classes: Mapping[str, Bools]
) -> tuple[Verdict, ...]:
    """Drop the model's rules that would refuse too many real rows of a class with the others."""
    found = list(verdicts)
    kept = [at for at, verdict in enumerate(found) if verdict.is_kept]
    # What a user's rules refuse is no cost of the model's.
    free, refused = np.zeros((2, cells.n_rows), dtype=np.bool_)
    for at in sorted(kept, key=lambda at: (found[at].rule.source == "model", found[at].rate)):
        broken = found[at].rule.broken(cells) & ~free
        if found[at].rule.source == "user":
            free |= broken
        elif broken.any() and _costs_too_much(refused | broken, classes):
            found[at] = replace(found[at], decision="too_costly")
        else:
            refused |= broken
    return tuple(found)


def _costs_too_much(refused: Bools, classes: Mapping[str, Bools]) -> bool:
    return any(
        int((refused & mine).sum()) > max(1, MAX_TOGETHER * int(mine.sum()))
        for mine in classes.values()
    )


def _verdict(rule: Rule, cells: Cells, classes: Mapping[str, Bools], tolerance: float) -> Verdict:
    allowed = tolerance if rule.tolerance is None else rule.tolerance
    verdict = _judged(rule, cells, classes, allowed)
    body = rule.body
    if verdict.decision != "violated" or rule.source == "user" or not isinstance(body, Formula):
        return verdict
    wider = _widened(body, cells, rule.judged(cells), allowed)
    if wider is None:
        return verdict
    found = _judged(replace(rule, body=wider), cells, classes, allowed)
    said = (body.within, body.within_relative)
    return replace(found, said_within=said) if found.is_kept else verdict


def _judged(rule: Rule, cells: Cells, classes: Mapping[str, Bools], allowed: float) -> Verdict:
    judged = rule.judged(cells)
    broken = _counted(rule, cells, judged)
    support, violations = int(judged.sum()), int(broken.sum())
    verdict = Verdict(rule, support, violations, upper_bound(violations, support), "kept")
    decision = _decision(verdict, allowed)
    if decision not in ("kept", "too_rare"):
        return replace(verdict, decision=decision)
    counts = [(label, int((judged & mine).sum()), int((broken & mine).sum()))
              for label, mine in classes.items()]  # fmt: skip
    worst = max(counts, key=lambda c: lower_bound(c[2], c[1]), default=("", 0, 0))
    if lower_bound(worst[2], worst[1]) > allowed:
        return replace(verdict, decision="violated", by_class=worst)
    return replace(verdict, decision=decision)


def _counted(rule: Rule, cells: Cells, judged: Bools) -> Bools:
    if isinstance(rule.body, Combinations) and rule.body.is_learned:
        rows = list(zip(*[cells.texts(name) for name in rule.body.columns], strict=True))
        counts = Counter(rows)
        return judged & np.array([counts[row] == 1 for row in rows], dtype=np.bool_)
    return judged & ~rule.body.holds(cells)


def _decision(verdict: Verdict, allowed: float) -> Decision:
    if verdict.rule.is_trivial:
        return "trivial"
    if verdict.support == 0:
        return "never_met"
    if verdict.rate > allowed:
        return "violated"
    # A user's rule may be about few rows, and one may allow itself more than the bound.
    is_said = verdict.rule.tolerance is not None or verdict.rule.source == "user"
    return "kept" if is_said or verdict.bound <= MAX_BOUND else "too_rare"


def _widened(body: Formula, cells: Cells, judged: Bools, allowed: float) -> Formula | None:
    """Return the formula with the difference that real rows need, or None if beyond bounds."""
    errors = np.sort(body.errors(cells)[judged])
    # The least difference that keeps the share of broken rows within what is allowed.
    needed = float(errors[len(errors) - 1 - int(allowed * len(errors))])
    said = float(np.median(body.allowed(cells)[judged]))
    values = cells.numbers(body.column)[judged]
    unit = 86_400.0 if cells.columns[body.column].kind == "datetime" else 1.0
    spread = float(values.std()) / unit
    if not 0 < needed <= min(_MAX_WIDENING * said, _MAX_OF_SPREAD * spread):
        return None
    return replace(body, within=_rounded_up(needed), within_relative=0.0)


def _rounded_up(number: float) -> float:
    """Return a number of three digits that is not below this one."""
    step = 10.0 ** (np.floor(np.log10(number)) - 2)
    return float(f"{np.ceil(number / step * (1 - 1e-12)) * step:.12g}")
