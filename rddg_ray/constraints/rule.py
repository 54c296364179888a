"""A rule: a demand on rows, the condition under which it counts, and what a breach leads to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rddg_ray.constraints.bodies import Body, Implication, Order
from rddg_ray.constraints.cells import Bools, Cells
from rddg_ray.constraints.predicates import Predicate, all_hold

OnViolation = Literal["refuse", "repair"]
Source = Literal["model", "user"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A demand that a row passes or fails.

    Attributes:
        name: What it is called in reasons and reports, unique among a chain's rules.
        body: What is demanded.
        when: Statements that must all be true for the demand to count; none for every row.
        on_violation: Whether a row that fails is refused, or repaired where that is possible.
        tolerance: Share of real rows that may fail, in [0, 1); None for the default.
        source: Who wrote it.
    """

    name: str
    body: Body
    when: tuple[Predicate, ...] = ()
    on_violation: OnViolation = field(default="refuse", kw_only=True)
    tolerance: float | None = field(default=None, kw_only=True)
    source: Source = field(default="model", kw_only=True)

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns it speaks of, those of the demand first."""
        return tuple(dict.fromkeys((*self.body.columns, *[p.column for p in self.when])))

    @property
    def is_trivial(self) -> bool:
        """Return whether no row could fail: its condition says what it demands."""
        if isinstance(self.body, Order):
            return len(set(self.body.columns)) < 2 and not self.body.strict
        return isinstance(self.body, Implication) and set(self.body.then) <= set(self.when)

    def judged(self, cells: Cells) -> Bools:
        """Return which rows meet the condition and have the cells known, shape `(n_rows,)`."""
        return all_hold(self.when, cells) & self.body.judged(cells)

    def broken(self, cells: Cells) -> Bools:
        """Return which rows fail, shape `(n_rows,)`; never one that is not judged."""
        return self.judged(cells) & ~self.body.holds(cells)
