"""Verified rules against generated rows: what breaks them, and what can be repaired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rddg_ray.constraints.cells import Bools, Cells, Value
from rddg_ray.constraints.repairing import repaired
from rddg_ray.constraints.rule import Rule
from rddg_ray.schema import Column

Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a row.

    Attributes:
        row: The row, repaired where that was possible.
        broken: Rules that the row broke as it came.
        refused_by: The first rule that it still breaks, or None.
    """

    row: Row
    broken: tuple[Rule, ...] = ()
    refused_by: Rule | None = None


class Enforcer:
    """Checks rows of one table against rules.

    Attributes:
        rules: The rules, in order.
    """

    def __init__(self, columns: Sequence[Column], rules: Sequence[Rule]) -> None:
        """Prepare rules.

        Args:
            columns: Columns in the rows' order (`Table.prompt_columns`).
            rules: What is enforced; a repair is made in this order.
        """
        self.rules = tuple(rules)
        self._columns = tuple(columns)
        self._places = {column.name: place for place, column in enumerate(columns)}

    def check(self, rows: Sequence[Row]) -> list[Bools]:
        """Return for each rule which rows break it, arrays of shape `(n_rows,)`."""
        cells = Cells.of_rows(self._columns, rows)
        return [rule.broken(cells) for rule in self.rules]

    def judge(self, rows: Sequence[Row]) -> list[Judged]:
        """Return what becomes of each row: repaired where its rules say so, refused, or as it is.

        A repair may break another rule; then the row is refused by that one.
        """
        if not self.rules or not rows:
            return [Judged(row) for row in rows]
        by_rule = self.check(rows)
        found = []
        for at, row in enumerate(rows):
            broken = tuple([rule for rule, marks in zip(self.rules, by_rule, strict=True)
                            if marks[at]])  # fmt: skip
            found.append(self._settle(row, broken) if broken else Judged(row))
        return found

    def _settle(self, row: Row, broken: tuple[Rule, ...]) -> Judged:
        final = [rule for rule in broken if rule.on_violation == "refuse"]
        if final:
            return Judged(row, broken, final[0])
        mended = row
        for rule in self.rules:
            if rule.on_violation == "repair":
                mended = self._repair(mended, rule)
        left = [rule for rule, marks in zip(self.rules, self.check([mended]), strict=True)
                if marks[0]]  # fmt: skip
        return Judged(row, broken, left[0]) if left else Judged(mended, broken)

    def _repair(self, row: Row, rule: Rule) -> Row:
        cells = Cells.of_rows(self._columns, [row])
        if not rule.broken(cells)[0]:
            return row
        changes = repaired(rule.body, cells)
        if changes is None:
            return row
        values = list(row)
        for name, value in changes.items():
            values[self._places[name]] = value
        return tuple(values)
