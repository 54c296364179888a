"""What calibration knew and said in a round, and whether its beliefs can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rddg_ray.calibration.summary import Summary
from rddg_ray.measuring import Floats, Ints


@dataclass(frozen=True)
class CalibrationRecord:
    """One round of one chain; arrays have shape `(n_summaries,)`, in the summaries' scale.

    Attributes:
        round: Round that was told, from 0.
        reading: How the endpoint seems to read what is said: as a `value` or a `change`.
        follow: Share of the reference rows' own deviations that the rows took on, in [0, 1].
        asked: Deviation from the target that the round was asked for; NaN where nothing was.
        found: What came back, less the target; NaN where not defined.
        whole: The same of all rows so far.
        bias: Posterior mean of the bias.
        bias_low: Lower end of its credible interval.
        bias_high: Upper end.
        gain: Posterior mean of the gain.
        gain_low: Lower end of its credible interval.
        gain_high: Upper end.
        p_value: Of "there is no bias".
        control: What is said for the next round, less the target; NaN where nothing is.
        n_said: Summaries that are said.
        text: The words.
    """

    round: int
    reading: str
    follow: float
    asked: Floats
    found: Floats
    whole: Floats
    bias: Floats
    bias_low: Floats
    bias_high: Floats
    gain: Floats
    gain_low: Floats
    gain_high: Floats
    p_value: Floats
    control: Floats
    n_said: int
    text: str

    def rows(self, summaries: tuple[Summary, ...], unit: Floats) -> list[dict[str, Any]]:
        """Return one flat row a summary, in units, for a table; None where not defined.

        Args:
            summaries: What they are (`Summaries.items`).
            unit: Standard deviation per row of each (`Summaries.unit`).
        """
        scaled = ("asked", "found", "whole", "bias", "bias_low", "bias_high", "control")
        columns = {name: getattr(self, name) / unit for name in scaled}
        columns |= {
            name: getattr(self, name) for name in ("gain", "gain_low", "gain_high", "p_value")
        }
        return [
            {
                "round": self.round,
                "class": item.label,
                "kind": item.kind,
                "columns": " and ".join(item.names),
                "values": ", ".join("" if v is None else v for v in item.values),
                "reading": self.reading,
            }
            | {name: _number(values[at]) for name, values in columns.items()}
            for at, item in enumerate(summaries)
        ]


def rank_of_truth(truth: Floats, mean: Floats, variance: Floats, n_ranks: int) -> Ints:
    """Return simulation-based calibration ranks of true parameters in normal posteriors.

    Where truths are drawn from the prior, the ranks are uniform over 0 .. n_ranks - 1 (Talts
    et al., 2018); for a normal posterior the limit of many draws has a closed form.
    """
    from scipy.special import ndtr

    share = ndtr((truth - mean) / np.sqrt(variance))
    ranks: Ints = np.minimum((share * n_ranks).astype(np.int64), n_ranks - 1)
    return ranks


def uniformity(ranks: Ints, n_ranks: int) -> float:
    """Return the chi-square p-value of "these ranks are uniform"."""
    from scipy.special import chdtrc

    counts = np.bincount(ranks.ravel(), minlength=n_ranks)
    expected = ranks.size / n_ranks
    return float(chdtrc(n_ranks - 1, ((counts - expected) ** 2 / expected).sum()))


def coverage(truth: Floats, interval: tuple[Floats, Floats]) -> float:
    """Return the share of truths that lie in their intervals."""
    return float(np.mean((interval[0] <= truth) & (truth <= interval[1])))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
