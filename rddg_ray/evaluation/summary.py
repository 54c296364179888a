"""Fits to figures a person reads: means, spreads and differences with intervals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.config import METHODS
from rddg_ray.errors import DataError
from rddg_ray.evaluation.utility import COUNT_METRICS, METRICS, confusion, count_metrics

PAPER_METRICS = ("f1", "balanced_accuracy", "sensitivity", "specificity")
LABELS = {
    "f1": "F1",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "macro_f1": "Macro F1",
    "g_mean": "G-mean",
    "accuracy": "Accuracy",
    "pr_auc": "PR AUC",
    "roc_auc": "ROC AUC",
}

_DRAWS = 2000
_INTERVAL = (2.5, 97.5)
_PAIR = ["classifier", "classifier_state"]


def summarise(
    fits: pd.DataFrame,
    *,
    reference: str = "original",
    n_draws: int = _DRAWS,
    random_state: int = 0,
) -> pd.DataFrame:
    """Return one row a dataset, method and metric.

    A difference pairs each fit with the reference method's fit of the same classifier and
    state. Its interval is a percentile bootstrap over the test rows, drawn within each class
    and the same for both: what another test set of this size might have said. The fits
    themselves vary far less than that, so their spread would promise too much.

    Args:
        fits: Rows of `fits.fit_cell`.
        reference: The method that the others are compared with.
        n_draws: Bootstrap draws.
        random_state: Seeds them.

    Returns:
        Columns `dataset`, `method`, `metric`, `mean`, `std` (over the fits, n - 1 in the
        denominator as in the paper), `n_fits`, `n_errors`, `n_synthetic` (mean rows added),
        `difference` to the reference, `low` and `high` (95% interval). All shares. NaN where
        the reference has no fits, and for the interval of a metric that needs probabilities.

    Raises:
        DataError: If there are no fits.
    """
    if len(fits) == 0:
        raise DataError("there are no fits to summarise; evaluate first")
    rows: list[dict[str, Any]] = []
    for dataset, mine in fits.groupby("dataset", sort=False):
        # Where every fit failed there is nothing to draw.
        draws = _Draws(mine, n_draws, random_state) if mine["error"].isna().any() else None
        base = mine[mine["method"] == reference]
        for method in in_order(mine["method"]):
            group = mine[mine["method"] == method]
            differences = None
            if draws is not None and method != reference:
                differences = draws.differences(group, base)
            for metric in METRICS:
                row = {"dataset": dataset, "method": method, "metric": metric}
                rows.append(row | _spread(group, metric) | _difference(group, base, metric))
                if differences is not None and metric in COUNT_METRICS:
                    low, high = _percentiles(differences[metric])
                    rows[-1] |= {"low": low, "high": high}
    return pd.DataFrame(rows)


def in_order(methods: Iterable[str]) -> list[str]:
    """Return each method once: `original`, the baselines, the generative ones, then others."""
    place = {method: number for number, method in enumerate(METHODS)}
    return sorted(dict.fromkeys(methods), key=lambda method: place.get(method, len(place)))


def _spread(group: pd.DataFrame, metric: str) -> dict[str, Any]:
    values = group[metric].to_numpy(dtype=np.float64)
    known = values[~np.isnan(values)]
    fine = group[group["error"].isna()]
    return {
        "mean": float(known.mean()) if len(known) else np.nan,
        "std": float(known.std(ddof=1)) if len(known) > 1 else np.nan,
        "n_fits": len(group),
        "n_errors": int(group["error"].notna().sum()),
        "n_synthetic": float(fine["n_synthetic"].mean()) if len(fine) else np.nan,
    }


def _difference(group: pd.DataFrame, base: pd.DataFrame, metric: str) -> dict[str, float]:
    blank = {"difference": np.nan, "low": np.nan, "high": np.nan}
    if not len(base) or group["method"].iloc[0] == base["method"].iloc[0]:
        return blank
    pairs = _pairs(group, base)
    gaps = (pairs[metric] - pairs[f"{metric}_base"]).dropna()
    return blank | {"difference": float(gaps.mean())} if len(gaps) else blank


def _pairs(group: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """Return fits beside the reference's fit with the same classifier and state."""
    fine, ground = group[group["error"].isna()], base[base["error"].isna()]
    return fine.merge(ground, on=_PAIR, suffixes=("", "_base"))


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.percentile(known, _INTERVAL)
    return float(low), float(high)


