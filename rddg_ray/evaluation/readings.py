"""What each fidelity and privacy figure is called and how it is read, in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

ALL = "all"
RARE = "rare"
SCOPES = (ALL, RARE)
"""Rows a figure is about: all of them, or those of the rare class alone."""

Family = Literal["fidelity", "privacy"]

FIGURE_COLUMNS = (
    "dataset", "method", "generator_state", "scope", "family", "column", "metric", "value", "low",
    "high", "matched", "ceiling", "floor", "n_matched", "higher_is_better",
)  # fmt: skip
"""Columns of a frame of figures: one row a data set, method, state, scope, column and metric.

`value` is the figure over all rows, `low` and `high` its 95% interval where it has one; `matched`
is the figure at `n_matched` rows a side, `ceiling` that of held-out real rows and `floor` that of
training rows drawn again, both at the same size. `higher_is_better` is None where neither end is.
"""


@dataclass(frozen=True)
class Metric:
    """How a figure is read.

    Attributes:
        name: As it stands in frames.
        label: As a person reads it.
        family: Likeness or privacy.
        higher_is_better: Which way is better; None where the ceiling is the best and both
            sides of it are worse.
        ideal: What a perfect generator would reach with endless rows; None where only the
            ceiling tells.
        is_share: Whether it is shown in percent.
        meaning: What it measures and what its ceiling stands for, in a sentence.
    """

    name: str
    label: str
    family: Family
    higher_is_better: bool | None
    ideal: float | None
    is_share: bool
    meaning: str


def _fidelity(
    name: str, label: str, meaning: str, *, ideal: float = 0.0, is_higher: bool | None = False
) -> Metric:
    return Metric(name, label, "fidelity", is_higher, ideal, False, meaning)


def _privacy(
    name: str, label: str, meaning: str, *, ideal: float | None = None,
    is_higher: bool | None = False, is_share: bool = True,
) -> Metric:  # fmt: skip
    return Metric(name, label, "privacy", is_higher, ideal, is_share, meaning)


def _gaps(prefix: str, what: str) -> list[Metric]:
    label = f"{prefix.capitalize()} gap"
    return [
        _fidelity(f"{prefix}_frobenius", f"{label}, Frobenius",
                  f"Root of the summed squared differences of {what}, over all entries."),
        _fidelity(f"{prefix}_rmse", f"{label}, RMSE",
                  f"Root mean square difference of {what}, over all entries as in the paper."),
        _fidelity(f"{prefix}_mae", f"{label}, mean",
                  f"Mean absolute difference of {what}, over pairs of columns."),
        _fidelity(f"{prefix}_max", f"{label}, largest",
                  f"Largest absolute difference of {what}."),
    ]  # fmt: skip


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        _fidelity("kl", "KL divergence",
                  "KL(real || synthetic) in nats over 50 equal bins of the union range (or one a "
                  "category), 1e-6 added to the synthetic shares, as in the paper."),
        _fidelity("js", "Jensen-Shannon divergence",
                  "Jensen-Shannon divergence in bits over quantile bins with half a row added to "
                  "each; in [0, 1] and calm where bins are empty."),
        _fidelity("ks_complement", "KS complement", "One minus the largest gap between the two "
                  "cumulative shares of a number.", ideal=1.0, is_higher=True),
        _fidelity("tv_complement", "TV complement", "One minus half the summed differences of a "
                  "column's category shares.", ideal=1.0, is_higher=True),
        _fidelity("column_similarity", "Column likeness", "Mean of the KS complements of numbers "
                  "and the TV complements of categories.", ideal=1.0, is_higher=True),
        _fidelity("missing_difference", "Missing cells", "Share of missing cells, synthetic minus "
                  "real.", is_higher=None),
        _fidelity("mean_difference", "Shift of the mean", "In real standard deviations.",
                  is_higher=None),
        _fidelity("std_ratio", "Ratio of spreads", "Standard deviation, synthetic over real.",
                  ideal=1.0, is_higher=None),
        *_gaps("correlation", "Pearson coefficients (categories by their place in text order)"),
        *_gaps("association", "associations (Pearson, correlation ratio, Cramér's V)"),
        _fidelity("correlation_similarity", "Correlation likeness", "One minus half the mean "
                  "difference of Pearson coefficients of pairs of numbers.", ideal=1.0,
                  is_higher=True),
        _fidelity("contingency_similarity", "Contingency likeness", "One minus the total "
                  "variation of joint shares, mean over pairs of categories.", ideal=1.0,
                  is_higher=True),
        _privacy("copy_share", "Exact copies", "Rows equal to a training row, class included."),
        _privacy("near_copy_share", "Near copies", "Rows with the words of a training row and "
                 "every number within half its column's spacing; exact copies among them."),
        _privacy("prompt_copy_share", "Near copies of shown rows",
                 "Near copies of the training rows that prompts showed."),
        _privacy("dcr_median", "Distance to the closest", "Median distance to the closest training "
                 "row; the ceiling is that of held-out rows.", is_higher=True, is_share=False),
        _privacy("nndr_median", "Nearest neighbour ratio", "Median distance to the closest "
                 "training row over that to the second closest; low where rows sit on one person.",
                 ideal=None, is_higher=True, is_share=False),
        _privacy("dcr_share", "Closer to training rows", "Share of rows closer to a training row "
                 "than to a held-out one, at equal numbers of both; a half if nothing leaks.",
                 ideal=0.5),
        _privacy("attack_auc", "Membership attack AUC", "How well the distance to the closest "
                 "synthetic row tells training rows from held-out ones; a half is guessing.",
                 ideal=0.5, is_share=False),
        _privacy("attack_tpr", "Members found", "Training rows that the attack finds while it "
                 "wrongly accuses 1% of the held-out rows (or ten of them, at most 10%).",
                 is_higher=False),
    )
}  # fmt: skip
"""Every figure, by name."""


def to_figures(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a frame of `FIGURE_COLUMNS`; family and direction come from `METRICS`."""
    filled = [
        {
            "column": ALL,
            **row,
            "family": METRICS[row["metric"]].family,
            "higher_is_better": METRICS[row["metric"]].higher_is_better,
        }
        for row in rows
    ]
    return pd.DataFrame(filled, columns=list(FIGURE_COLUMNS)).astype({"higher_is_better": object})
