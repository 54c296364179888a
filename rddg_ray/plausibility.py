"""Whether a row's class is believable to a model of the training rows.

The models see the run's training rows and nothing else: there is no argument through which a
test row could come.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rddg_ray.measuring import Floats, Gauge, Ints, Measured
from rddg_ray.novelty import Row

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

_N_TREES = 100
_MAX_ROWS_PER_CLASS = 5_000
_MAX_ONE_HOT = 256
_FEWEST_ROWS = 8
_REAL_REFUSED = 0.025
_LEAST_GAIN = 0.1
# One-sided: a class of pure noise is judged once in a thousand tables.
_LEAST_Z = 3.09


@dataclass(frozen=True, slots=True)
class ClassJudge:
    """What the models know of a class, measured on rows that each tree had not seen.

    Attributes:
        label: The class.
        n_rows: Distinct training rows of it that the models were fitted on.
        average_precision: Of telling its rows from all others, out of bag; NaN if not measured.
        chance: The average precision of guessing: the class's share of the rows.
        threshold: A row whose class has a lower probability is refused; 0 if the judge is off.
        off_because: Why this class is not judged, in words; empty if it is.
    """

    label: str
    n_rows: int
    average_precision: float
    chance: float
    threshold: float
    off_because: str = ""

    @property
    def is_on(self) -> bool:
        """Return whether rows of this class can be refused."""
        return not self.off_because

    def __str__(self) -> str:
        """Return the judge in one line."""
        known = f"average precision {self.average_precision:.2f}, chance {self.chance:.2f}"
        if self.is_on:
            return f"class {self.label!r}: refused below P = {self.threshold:.2f} ({known})"
        return f"class {self.label!r}: not judged, {self.off_because}"


class Plausibility:
    """A bag of trees that gives the probability of a row's own class, each class as likely.

    Classes weigh the same, because generated rows come in the numbers that were asked for and
    not in those of the table. A row is refused where the probability is below a threshold:
    `threshold` of two classes (its like for more), or less where real rows of the class, out of
    bag, would be refused in more than 2.5% of the cases.

    A class that the models know too little of is not judged: fewer than 8 distinct rows, a
    ranking of its rows (out of bag) that chance explains, or an average precision within a tenth
    of chance.

    Attributes:
        judges: What is known of each class, by class.

    References:
        Breiman (2001), Random Forests; Mann & Whitney (1947) for the ranking against chance.
    """

    def __init__(
        self, gauge: Gauge, real: Measured, *, threshold: float = 0.2, random_state: int = 0
    ) -> None:
        """Fit the models.

        Args:
            gauge: Turns rows into arrays.
            real: The training rows.
            threshold: Least probability of a row's class among two classes, in [0, 1).
            random_state: Seeds the trees and the draw from classes of many rows, at least 0.
        """
        self._gauge = gauge
        self._one_hot = len(gauge.slots) <= _MAX_ONE_HOT
        chosen = _distinct(real, np.random.default_rng(random_state))
        matrix, labels = self._matrix(chosen), chosen.labels
        self._column_of: dict[int, int] = {}
        self._forest: RandomForestClassifier | None = None
        if len(np.unique(labels)) > 1:
            self._forest = _fit(matrix, labels, random_state)
            self._column_of = {int(c): at for at, c in enumerate(self._forest.classes_)}
        self.judges: Mapping[str, ClassJudge] = {
            label: self._judge(place, label, labels, threshold * 2 / max(len(gauge.classes), 2))
            for place, label in enumerate(gauge.classes)
        }

    def of_rows(self, rows: Sequence[Row]) -> Floats:
        """Return the probability of each generated row's own class, shape `(n_rows,)`."""
        return self.of_measured(self._gauge.of_rows(rows))

    def of_measured(self, rows: Measured) -> Floats:
        """Return the probability of each measured row's own class, shape `(n_rows,)`."""
        if self._forest is None or not len(rows):
            return np.ones(len(rows))
        votes = _mean_of_trees(self._forest, self._matrix(rows))
        columns = np.array([self._column_of.get(int(c), -1) for c in rows.labels])
        own = votes[np.arange(len(rows)), columns]
        return np.where(columns < 0, 1.0, own)

    def refused(self, rows: Sequence[Row]) -> list[float | None]:
        """Return, for each generated row, its class's probability if it is refused, or None."""
        thresholds = [self.judges[str(row[0])].threshold for row in rows]
        found = self.of_rows(rows)
        return [float(p) if p < t else None for p, t in zip(found, thresholds, strict=True)]

    def _matrix(self, rows: Measured) -> NDArray[np.float32]:
        if not self._one_hot:
            return np.hstack([rows.numbers, rows.slots]).astype(np.float32)
        hot = np.zeros((len(rows), len(self._gauge.slots)), dtype=np.float32)
        at, group = np.nonzero(rows.slots >= 0)
        hot[at, rows.slots[at, group]] = 1.0
        return np.hstack([rows.numbers.astype(np.float32), hot])

    def _judge(self, place: int, label: str, labels: Ints, threshold: float) -> ClassJudge:
        mine = labels == place
        n_rows, chance = int(mine.sum()), float(mine.mean()) if len(mine) else 0.0
        few = min(n_rows, len(labels) - n_rows) < _FEWEST_ROWS
        if few or self._forest is None:
            why = f"{n_rows} distinct rows of it and {len(labels) - n_rows} others are too few"
            return ClassJudge(label, n_rows, math.nan, chance, 0.0, why)
        scores = self._forest.oob_decision_function_[:, self._column_of[place]]
        precision, z = _average_precision(scores, mine), _rank_z(scores, mine)
        gain = (precision - chance) / (1 - chance)
        if z < _LEAST_Z or gain < _LEAST_GAIN:
            why = (
                "its rows cannot be told from the others' (average precision "
                f"{precision:.2f} out of bag, chance {chance:.2f})"
            )
            return ClassJudge(label, n_rows, precision, chance, 0.0, why)
        natural = float(np.quantile(scores[mine], _REAL_REFUSED, method="lower"))
        return ClassJudge(label, n_rows, precision, chance, min(threshold, natural))


