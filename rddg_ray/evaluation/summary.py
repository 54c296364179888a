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
PRIMARY_METRICS = ("f1", "balanced_accuracy")
"""Figures that a verdict is about; Holm's correction is over methods and these."""
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
    "rare_precision": "Precision, rare class",
    "rare_recall": "Recall, rare class",
    "brier": "Brier score (lower is better)",
    "calibration_error": "Calibration error (lower is better)",
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
        `difference` to the reference, `low` and `high` (95% interval), `p_value` (two-sided,
        from the same draws) and `p_holm` (corrected over the table's methods and
        `PRIMARY_METRICS`; NaN for other metrics). All shares. NaN where the reference has no
        fits, for the interval of a metric that needs probabilities, and for a metric that fits
        of an older version lack.

    Raises:
        DataError: If there are no fits.
    """
    if len(fits) == 0:
        raise DataError("there are no fits to summarise; evaluate first")
    fits = fits.assign(**{m: np.nan for m in METRICS if m not in fits.columns})
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
                    rows[-1] |= _chance(differences[metric])
    return with_holm(pd.DataFrame(rows))


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
    blank = dict.fromkeys(("difference", "low", "high", "p_value"), np.nan)
    if not len(base) or group["method"].iloc[0] == base["method"].iloc[0]:
        return blank
    return blank | {"difference": paired_difference(group, base, metric)}


def paired_difference(group: pd.DataFrame, base: pd.DataFrame, metric: str) -> float:
    """Return a figure's mean difference over fits of the same classifier and state; else NaN."""
    pairs = _pairs(group, base)
    gaps = (pairs[metric] - pairs[f"{metric}_base"]).dropna()
    return float(gaps.mean()) if len(gaps) else np.nan


def _pairs(group: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """Return fits beside the reference's fit with the same classifier and state."""
    fine, ground = group[group["error"].isna()], base[base["error"].isna()]
    return fine.merge(ground, on=_PAIR, suffixes=("", "_base"))


def _chance(differences: np.ndarray) -> dict[str, float]:
    known = differences[~np.isnan(differences)]
    if not len(known):
        return {}
    low, high = np.percentile(known, _INTERVAL)
    return {"low": float(low), "high": float(high), "p_value": bootstrap_p(known)}


def bootstrap_p(draws: np.ndarray) -> float:
    """Return the two-sided p-value of no difference, from bootstrap draws of a difference.

    Twice the share of draws on the thinner side of 0, draws of 0 on either side, with one draw
    more: the level at which the percentile interval just reaches 0. Never 0.

    References:
        Davison & Hinkley (1997), Bootstrap Methods and their Application, section 4.4.
    """
    below, above = int((draws <= 0).sum()), int((draws >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (1 + len(draws)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values corrected for their number by Holm's step-down method.

    Args:
        p_values: Shape `(n,)`; a NaN is no test: it is not counted and stays.

    References:
        Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    corrected = np.full(len(p_values), np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return corrected


def with_holm(summary: pd.DataFrame) -> pd.DataFrame:
    """Return a summary with `p_holm`: over the rows of `PRIMARY_METRICS` of each dataset."""
    tested = summary["p_value"].where(summary["metric"].isin(PRIMARY_METRICS))
    by_dataset = tested.groupby(summary["dataset"], sort=False)
    return summary.assign(p_holm=by_dataset.transform(lambda part: holm(part.to_numpy())))


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
        # Fits of an older version do not name the rare class.
        named = fine["rare"].dropna() if "rare" in fine else fine["positive"]
        rare = int(named.iloc[0]) if len(named) else positive
        self.rare = None if rare < 0 else rare
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
            self._known[predicted] = count_metrics(counts, self.positive, self.rare)
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
