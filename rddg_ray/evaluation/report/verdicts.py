"""What the figures allow to say, in sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rddg_ray.config import BASELINE_METHODS
from rddg_ray.evaluation.readings import ALL, RARE
from rddg_ray.evaluation.report.context import headline
from rddg_ray.evaluation.report.reading_tables import of_whole
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


def said_of_likeness(fidelity: pd.DataFrame, method: str | None) -> list[str]:
    """Return how alike the rare class's rows are (or else all rows), beside new real rows."""
    if method is None or not len(fidelity):
        return []
    for scope, of_whom in ((RARE, "rows of the rare class"), (ALL, "rows")):
        whole = of_whole(fidelity, scope)
        found = whole[whole["method"] == method].set_index("metric").to_dict("index")
        needed = ("column_similarity", "association_rmse")
        if any(np.isnan(found.get(m, {}).get("ceiling", np.nan)) for m in needed):
            continue
        return [_likeness_sentence(method, of_whom, found)]
    return []


def _likeness_sentence(method: str, of_whom: str, found: dict[str, dict[str, float]]) -> str:
    columns, pairs = found["column_similarity"], found["association_rmse"]
    return (
        f"The {of_whom} of {method} have a mean likeness of {columns['matched']:.3f} column by "
        f"column (1 is the same distribution), where {columns['n_matched']:,.0f} new real rows "
        f"reach {columns['ceiling']:.3f}; their associations are off by {pairs['matched']:.3f}, "
        f"those of new real rows by {pairs['ceiling']:.3f}."
    )


def said_of_copies(privacy: pd.DataFrame, method: str | None) -> list[str]:
    """Return how many rows of that method are copies, beside the natural share."""
    if method is None:
        return []
    whole = of_whole(privacy, ALL)
    mine = whole[whole["method"] == method].set_index("metric")
    if "near_copy_share" not in mine.index:
        return []
    copied, natural = (f"{100 * mine.loc['near_copy_share', n]:.1f}%" for n in ("value", "ceiling"))
    text = f"{copied} of the rows of {method} are copies of real training rows; "
    return [f"{text}of the real test rows {natural} are."]


def _lower(label: str) -> str:
    return label if label.isupper() or label == "F1" else label.lower()