def _distinct(real: Measured, rng: np.random.Generator) -> Measured:
    """Return each distinct row once, and of large classes a draw.

    A repeat of a row that a tree has learned would count as unseen, and flatter the models.
    """
    cells = np.column_stack([real.labels, real.slots, np.nan_to_num(real.numbers, nan=math.inf)])
    _, first = np.unique(cells, axis=0, return_index=True)
    kept = []
    for label in np.unique(real.labels):
        mine = np.sort(first[real.labels[first] == label])
        if len(mine) > _MAX_ROWS_PER_CLASS:
            mine = np.sort(rng.choice(mine, _MAX_ROWS_PER_CLASS, replace=False))
        kept.append(mine)
    return real.take(np.sort(np.concatenate(kept)))


def _fit(matrix: NDArray[np.float32], labels: Ints, random_state: int) -> RandomForestClassifier:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        _N_TREES,
        class_weight="balanced_subsample",
        oob_score=True,
        n_jobs=1,
        random_state=random_state,
    )
    return forest.fit(matrix, labels)


def _mean_of_trees(forest: RandomForestClassifier, matrix: NDArray[np.float32]) -> Floats:
    # As predict_proba, without its pool of threads, which costs more than a batch of rows.
    total = sum(tree.tree_.predict(matrix) for tree in forest.estimators_)
    return np.asarray(total, dtype=np.float64).reshape(len(matrix), -1) / len(forest.estimators_)


def _average_precision(scores: Floats, mine: NDArray[np.bool_]) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(mine, scores))


def _rank_z(scores: Floats, mine: NDArray[np.bool_]) -> float:
    """Return how far the ranks of a class's scores lie above chance, in standard deviations."""
    from scipy.stats import rankdata

    n, m = int(mine.sum()), int((~mine).sum())
    ranks = rankdata(scores)
    _, ties = np.unique(ranks, return_counts=True)
    total = n + m
    spread = n * m / 12 * (total + 1 - float(np.sum(ties**3 - ties)) / (total * (total - 1)))
    excess = float(ranks[mine].sum()) - n * (n + 1) / 2 - n * m / 2
    return excess / math.sqrt(spread) if spread > 0 else 0.0