class _Draws:
    """Bootstrap draws of one table's test rows, the same for every fit.

    Rows that every fit calls the same are drawn as one group by its size, which is the same law
    as drawing them one by one: most test rows are easy, so few groups are left.
    """

    def __init__(self, fits: pd.DataFrame, n_draws: int, random_state: int) -> None:
        # At least one fit has no error.
        fine = fits[fits["error"].isna()]
        _check_same_rows(fine)
        calls = list(dict.fromkeys(fine["predicted"]))
        lines = [*fine["truth"].iloc[:1], *calls]
        matrix = np.array([np.frombuffer(line, dtype=np.uint8) for line in lines])
        groups, sizes = np.unique(matrix.reshape(len(lines), -1), axis=1, return_counts=True)
        self.truth = groups[0]
        self.calls = dict(zip(calls, groups[1:], strict=True))
        self.n_classes = int(fits["n_classes"].iloc[0])
        positive = int(fine["positive"].iloc[0])
        self.positive = None if positive < 0 else positive
        rng = np.random.default_rng(random_state)
        self.weights = _weights(self.truth, sizes, n_draws, rng)
        self._known: dict[bytes, dict[str, np.ndarray]] = {}

    def differences(self, group: pd.DataFrame, base: pd.DataFrame) -> dict[str, np.ndarray] | None:
        """Return the mean difference to the reference in each draw, shape `(n_draws,)` a metric."""
        pairs = _pairs(group, base)
        if not len(pairs):
            return None
        gaps = [
            {m: mine[m] - theirs[m] for m in COUNT_METRICS}
            for mine, theirs in zip(
                map(self._figures, pairs["predicted"]),
                map(self._figures, pairs["predicted_base"]),
                strict=True,
            )
        ]
        return {m: np.mean([gap[m] for gap in gaps], axis=0) for m in COUNT_METRICS}

    def _figures(self, predicted: bytes) -> dict[str, np.ndarray]:
        # Three of the four classifiers predict the same for every state: once is enough.
        if predicted not in self._known:
            counts = confusion(self.truth, self.calls[predicted], self.n_classes, self.weights)
            self._known[predicted] = count_metrics(counts, self.positive)
        return self._known[predicted]


def _check_same_rows(fine: pd.DataFrame) -> None:
    if fine["truth"].nunique() > 1:
        raise DataError(
            f"fits of table {fine['dataset'].iloc[0]!r} have different test rows, so they "
            "cannot be compared; give each split a name of its own"
        )


def _weights(
    truth: np.ndarray, sizes: np.ndarray, n_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Return how many rows of each group a draw has, class by class, shape `(n_draws, n)`."""
    weights = np.zeros((n_draws, len(truth)), dtype=np.float64)
    for code in np.unique(truth):
        mine = np.flatnonzero(truth == code)
        n_rows = int(sizes[mine].sum())
        weights[:, mine] = rng.multinomial(n_rows, sizes[mine] / n_rows, size=n_draws)
    return weights


def mean_text(row: dict[str, Any]) -> str:
    """Return mean and spread of one summary row in percent; the spread needs two fits."""
    spread = "" if np.isnan(row["std"]) else f" ± {100 * row['std']:.2f}"
    return f"{100 * row['mean']:.2f}{spread}"


def difference_text(row: dict[str, Any]) -> str:
    """Return the difference to the reference with its interval, in points; empty without one."""
    if np.isnan(row["difference"]):
        return ""
    text = f"{100 * row['difference']:+.2f}"
    if not np.isnan(row["low"]):
        text += f" [{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]"
    return text
