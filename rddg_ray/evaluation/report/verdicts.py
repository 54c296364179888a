"""What the figures allow to say, in sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rddg_ray.config import BASELINE_METHODS
from rddg_ray.evaluation.leaks import said_of_leaks
from rddg_ray.evaluation.readings import ALL, RARE
from rddg_ray.evaluation.report.context import headline
from rddg_ray.evaluation.report.reading_tables import of_whole
from rddg_ray.evaluation.summary import LABELS, difference_text, summarise

JUDGED_METRICS = ("f1", "balanced_accuracy")
_LEVEL = 0.05


def verdicts(fits: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """Return what the figures allow to say of the method the report speaks of first.

    Methods whose rows show that they have seen the test rows are named last.
    """
    if not len(fits):
        return ["Nothing was evaluated yet."]
    # A part of the page is about one table, and does not name it again.
    return [*_judged(fits, summary), *said_of_leaks(fits.assign(dataset="This table"))]


def _judged(fits: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
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
    changes = " and ".join(f"{_lower(label)} by {_change(row)}" for label, row in rows)
    parts = []
    for words, kind in (
        ("{} beyond the chance of these test rows", "clear"),
        ("{} taken alone, but not once all comparisons of the table are counted", "alone"),
    ):
        if found := [_direction(label, row) for label, row in rows if _kind(row) == kind]:
            parts.append(words.format(" and ".join(found)))
    if unclear := [_lower(label) for label, row in rows if _kind(row) == "unclear"]:
        parts.append(f"these test rows cannot tell a difference in {' or '.join(unclear)}")
    return f"Against {other}, {method} changes {changes} points: {'; '.join(parts)}."


def _change(row: dict[str, float]) -> str:
    """Return a difference with its interval, and its p-value by Holm where it has one."""
    p_value = row.get("p_holm", np.nan)
    shown = "below 0.001" if p_value < 0.001 else f"{p_value:.3f}"
    return difference_text(row) + ("" if np.isnan(p_value) else f" (Holm-corrected p {shown})")


def _kind(row: dict[str, float]) -> str:
    if not (row["low"] > 0 or row["high"] < 0):
        return "unclear"
    # Without a p-value the interval alone decides.
    return "alone" if row.get("p_holm", np.nan) > _LEVEL else "clear"


def _direction(label: str, row: dict[str, float]) -> str:
    return f"{_lower(label)} is {'higher' if row['low'] > 0 else 'lower'}"


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
