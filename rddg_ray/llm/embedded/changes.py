"""What feedback and flaws change in rows that were drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rddg_ray.llm.embedded.fitting import (
    Bools,
    Floats,
    Ints,
    Margin,
    ShownRows,
    Texts,
    normal_scores,
)

_LARGEST_CORRELATION = 0.98
# Where few numbers of a column can move, they move farther, but not beyond this factor.
_LARGEST_LEVERAGE = 5.0


@dataclass(frozen=True, slots=True)
class Changes:
    """What to change in the class's distribution; arrays have shape `(n_numbers,)`.

    Attributes:
        shift: Added to the mean.
        spread: Factor on deviations from the mean.
        pull: Share, in [0, 1], by which ranks are moved onto the shown rows' quantiles.
        correlations: Number columns a, b and the wanted change of their correlation.
        shares: Text column, category and the wanted change of its share.
    """

    shift: Floats
    spread: Floats
    pull: Floats
    correlations: tuple[tuple[int, int, float], ...] = ()
    shares: tuple[tuple[int, str, float], ...] = ()

    @classmethod
    def none(cls, n_numbers: int) -> Changes:
        """Return no change at all."""
        return cls(np.zeros(n_numbers), np.ones(n_numbers), np.zeros(n_numbers))


@dataclass(slots=True)
class NewRows:
    """Rows in the making.

    Attributes:
        numbers: Shape `(n_rows, n_numbers)`.
        texts: Shape `(n_rows, n_texts)`.
        parents: Row shown that each number comes from, as `numbers`.
        fixed: Which numbers are constants, to be written as they were shown.
    """

    numbers: Floats
    texts: Texts
    parents: Ints
    fixed: Bools


def apply_changes(
    new: NewRows,
    changes: Changes,
    shown: ShownRows,
    margins: tuple[Margin, ...],
    rng: np.random.Generator,
) -> None:
    """Change new rows in place: shares, then means and spreads, then correlations."""
    _change_shares(new, shown, changes, rng)
    _change_margins(new, changes, margins)
    _change_correlations(new, changes)


def _change_margins(new: NewRows, changes: Changes, margins: tuple[Margin, ...]) -> None:
    free = ~(new.fixed | np.isnan(new.numbers))
    for i, margin in enumerate(margins):
        movable = free[:, i]
        if not movable.any():
            continue
        values = new.numbers[movable, i]
        if changes.pull[i] > 0:
            values += changes.pull[i] * (_quantiles(margin, values) - values)
        values = margin.mean + changes.spread[i] * (values - margin.mean)
        # The mean is that of all cells, and only these move.
        present = np.count_nonzero(~np.isnan(new.numbers[:, i]))
        values += changes.shift[i] * min(_LARGEST_LEVERAGE, present / len(values))
        new.numbers[movable, i] = values


def _quantiles(margin: Margin, values: Floats) -> Floats:
    """Return the shown rows' quantiles at the ranks of values."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return margin.value(np.array(normal_scores(len(values)))[ranks])


def _change_shares(
    new: NewRows, shown: ShownRows, changes: Changes, rng: np.random.Generator
) -> None:
    for text, category, change in changes.shares:
        has = new.texts[:, text] == category
        base = float(np.mean(shown.texts[:, text] == category))
        draws = rng.random(len(has))
        if change > 0 and base < 1:
            new.texts[~has & (draws < change / (1 - base)), text] = category
        others = shown.texts[shown.texts[:, text] != category, text]
        if change < 0 and base > 0 and len(others):
            given_up = has & (draws < -change / base)
            new.texts[given_up, text] = rng.choice(others, size=int(given_up.sum()))


def _change_correlations(new: NewRows, changes: Changes) -> None:
    for a, b, change in changes.correlations:
        rows = ~(new.fixed[:, [a, b]] | np.isnan(new.numbers[:, [a, b]])).any(axis=1)
        x, y = new.numbers[rows, a], new.numbers[rows, b]
        if len(x) < 4 or x.std() == 0 or y.std() == 0:
            continue
        x_scores, y_scores = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
        now = float(np.mean(x_scores * y_scores))
        rest = y_scores - now * x_scores
        if rest.std() < 1e-9:
            continue
        wanted = float(np.clip(now + change, -_LARGEST_CORRELATION, _LARGEST_CORRELATION))
        moved = wanted * x_scores + np.sqrt(1 - wanted**2) * rest / rest.std()
        new.numbers[rows, b] = y.mean() + y.std() * moved
