"""What the figures allow to say, in sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rddg_ray.config import BASELINE_METHODS
from rddg_ray.evaluation.copies import TEST_ROWS
from rddg_ray.evaluation.report.context import headline
from rddg_ray.evaluation.summary import LABELS, difference_text, summarise

JUDGED_METRICS = ("f1", "balanced_accuracy")


def verdicts(fits: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """Return what the figures allow to say of the method the report speaks of first."""
    if not len(fits):
        return ["Nothing was evaluated yet."]
    methods = list(dict.fromkeys(fits["method"]))
    method = headline(methods)
    if method is None or "original" not in methods:
        return ["There is no generated method beside the original rows to judge."]
    said = [_judge(method, "the original rows", summary)]
    baselines = [m for m in methods if m in BASELINE_METHODS and m != "original"]
    f1 = summary[summary["metric"] == "f1"].set_index("method")["mean"]
    known = f1.reindex(baselines).dropna()
    if len(known):
        best = str(known.idxmax())
        against = summarise(fits.assign(dataset="this"), reference=best)
        said.append(_judge(method, f"{best}, the best baseline by F1", against))
    return said


def _judge(method: str, other: str, summary: pd.DataFrame) -> str:
    mine = summary[summary["method"] == method].set_index("metric").to_dict("index")
    rows = [(LABELS[metric], mine[metric]) for metric in JUDGED_METRICS]
    if any(np.isnan(row["difference"]) for _, row in rows):
        return f"Against {other}: {method} has no fits to compare."
    changes = " and ".join(f"{_lower(label)} by {difference_text(row)}" for label, row in rows)
    clear = [
        f"{_lower(label)} is {'higher' if row['low'] > 0 else 'lower'}"
        for label, row in rows
        if row["low"] > 0 or row["high"] < 0
    ]
    unclear = [_lower(label) for label, row in rows if row["low"] <= 0 <= row["high"]]
    parts = [f"{' and '.join(clear)} beyond the chance of these test rows"] if clear else []
    if unclear:
        parts.append(f"these test rows cannot tell a difference in {' or '.join(unclear)}")
    return f"Against {other}, {method} changes {changes} points: {'; '.join(parts)}."


def said_of_copies(copies: pd.DataFrame) -> list[str]:
    """Return how many rows of that method are copies, beside the natural share."""
    if not len(copies):
        return []
    shares = copies.groupby("method", sort=False)["near_copy_share"].mean()
    method = headline([name for name in shares.index if name != TEST_ROWS])
    if method is None:
        return []
    copied, natural = (f"{100 * shares[name]:.1f}%" for name in (method, TEST_ROWS))
    text = f"{copied} of the rows of {method} are copies of real training rows; "
    return [f"{text}of the real test rows {natural} are."]


def _lower(label: str) -> str:
    return label if label.isupper() or label == "F1" else label.lower()
