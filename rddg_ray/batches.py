"""Which reference rows a batch shows and how many rows it asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rddg_ray.errors import ConfigError

Positions = NDArray[np.int64]

# A class that is mostly refused is asked for at most twice over: what it lacks then is a
# matter for rules and feedback, not for tokens.
_LEAST_RATE = 0.5


class ReferenceBatches:
    """Reference batches: every class's rows, shuffled and dealt out in groups.

    A cycle shows every row of a class at least once; each cycle has an order of its own. The
    last group of a cycle is filled up from the cycle's beginning, so that a batch has
    `rows_per_class` distinct rows of every class, or all of a class that has fewer.

    NOTE[DIFF]: the paper partitions the table once and repeats the same subsets; we shuffle
    anew in every cycle, so that correlations within a subset do not repeat.
    """

    def __init__(
        self,
        positions: Mapping[str, Positions],
        rows_per_class: int,
        *,
        random_state: int,
        chain: int = 0,
    ) -> None:
        """Deal rows out.

        Args:
            positions: Row positions of each class; every class has at least one.
            rows_per_class: Rows of each class in a batch, at least 1.
            random_state: Seeds the shuffles, at least 0.
            chain: Chains of one random state get different shuffles.
        """
        self._positions = dict(positions)
        self._size = rows_per_class
        self._seed = (random_state, chain)
        self._shuffled: dict[int, tuple[int, Positions]] = {}

    def batch(self, number: int) -> dict[str, Positions]:
        """Return the row positions of batch `number` (from 0) by class; the same every time."""
        return {
            label: self._group(number, place, rows)
            for place, (label, rows) in enumerate(self._positions.items())
        }

    def _group(self, number: int, place: int, rows: Positions) -> Positions:
        size = min(self._size, len(rows))
        cycle, group = divmod(number, math.ceil(len(rows) / size))
        order = self._order(cycle, place, rows)
        return order[np.arange(group * size, (group + 1) * size) % len(rows)]

    def _order(self, cycle: int, place: int, rows: Positions) -> Positions:
        # Consecutive batches share a cycle: keep its shuffle instead of drawing it again.
        kept = self._shuffled.get(place)
        if kept is None or kept[0] != cycle:
            rng = np.random.default_rng([*self._seed, cycle, place + 1])
            kept = (cycle, rng.permutation(rows))
            self._shuffled[place] = kept
        return kept[1]


def requests(
    needs: Mapping[str, int],
    *,
    n_prompts: int,
    rows_per_class: int,
    accepted: Mapping[str, int],
    asked: Mapping[str, int],
    wanted: Mapping[str, int] | None = None,
) -> list[dict[str, int]]:
    """Return how many rows of each class the prompts of one round ask for.

    Args:
        needs: Rows still lacking by class; a class without need is not asked for.
        n_prompts: Prompts of the round at most; fewer where they suffice.
        rows_per_class: Most rows of one class in one prompt.
        accepted: Rows accepted so far by class.
        asked: Rows asked for so far by class. Where few were accepted, more is asked for than
            is lacking, at most twice as much.
        wanted: Rows to ask for by class, from what is known of the endpoint; None to go by the
            shares accepted so far.

    Returns:
        One mapping of class to rows a prompt, each with at least one class; empty without need.
    """
    if wanted is None:
        wanted = {
            label: _wanted(need, accepted.get(label, 0), asked.get(label, 0))
            for label, need in needs.items()
        }
    most = n_prompts * rows_per_class
    totals = {label: min(wanted[label], most) for label, need in needs.items() if need > 0}
    n_used = max((math.ceil(rows / rows_per_class) for rows in totals.values()), default=0)
    split = [
        {label: rows // n_used + (index < rows % n_used) for label, rows in totals.items()}
        for index in range(n_used)
    ]
    return [{label: rows for label, rows in share.items() if rows} for share in split]


def _wanted(need: int, accepted: int, asked: int) -> int:
    rate = min((accepted + 1) / (asked + 1), 1.0)
    return math.ceil(need / max(rate, _LEAST_RATE))


def targets(
    class_counts: Mapping[str, int],
    sampling_strategy: str | float | Mapping[str, int] = "auto",
    rows_per_class: int | Mapping[str, int] | None = None,
    rare_class: str | None = None,
) -> dict[str, int]:
    """Return how many rows to add to each class.

    Args:
        class_counts: Rows by class in the training table.
        sampling_strategy: imbalanced-learn's meaning. `minority`, `not minority`,
            `not majority`, `all` raise those classes to the size of the largest; `auto` is
            `not majority`; a number is the wanted ratio rarest/largest of two classes; a
            mapping gives wanted sizes after adding.
        rows_per_class: Rows to add instead: one number for every class, or by class.
        rare_class: The class that `minority`, `not minority` and a ratio mean; the smallest by
            default, the first of several.

    Returns:
        Rows to add for every class of `class_counts`, in its order; 0 for none.

    Raises:
        ConfigError: If a class is unknown, a wanted size is below the present one, a ratio is
            given for more than two classes, or a value has no meaning.
    """
    if rare_class is not None:
        _check_classes(class_counts, {rare_class: 0}, "rare_class")
    if rows_per_class is not None:
        return _counted(class_counts, rows_per_class)
    if isinstance(sampling_strategy, Mapping):
        return _sized(class_counts, sampling_strategy)
    if isinstance(sampling_strategy, str):
        return _named(class_counts, sampling_strategy, rare_class)
    return _ratio(class_counts, sampling_strategy, rare_class)


def _counted(counts: Mapping[str, int], wanted: int | Mapping[str, int]) -> dict[str, int]:
    if not isinstance(wanted, Mapping):
        wanted = dict.fromkeys(counts, wanted)
    _check_classes(counts, wanted, "rows_per_class")
    for label, rows in wanted.items():
        if rows < 0:
            raise ConfigError(f"rows_per_class: {label!r}: {rows}: cannot add fewer than 0 rows")
    return {label: int(wanted.get(label, 0)) for label in counts}


def _sized(counts: Mapping[str, int], wanted: Mapping[str, int]) -> dict[str, int]:
    _check_classes(counts, wanted, "sampling_strategy")
    for label, size in wanted.items():
        if size < counts[label]:
            raise ConfigError(
                f"sampling_strategy: class {label!r} has {counts[label]} rows already, so it "
                f"cannot be brought to {size}; give the wanted size after adding, at least "
                f"{counts[label]}, or use rows_per_class for the rows to add"
            )
    return {label: int(wanted.get(label, count)) - count for label, count in counts.items()}


def _named(counts: Mapping[str, int], strategy: str, rare: str | None) -> dict[str, int]:
    largest = _largest(counts, rare)
    rarest = rare if rare is not None else min(counts, key=lambda label: counts[label])
    chosen: dict[str, Sequence[str]] = {
        "minority": [rarest],
        "not minority": [label for label in counts if label != rarest],
        "not majority": [label for label in counts if label != largest],
        "all": list(counts),
    }
    chosen["auto"] = chosen["not majority"]
    if strategy not in chosen:
        raise ConfigError(f"sampling_strategy: {strategy!r} is not one of {sorted(chosen)}")
    return {
        label: counts[largest] - count if label in chosen[strategy] else 0
        for label, count in counts.items()
    }


def _largest(counts: Mapping[str, int], rare: str | None) -> str:
    # Of equally large classes the rare one is never the largest.
    return max(counts, key=lambda label: (counts[label], label != rare))


def _ratio(counts: Mapping[str, int], ratio: float, rare: str | None) -> dict[str, int]:
    if isinstance(ratio, bool) or not 0 < ratio <= 1:
        raise ConfigError(
            f"sampling_strategy: a ratio lies above 0 and at most at 1, not {ratio!r}"
        )
    if len(counts) != 2:
        raise ConfigError(
            f"sampling_strategy: {ratio!r} is a ratio, which has a meaning for two classes only; "
            f"there are {len(counts)}: {list(counts)}; give a wanted size by class"
        )
    largest = _largest(counts, rare)
    rarest = next(label for label in counts if label != largest)
    if rare is not None:
        largest, rarest = next(label for label in counts if label != rare), rare
    rows = int(counts[largest] * ratio) - counts[rarest]
    if rows < 0:
        raise ConfigError(
            f"sampling_strategy: the ratio of {rarest!r} to {largest!r} is "
            f"{counts[rarest] / counts[largest]:.3f} already, so adding rows cannot bring it to "
            f"{ratio!r}; give a larger ratio"
        )
    return {label: rows if label == rarest else 0 for label in counts}


def _check_classes(counts: Mapping[str, int], wanted: Mapping[str, int], key: str) -> None:
    for label in wanted:
        if label not in counts:
            raise ConfigError(f"{key}: there is no class {label!r}; classes: {list(counts)}")
