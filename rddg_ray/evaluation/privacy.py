"""Do synthetic rows give away whom they were made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.evaluation.copies import copy_shares, shown_copy_share
from rddg_ray.evaluation.fidelity import of_scope
from rddg_ray.evaluation.privacy_attack import Leak, leak_of, low_rate
from rddg_ray.evaluation.privacy_distance import Points, Space
from rddg_ray.evaluation.readings import SCOPES, to_figures
from rddg_ray.table import Table

MIN_REAL = 10
"""Training rows and held-out rows a scope needs: with fewer, distances tell nothing."""

_N_SPLITS = 3
_MOST_COPIES = 2_000

_Record = dict[str, Any]


def privacy_figures(
    train: Table,
    test: Table,
    synthetic: Mapping[tuple[str, int], Table],
    *,
    shown: Mapping[tuple[str, int], Table] | None = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """Return what each method's rows give away, beside what new real rows and copies would.

    The ceiling is the figure of held-out real rows in place of the synthetic ones: for what
    needs held-out rows besides (`dcr_share` and the attack) one half of them stands in and the
    other half is held against it, over three random splits and both ways round. The floor is
    that of training rows drawn again with replacement (2,000 at most): what the test says where
    everything is copied, so that a reader sees whether it could have found anything.

    Args:
        train: Real training rows.
        test: Held-out real rows under the same schema.
        synthetic: Synthetic rows under the same schema, by method and generator state.
        shown: Training rows that prompts showed, by method and generator state; those get
            `prompt_copy_share`, whose ceiling is that of the held-out rows.
        random_state: Seeds splits and draws.

    Returns:
        Columns `readings.FIGURE_COLUMNS`, for all rows and for the rare class alone. Figures of
        distances are absent where a scope has fewer than ten training or held-out rows.
    """
    rows: list[_Record] = []
    for scope in SCOPES:
        real, held_out = (of_scope(table, train, scope) for table in (train, test))
        made = {key: part for key, t in synthetic.items() if len(part := of_scope(t, train, scope))}
        near = _Distances(real, held_out, made, random_state)
        natural = copy_shares(real, held_out)
        for key, mine in made.items():
            figures = _copies(copy_shares(real, mine), natural)
            if shown and key in shown:
                figures |= _prompt_copies(real, of_scope(shown[key], train, scope), mine, held_out)
            figures |= near.of_method(key)
            names = {"dataset": train.name, "method": key[0], "generator_state": key[1],
                     "scope": scope}  # fmt: skip
            rows += [names | {"metric": metric} | cells for metric, cells in figures.items()]
    return to_figures(rows)


def _copies(mine: Mapping[str, float], natural: Mapping[str, float]) -> dict[str, _Record]:
    # A training row drawn again is a copy by definition.
    return {name: {"value": mine[name], "ceiling": natural[name], "floor": 1.0} for name in mine}


def _prompt_copies(train: Table, shown: Table, mine: Table, held_out: Table) -> dict[str, _Record]:
    value, ceiling = (shown_copy_share(train, shown, rows) for rows in (mine, held_out))
    return {"prompt_copy_share": {"value": value, "ceiling": ceiling, "floor": np.nan}}


class _Distances:
    """The figures that need distances, of one scope; real rows are scanned once."""

    def __init__(
        self, train: Table, test: Table, made: Mapping[tuple[str, int], Table], random_state: int
    ) -> None:
        self._made: dict[tuple[str, int], Points] = {}
        self._random_state = random_state
        if min(len(train), len(test)) < MIN_REAL or not made or not train.features:
            return
        space = Space((train, test), tuple(made.values()))
        self._made = {key: space.points(table) for key, table in made.items()}
        self._members, self._strangers = space.points(train), space.points(test)
        self._ceiling = self._of_held_out()
        self._floor = self._of_copies(max(map(len, made.values())))

    def of_method(self, key: tuple[str, int]) -> dict[str, _Record]:
        """Return value, interval, ceiling and floor by metric; none where rows are too few."""
        if key not in self._made:
            return {}
        leak = self._leak(self._made[key], self._strangers, self._random_state)
        intervals = {
            "dcr_share": leak.share,
            "attack_auc": leak.auc,
            "attack_tpr": leak.found,
        }
        figures: dict[str, _Record] = {
            metric: {"value": value, "ceiling": self._ceiling[metric],
                     "floor": self._floor[metric]}
            for metric, value in _figures(leak).items()
        }  # fmt: skip
        for metric, estimate in intervals.items():
            figures[metric] |= {"low": estimate.low, "high": estimate.high}
        return figures

    def _leak(self, release: Points, strangers: Points, random_state: int) -> Leak:
        # The same rate for all, or half of the held-out rows could not stand beside all of them.
        rate = low_rate(len(self._strangers))
        return leak_of(release, self._members, strangers, rate=rate, random_state=random_state)

    def _of_held_out(self) -> dict[str, float]:
        found = []
        for split in range(_N_SPLITS):
            rng = np.random.default_rng([self._random_state, split])
            order = rng.permutation(len(self._strangers))
            middle = len(order) // 2
            for mine, others in (
                (order[:middle], order[middle:]),
                (order[middle:], order[:middle]),
            ):
                held_out = self._strangers.take(mine)
                leak = self._leak(held_out, self._strangers.take(others), split)
                found.append(_figures(leak))
        return {name: float(np.mean([one[name] for one in found])) for name in found[0]}

    def _of_copies(self, n_rows: int) -> dict[str, float]:
        rng = np.random.default_rng(self._random_state)
        drawn = rng.integers(len(self._members), size=min(n_rows, _MOST_COPIES))
        return _figures(self._leak(self._members.take(drawn), self._strangers, 0))


def _figures(leak: Leak) -> dict[str, float]:
    first, second = leak.nearest.distance, leak.nearest.second
    # Where even the second closest is no distance away, no one person is singled out.
    ratio = np.where(second > 0, first / np.where(second > 0, second, 1.0), 1.0)
    return {
        "dcr_median": float(np.median(first)),
        "nndr_median": float(np.median(ratio)),
        "dcr_share": leak.share.value,
        "attack_auc": leak.auc.value,
        "attack_tpr": leak.found.value,
    }
