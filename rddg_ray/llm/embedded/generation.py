"""The generation reply: new rows of each class asked for, with the sampler's flaws."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rddg_ray.config import EmbeddedSettings
from rddg_ray.llm.embedded.changes import NewRows
from rddg_ray.llm.embedded.columns import PromptColumn, csv_line
from rddg_ray.llm.embedded.fitting import Floats, Layout, find_links
from rddg_ray.llm.embedded.flaws import malformed_line
from rddg_ray.llm.embedded.formulas import apply
from rddg_ray.llm.embedded.planning import Limits, plan_changes
from rddg_ray.llm.embedded.reading import Reading
from rddg_ray.llm.embedded.remarks import read_remarks
from rddg_ray.llm.embedded.sampling import ClassSampler
from rddg_ray.llm.embedded.statements import Formula, Implication, Statements, read_statements

# More rows than this in one reply is no request for a batch; it would also hold the server.
MAX_ROWS = 5_000
# Rows are compared pair by pair, cell by cell.
MAX_EXAMPLES = 300


def generation_reply(reading: Reading, settings: EmbeddedSettings, rng: np.random.Generator) -> str:
    """Return header and new rows, each class under its letter."""
    writer = _Writer(reading, settings, rng)
    lines = [csv_line([column.name for column in reading.columns])]
    for letter, count in reading.requests:
        lines.append(f"{letter}.")
        lines += writer.lines(letter, min(count, MAX_ROWS))
    return "\n".join(lines) + "\n"


def generation_rows(
    reading: Reading, settings: EmbeddedSettings, rng: np.random.Generator
) -> list[list[str]]:
    """Return the cells of new rows, class by class, for a reply that follows a schema.

    None is malformed: what a schema rules out, a model that is held to it cannot write.
    """
    writer = _Writer(reading, settings, rng)
    return [
        cells
        for letter, count in reading.requests
        for cells in writer.rows(letter, min(count, MAX_ROWS))
    ]


class _Writer:
    """Writes the rows of one reply."""

    def __init__(
        self, reading: Reading, settings: EmbeddedSettings, rng: np.random.Generator
    ) -> None:
        self._reading = reading
        self._settings = settings
        self._rng = rng
        self._layout = Layout.of(reading.columns)
        self._statements = read_statements(reading.rules)
        self._remarks = read_remarks(reading.feedback)
        every = self._layout.shown([row for rows in reading.rows.values() for row in rows])
        self._links = find_links(every)

    def lines(self, letter: str, count: int) -> Iterator[str]:
        """Yield `count` lines of rows of a class, or one of prose where none was shown."""
        if not self._examples(letter):
            yield f"I cannot write rows of class {letter}: the prompt shows no row of it."
        for cells, is_malformed in self._written(letter, count):
            if is_malformed:
                yield malformed_line(cells, self._reading.columns, self._rng)
            else:
                yield csv_line(cells)

    def rows(self, letter: str, count: int) -> Iterator[list[str]]:
        """Yield the cells of `count` rows of a class, or nothing where none was shown."""
        for cells, _ in self._written(letter, count):
            yield cells

    def _examples(self, letter: str) -> list[list[str]]:
        return self._reading.rows.get(letter, [])[:MAX_EXAMPLES]

    def _written(self, letter: str, count: int) -> Iterator[tuple[list[str], bool]]:
        """Yield rows, some of them copies, and whether each is to be written wrongly."""
        examples = self._examples(letter)
        if not examples:
            return
        malformed, copied = self._settings.malformed_share, self._settings.copy_share
        drawn = self._drawn(letter, examples, count)
        for cells, fate in zip(drawn, self._rng.random(count), strict=True):
            if malformed <= fate < malformed + copied:
                yield examples[int(self._rng.integers(len(examples)))], False
            else:
                yield cells, bool(fate < malformed)

    def _drawn(self, letter: str, examples: list[list[str]], count: int) -> list[list[str]]:
        shown = self._layout.shown(examples)
        sampler = ClassSampler.fit(shown, self._links, _together(self._layout, self._statements))
        changes = plan_changes(self._layout, sampler.margins, self._remarks, letter, self._settings)
        new = sampler.draw(count, changes, self._rng)
        value = self._reading.classes.get(letter, examples[0][0])
        limits = Limits.of(self._layout, self._statements, value)
        _bound(new, limits, self._layout.numbers, self._rng)
        for formula in self._statements.formulas:
            _recompute(new, formula, self._layout, sampler)
        fixed = _fixed_by_rules(new, self._statements.implications, self._layout)
        return _cells(new, self._layout, examples, fixed)


def _together(layout: Layout, statements: Statements) -> Iterator[tuple[int, ...]]:
    """Yield columns that the rules tie together: they come from one row."""
    numbers = {column.name: i for i, column in enumerate(layout.numbers)}
    texts = {column.name: len(numbers) + i for i, column in enumerate(layout.texts)}
    positions = texts | numbers
    for formula in statements.formulas:
        names = (formula.output, formula.left, formula.right)
        if all(name in numbers for name in names):
            yield tuple(numbers[name] for name in names)
    for rule in statements.implications:
        if rule.name in positions and rule.other in positions:
            yield positions[rule.name], positions[rule.other]


def _bound(
    new: NewRows, limits: Limits, columns: tuple[PromptColumn, ...], rng: np.random.Generator
) -> None:
    """Bring numbers into their range and round them to their column's places.

    What lies outside is reflected at the bound, so that bounds do not turn into frequent
    values, and clipped where that is not enough.

    Rounding goes up or down by chance, in proportion, so that a small shift of a column of
    whole numbers moves its mean as it should; numbers that need no rounding stay.
    """
    for i, column in enumerate(columns):
        scale = 10.0**column.decimals
        scaled = _reflected(new.numbers[:, i], limits.low[i], limits.high[i]) * scale
        exact = np.abs(scaled - np.round(scaled)) < 1e-6
        dithered = np.floor(scaled + rng.random(len(scaled)))
        rounded = np.where(exact, np.round(scaled), dithered)
        # The bounds may have more places than the column's cells.
        low, high = np.ceil(limits.low[i] * scale - 1e-6), np.floor(limits.high[i] * scale + 1e-6)
        clipped = np.clip(rounded, low, max(low, high)) / scale
        new.numbers[:, i] = np.where(new.fixed[:, i], new.numbers[:, i], clipped)


def _reflected(values: Floats, low: float, high: float) -> Floats:
    with np.errstate(invalid="ignore"):  # an infinite bound minus itself, where nothing is below
        above_low = np.where(values < low, 2 * low - values, values)
        return np.where(above_low > high, np.maximum(2 * high - above_low, low), above_low)


def _recompute(new: NewRows, formula: Formula, layout: Layout, sampler: ClassSampler) -> None:
    """Compute a column anew where the row it comes from keeps the formula."""
    numbers = {column.name: i for i, column in enumerate(layout.numbers)}
    names = (formula.output, formula.left, formula.right)
    if not all(name in numbers for name in names):
        return
    output, left, right = (numbers[name] for name in names)
    shown = sampler.rows.numbers
    errors = np.abs(apply(formula.operator, shown[:, left], shown[:, right]) - shown[:, output])
    # A little more than the tolerance: it was measured on other rows.
    kept = np.nan_to_num(errors, nan=np.inf) <= 1.5 * formula.tolerance
    wanted = kept[new.parents[:, output]] & ~new.fixed[:, [output, left, right]].any(axis=1)
    values = apply(formula.operator, new.numbers[:, left], new.numbers[:, right])
    rounded = np.round(values, layout.numbers[output].decimals)
    new.numbers[:, output] = np.where(wanted & ~np.isnan(values), rounded, new.numbers[:, output])


def _fixed_by_rules(
    new: NewRows, implications: tuple[Implication, ...], layout: Layout
) -> dict[tuple[int, int], str]:
    """Apply implications; return the cell text of numbers they fix, by row and number column."""
    numbers = {column.name: i for i, column in enumerate(layout.numbers)}
    texts = {column.name: i for i, column in enumerate(layout.texts)}
    fixed: dict[tuple[int, int], str] = {}
    for rule in implications:
        if rule.name not in texts:
            continue
        rows = np.flatnonzero(new.texts[:, texts[rule.name]] == rule.value)
        if rule.is_number and rule.other in numbers:
            fixed |= {(int(row), numbers[rule.other]): rule.fixed for row in rows}
        elif not rule.is_number and texts.get(rule.other, 0) > 0:
            new.texts[rows, texts[rule.other]] = rule.fixed
    return fixed


def _cells(
    new: NewRows,
    layout: Layout,
    examples: list[list[str]],
    fixed: dict[tuple[int, int], str],
) -> list[list[str]]:
    cells = [[""] * len(layout.columns) for _ in range(len(new.numbers))]
    for i, (position, column) in enumerate(
        zip(layout.number_positions, layout.numbers, strict=True)
    ):
        for row, value in enumerate(new.numbers[:, i].tolist()):
            if new.fixed[row, i]:  # a constant keeps its text, digit by digit
                cells[row][position] = examples[int(new.parents[row, i])][position]
            else:
                cells[row][position] = column.cell(value)
    for (row, i), text in fixed.items():
        cells[row][layout.number_positions[i]] = text
    for i, position in enumerate(layout.text_positions):
        for row, text in enumerate(new.texts[:, i].tolist()):
            cells[row][position] = text
    return cells
