"""What the rows shown say: relations between columns, as sentences and as statements."""

from __future__ import annotations

from collections import Counter

import numpy as np

from rddg_ray.llm.embedded.columns import PromptColumn
from rddg_ray.llm.embedded.fitting import (
    Floats,
    Layout,
    ShownRows,
    find_links,
    indicators,
)
from rddg_ray.llm.embedded.formulas import find_formulas
from rddg_ray.llm.embedded.reading import Reading
from rddg_ray.llm.embedded.statements import Implication, Range, quoted

# A reply names no more than these, the clearest first, however wide the table is.
_MAX_COLUMNS = 40
_MAX_CORRELATIONS = 12
_MAX_IMPLICATIONS = 24
_MAX_CATEGORIES = 6
_WEAKEST_CORRELATION = 0.4


def relation_lines(reading: Reading) -> list[str]:
    """Return the analysis of the rows shown, as lines of text."""
    layout = Layout.of(reading.columns)
    rows = {letter: layout.shown(cells) for letter, cells in reading.rows.items() if cells}
    every = layout.shown([row for shown in rows.values() for row in shown.cells])
    varying = [i for i in range(1, len(layout.texts)) if len(set(every.texts[:, i])) > 1]
    clearest = _clearest(rows)
    lines = ["Columns by class:"]
    for letter, shown in rows.items():
        lines.append(f"Class {letter} ({quoted(reading.classes[letter])}), {len(shown.cells)} rows")
        lines += _number_lines(layout, shown, letter, reading.classes[letter], clearest)
        lines += _text_lines(layout, shown, varying)
    lines += ["", "Relations between columns:", *_constant_lines(layout, every)]
    lines += [f"- {formula.sentence(note)}." for formula, note in find_formulas(layout, every)]
    lines += [f"- {implication.sentence()}." for implication in _implications(layout, every)]
    for letter, shown in rows.items():
        lines += _correlation_lines(layout, shown, letter)
    return lines


def _clearest(rows: dict[str, ShownRows]) -> list[int]:
    """Return number columns, those first whose class means differ most for their spread."""
    every = np.concatenate([shown.numbers for shown in rows.values()])
    n_numbers = every.shape[1]
    means = np.array(
        [[_mean(shown.numbers[:, i]) for i in range(n_numbers)] for shown in rows.values()]
    )
    stds = np.array([_std(every[:, i]) for i in range(n_numbers)])
    separation = (means.max(axis=0) - means.min(axis=0)) / np.where(stds > 0, stds, np.inf)
    return [int(i) for i in np.argsort(-separation, kind="stable")[:_MAX_COLUMNS]]


def _mean(values: Floats) -> float:
    shown = values[~np.isnan(values)]
    return float(shown.mean()) if len(shown) else 0.0


def _std(values: Floats) -> float:
    shown = values[~np.isnan(values)]
    return float(shown.std(ddof=1)) if len(shown) > 1 else 0.0


def _number_lines(
    layout: Layout, shown: ShownRows, letter: str, value: str, wanted: list[int]
) -> list[str]:
    lines = []
    for i in wanted:
        column, cells = layout.numbers[i], shown.numbers[:, i]
        present = cells[~np.isnan(cells)]
        if not len(present):
            continue
        low, high = column.cell(present.min()), column.cell(present.max())
        figures = f", mean {column.cell(present.mean())}, median {column.cell(np.median(present))}"
        empty = f", empty in {len(cells) - len(present)} rows" if len(present) < len(cells) else ""
        lines.append(f"- {Range(value, column.name, low, high).sentence(letter)}{figures}{empty}.")
    return lines


def _constant_lines(layout: Layout, rows: ShownRows) -> list[str]:
    constants = [
        f"{quoted(column.name)} {quoted(str(rows.texts[0, i])) if rows.texts[0, i] else 'empty'}"
        for i, column in list(enumerate(layout.texts))[1:]
        if len(set(rows.texts[:, i])) == 1
    ]
    return [f"- The same in all rows: {', '.join(constants[:_MAX_COLUMNS])}."] if constants else []


def _text_lines(layout: Layout, shown: ShownRows, wanted: list[int]) -> list[str]:
    lines = []
    for i in wanted[:_MAX_COLUMNS]:
        counts = Counter(str(value) for value in shown.texts[:, i]).most_common(_MAX_CATEGORIES)
        told = ", ".join(
            f"{quoted(value) if value else 'empty'} in {count}" for value, count in counts
        )
        lines.append(f"- {quoted(layout.texts[i].name)}: {told} of {len(shown.cells)} rows.")
    return lines


def _implications(layout: Layout, rows: ShownRows) -> list[Implication]:
    fixing = [
        Implication(
            layout.texts[link.text].name,
            link.category,
            layout.numbers[link.number].name,
            _cell_of(rows, layout, link.number, link.value),
            is_number=True,
        )
        for link in find_links(rows)
    ]
    return [*fixing, *_between_texts(layout.texts, rows)][:_MAX_IMPLICATIONS]


def _cell_of(rows: ShownRows, layout: Layout, number: int, value: float) -> str:
    # As shown: the column's usual places would round a constant.
    row = int(np.flatnonzero(rows.numbers[:, number] == value)[0])
    return rows.cells[row][layout.number_positions[number]]


def _between_texts(columns: tuple[PromptColumn, ...], rows: ShownRows) -> list[Implication]:
    """Return categories that imply one of another column, more often than by chance."""
    flags = indicators(rows.texts)
    if not flags.names:
        return []
    counts, shares = flags.matrix.sum(axis=0), flags.matrix.mean(axis=0)
    together = flags.matrix.T @ flags.matrix
    chance = shares[None, :] ** counts[:, None]
    found = (together == counts[:, None]) & (flags.owner[:, None] != flags.owner[None])
    pairs = np.argwhere(found & (chance <= 0.01))
    order = np.argsort(chance[pairs[:, 0], pairs[:, 1]], kind="stable")
    return [
        Implication(
            columns[flags.owner[a]].name,
            flags.names[a],
            columns[flags.owner[b]].name,
            flags.names[b],
            is_number=False,
        )
        for a, b in pairs[order][:_MAX_IMPLICATIONS]
    ]


def _correlation_lines(layout: Layout, shown: ShownRows, letter: str) -> list[str]:
    numbers = np.nan_to_num(shown.numbers - np.nanmean(_padded(shown.numbers), axis=0), nan=0.0)
    norms = np.sqrt((numbers**2).sum(axis=0))
    scaled = numbers / np.where(norms > 0, norms, 1.0)
    pairs: Floats = np.triu(scaled.T @ scaled, k=1)
    strong = np.argwhere(np.asarray(np.abs(pairs) >= _WEAKEST_CORRELATION))
    order = np.argsort(-np.abs(pairs[strong[:, 0], strong[:, 1]]), kind="stable")
    return [
        f"- In class {letter} {quoted(layout.numbers[a].name)} and "
        f"{quoted(layout.numbers[b].name)} "
        f"{'rise together' if pairs[a, b] > 0 else 'move against each other'} "
        f"(correlation {pairs[a, b]:.2f})."
        for a, b in strong[order][:_MAX_CORRELATIONS]
    ]


def _padded(numbers: Floats) -> Floats:
    # A column without any number has no mean; 0 stands for it, and its scores are 0 then.
    empty = np.isnan(numbers).all(axis=0, keepdims=True)
    return np.where(empty, 0.0, numbers)
