"""Fidelity figures beside what held-out real rows and copies reach at the same size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.evaluation.fidelity import MIN_ROWS, Figures, compare, measure, of_scope
from rddg_ray.evaluation.fidelity_arrays import Coded, Coding
from rddg_ray.evaluation.readings import SCOPES, to_figures
from rddg_ray.table import Table

_N_DRAWS = 10
_MOST_MATCHED = 5_000


def fidelity_figures(
    train: Table,
    test: Table,
    synthetic: Mapping[tuple[str, int], Table],
    *,
    n_draws: int = _N_DRAWS,
    random_state: int = 0,
) -> pd.DataFrame:
    """Return every figure of every method beside what real rows reach.

    Real rows differ from one another too, the more the fewer they are. So each figure stands
    beside a ceiling and a floor at the same size: from the training rows, the held-out rows and
    the synthetic rows `n_matched` each are drawn without replacement (as many as the smallest of
    the three has, 5,000 at most), as many again with replacement from the drawn training rows,
    and each of the three sets is measured against the drawn training rows. `matched`, `ceiling`
    and `floor` are the means over `n_draws` such draws.

    Args:
        train: Real training rows.
        test: Held-out real rows under the same schema.
        synthetic: Synthetic rows under the same schema, by method and generator state.
        n_draws: Draws to average over.
        random_state: Seeds them.

    Returns:
        Columns `readings.FIGURE_COLUMNS`, for all rows and for the rare class alone; `value` is
        the figure over all rows at hand. A scope is absent where a side has fewer than two rows,
        its ceiling is NaN where the held-out rows have.
    """
    rows: list[dict[str, Any]] = []
    for scope in SCOPES:
        tables = [of_scope(table, train, scope) for table in (train, test)]
        real = _RealRows(*tables, made=list(synthetic.values()), n_draws=n_draws,
                         random_state=random_state)  # fmt: skip
        for (method, state), made in synthetic.items():
            mine = of_scope(made, train, scope)
            found = compare(train, made, method=method, generator_state=state, scope=scope)
            beside = real.beside(mine) if found else {}
            rows += [row | beside.get((row["column"], row["metric"]), {}) for row in found]
    return to_figures(rows)


class _RealRows:
    """Real rows of one scope, which draws of one size are made of once."""

    def __init__(
        self, train: Table, test: Table, *, made: list[Table], n_draws: int, random_state: int
    ) -> None:
        self._coding = Coding((train, test, *made))
        self._train, self._test = self._coding.of(train), self._coding.of(test)
        self._n_draws, self._random_state = n_draws, random_state
        self._known: dict[int, dict[str, Figures]] = {}

    def beside(self, made: Table) -> dict[tuple[str, str], dict[str, float]]:
        """Return `matched`, `ceiling`, `floor` and `n_matched` by column and metric."""
        rows = self._coding.of(made)
        sizes = [len(self._train), len(rows), _MOST_MATCHED]
        has_test = len(self._test) >= MIN_ROWS
        n_rows = min([*sizes, len(self._test)] if has_test else sizes)
        if n_rows not in self._known:
            self._known[n_rows] = self._yardsticks(n_rows, has_test=has_test)
        matched = _mean(
            measure(self._coding, real, rows.take(_drawn(len(rows), n_rows, rng)))
            for real, rng in self._draws(n_rows)
        )
        figures = self._known[n_rows] | {"matched": matched}
        return {
            key: {"n_matched": n_rows} | {
                name: values.get(key, float("nan")) for name, values in figures.items()
            }
            for key in matched
        }  # fmt: skip

    def _yardsticks(self, n_rows: int, *, has_test: bool) -> dict[str, Figures]:
        floors, ceilings = [], []
        for real, rng in self._draws(n_rows):
            again = real.take(rng.integers(n_rows, size=n_rows))
            floors.append(measure(self._coding, real, again))
            if has_test:
                held_out = self._test.take(_drawn(len(self._test), n_rows, rng))
                ceilings.append(measure(self._coding, real, held_out))
        return {"ceiling": _mean(ceilings), "floor": _mean(floors)}

    def _draws(self, n_rows: int) -> Iterator[tuple[Coded, np.random.Generator]]:
        """Yield the same drawn training rows, and a generator, whatever they are held against."""
        for draw in range(self._n_draws):
            rng = np.random.default_rng([self._random_state, n_rows, draw])
            yield self._train.take(_drawn(len(self._train), n_rows, rng)), rng


def _drawn(n_all: int, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    return np.arange(n_all) if n_rows == n_all else rng.permutation(n_all)[:n_rows]


def _mean(found: Iterable[Figures]) -> Figures:
    lists: dict[tuple[str, str], list[float]] = {}
    for figures in found:
        for key, value in figures.items():
            lists.setdefault(key, []).append(value)
    return {key: float(np.mean(values)) for key, values in lists.items()}
