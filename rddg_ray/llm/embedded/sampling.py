"""New rows of one class from the rows shown: a smoothed bootstrap on normal scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rddg_ray.llm.embedded.changes import Changes, NewRows, apply_changes
from rddg_ray.llm.embedded.fitting import Bools, Floats, Ints, Link, Margin, ShownRows

# Chance that a group of linked columns comes from a neighbour instead of the base row.
_CROSSING = 0.3
_NEIGHBOURS = 5
_ATTEMPTS_AT_NOVELTY = 5
# Values that so many rows of the class share (zeros, grades) are kept as they are.
_SHARE_OF_AN_ATOM = 0.3
# Share of the noise's variance that is each number's own: without it n rows span all there is.
_INDEPENDENT_NOISE = 0.1


@dataclass(frozen=True, slots=True)
class ClassSampler:
    """A sampler fitted to the rows of one class.

    Attributes:
        rows: The rows shown, at least one.
        margins: One for each numeric column.
        groups: Group of each column (numbers, then texts); a group crosses as a whole.
        fixed: Numbers that a flag or their precision marks as constants, as `rows.numbers`.
        neighbours: The nearest other rows of each row, nearest first.
    """

    rows: ShownRows
    margins: tuple[Margin, ...]
    groups: Ints
    fixed: Bools
    neighbours: Ints

    @classmethod
    def fit(
        cls, rows: ShownRows, links: Iterable[Link], together: Iterable[tuple[int, ...]] = ()
    ) -> ClassSampler:
        """Fit to rows.

        Args:
            rows: The class's rows, at least one.
            links: Flags that fix numbers, found in the rows of all classes.
            together: Further columns that belong together, as positions among the numbers and
                then the texts.
        """
        n_numbers = rows.numbers.shape[1]
        fixed = rows.constants.copy()
        pairs = list(together)
        for link in links:
            fixed[:, link.number] |= rows.numbers[:, link.number] == link.value
            pairs.append((link.number, n_numbers + link.text))
        # Constants say nothing of the distribution of real values beside them.
        free = np.where(fixed, np.nan, rows.numbers)
        margins = tuple(Margin.of(free[:, number]) for number in range(n_numbers))
        # Numbers that are perturbed anyway come from one row, so that they stay correlated.
        tied = {member for pair in pairs for member in pair}
        moving = _moving(rows.numbers, fixed).mean(axis=0) > 0.5
        pairs.append(tuple(int(i) for i in np.flatnonzero(moving) if i not in tied))
        groups = _groups(n_numbers + rows.texts.shape[1], pairs)
        return cls(rows, margins, groups, fixed, _neighbours(rows, margins))

    def draw(self, n_rows: int, changes: Changes, rng: np.random.Generator) -> NewRows:
        """Return new rows; numbers are neither rounded nor clipped yet."""
        new = self._crossed(n_rows, rng)
        self._perturb(new, rng)
        apply_changes(new, changes, self.rows, self.margins, rng)
        return new

    def _crossed(self, n_rows: int, rng: np.random.Generator) -> NewRows:
        """Return rows put together from neighbouring rows, none equal to a shown one if it can be.

        A row with a number that will be perturbed differs by that.
        """
        n_numbers = self.rows.numbers.shape[1]
        parents = self._parents(n_rows, _CROSSING, rng)
        for attempt in range(1, _ATTEMPTS_AT_NOVELTY + 1):
            copies = np.flatnonzero(self._are_copies(parents))
            if not len(copies):
                break
            parents[copies] = self._parents(len(copies), min(0.5, _CROSSING + attempt / 10), rng)
        numbers, texts = parents[:, :n_numbers], parents[:, n_numbers:]
        return NewRows(
            np.take_along_axis(self.rows.numbers, numbers, axis=0),
            np.take_along_axis(self.rows.texts, texts, axis=0),
            numbers,
            np.take_along_axis(self.fixed, numbers, axis=0),
        )

    def _parents(self, n_rows: int, crossing: float, rng: np.random.Generator) -> Ints:
        """Return the row each cell comes from, shape `(n_rows, n_numbers + n_texts)`."""
        first = rng.integers(len(self.rows.cells), size=n_rows)
        second = self.neighbours[first, rng.integers(self.neighbours.shape[1], size=n_rows)]
        crossed = rng.random((n_rows, int(self.groups.max(initial=0)) + 1)) < crossing
        return np.where(crossed[:, self.groups], second[:, None], first[:, None])

    def _are_copies(self, parents: Ints) -> Bools:
        n_numbers = self.rows.numbers.shape[1]
        numbers = np.take_along_axis(self.rows.numbers, parents[:, :n_numbers], axis=0)
        texts = np.take_along_axis(self.rows.texts, parents[:, n_numbers:], axis=0)
        moving = np.take_along_axis(
            _moving(self.rows.numbers, self.fixed), parents[:, :n_numbers], axis=0
        ).any(axis=1)
        same = (texts[:, None, :] == self.rows.texts[None]).all(axis=2)
        shown = np.nan_to_num(self.rows.numbers, nan=np.inf)
        same &= (np.nan_to_num(numbers, nan=np.inf)[:, None] == shown[None]).all(axis=2)
        return np.asarray(same.any(axis=1) & ~moving, dtype=np.bool_)

    def _perturb(self, new: NewRows, rng: np.random.Generator) -> None:
        """Move the numbers on the scale of normal scores, with the class's own correlations.

        The noise is a random mixture of the rows' scores, whose covariance is theirs without
        a matrix being factored, with some noise of each number's own.
        """
        n_shown, n_numbers = self.rows.numbers.shape
        if n_numbers == 0:
            return
        free = np.where(self.fixed, np.nan, self.rows.numbers)
        scores = np.stack([m.score(free[:, i]) for i, m in enumerate(self.margins)], axis=1)
        mixture = rng.standard_normal((len(new.numbers), n_shown)) @ scores / np.sqrt(n_shown)
        own = rng.standard_normal(new.numbers.shape) * scores.std(axis=0)
        noise = np.sqrt(1 - _INDEPENDENT_NOISE) * mixture + np.sqrt(_INDEPENDENT_NOISE) * own
        width = 1.06 * n_shown**-0.2  # the normal reference rule
        # Undoes the noise's variance, and that of n rows drawn from lacks a share of 1/n.
        shrunk = np.sqrt((1 + width**2) * (1 - 1 / max(n_shown, 2)))
        base = np.take_along_axis(scores, new.parents, axis=0)
        moved = (base + width * noise) / shrunk
        moving = np.take_along_axis(_moving(self.rows.numbers, self.fixed), new.parents, axis=0)
        for i, margin in enumerate(self.margins):
            new.numbers[:, i] = np.where(moving[:, i], margin.value(moved[:, i]), new.numbers[:, i])


def _moving(numbers: Floats, fixed: Bools) -> Bools:
    """Return which shown numbers are perturbed when they are drawn."""
    counts = (numbers[:, None, :] == numbers[None]).sum(axis=0)
    atoms = counts >= max(3.0, _SHARE_OF_AN_ATOM * len(numbers))
    moving: Bools = ~(atoms | fixed | np.isnan(numbers))
    return moving


def _groups(n_columns: int, together: Iterable[tuple[int, ...]]) -> Ints:
    """Return a group number for each column; columns named together share one."""
    groups = np.arange(n_columns)
    for members in together:
        if not members:
            continue
        joined = np.isin(groups, groups[list(members)])
        groups[joined] = groups[list(members)].min()
    return np.asarray(np.unique(groups, return_inverse=True)[1], dtype=np.int64)


def _neighbours(rows: ShownRows, margins: tuple[Margin, ...]) -> Ints:
    """Return the nearest other rows of each row, by mean difference of its cells."""
    n_rows = len(rows.cells)
    if n_rows == 1:
        return np.zeros((1, 1), dtype=np.int64)
    scale = np.array([margin.std or 1.0 for margin in margins])
    numbers = np.nan_to_num(rows.numbers / scale, nan=0.0)
    distance = (rows.texts[:, None, :] != rows.texts[None]).sum(axis=2).astype(np.float64)
    distance += np.minimum(np.abs(numbers[:, None, :] - numbers[None]), 3.0).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    order = np.argsort(distance, axis=1, kind="stable")
    return np.asarray(order[:, : min(_NEIGHBOURS, n_rows - 1)], dtype=np.int64)
