"""What became of copies, implausible rows, rules and calibration, in a few lines."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import pandas as pd

from rddg_ray.evaluation.report.calibrating import by_summary, rounds_with_rows, summary_name
from rddg_ray.runtime.making import making_records
from rddg_ray.runtime.store import RunDirectory


def made_lines(store: RunDirectory, rejects: pd.DataFrame, run_dir: Path) -> list[str]:
    """Return what a run of one table and method says of how its rows came about.

    Args:
        store: The run directory.
        rejects: The refused rows, with their `reason`.
        run_dir: How the user named it.

    Returns:
        Lines on copies, on classes, on rules and on calibration, where there is anything to say.

    Raises:
        StoreError: If what is on record cannot be read.
    """
    making = making_records(store)
    return [
        *_copies(making.copies, rejects["reason"]),
        *_classes(making.judged, making.judges),
        *_rules(making.rules, run_dir),
        *_calibration(making.calibration),
    ]


def _copies(copies: pd.DataFrame, reasons: pd.Series) -> list[str]:
    exact, near = (int((reasons == reason).sum()) for reason in ("copy", "near_copy"))
    if not len(copies) or not exact + near:
        return []
    row = copies.iloc[0]
    text = (
        f"Copies refused: {exact} equal and {near} nearly equal to a real row, {row['n_shown']} "
        f"of them to one that the prompt showed; of the real rows themselves "
        f"{row['natural']:.1%} equal another one, {row['natural_near']:.1%} equal or nearly equal"
    )
    return [text]


def _classes(judged: pd.DataFrame, judges: pd.DataFrame) -> list[str]:
    rows = [row for row in judged.to_dict("records") if row["judged"]]
    texts = [
        f"{row['implausible']} of {row['judged']} rows of class {row['class']!r} "
        f"({row['implausible'] / row['judged']:.1%})"
        for row in rows
    ]
    lines = [f"Implausible to models of the real rows: {', '.join(texts)}"] if rows else []
    off = judges[~judges["is_on"]] if len(judges) else judges
    return lines + [f"Plausibility: {text}" for text in (off["text"] if len(off) else ())]


def _rules(rules: pd.DataFrame, run_dir: Path) -> list[str]:
    if not len(rules):
        return []
    counts = rules["state"].value_counts()
    found = ", ".join(
        f"{counts.get(state, 0)} {state}" for state in ("kept", "dropped", "not read")
    )
    return [f"Rules: {found}; see rddg rules {run_dir}"]


def _calibration(calibration: pd.DataFrame) -> list[str]:
    known = rounds_with_rows(calibration)
    if not len(known):
        return []
    found = pd.concat([by_summary(mine) for _, mine in known.groupby("class", sort=False)])
    n_rounds = int(known[["chain", "rddg_round"]].drop_duplicates().shape[0])
    often = found.iloc[int(found["n_said"].to_numpy().argmax())]
    text = f"Calibration: {int(found['n_said'].sum())} figures said over {n_rounds} rounds"
    if often["n_said"]:
        text += f", most often the {_name(often)} (in {often['n_said']} of {often['n_rounds']})"
    # The furthest of many is far off by chance alone, too: what noise shows in one run of ten.
    wider = NormalDist().inv_cdf(1 - 0.05 / len(found)) / NormalDist().inv_cdf(0.95)
    excess = (found["whole"].abs() / found["noise"]).fillna(0.0).to_numpy() / wider
    worst = found.iloc[int(excess.argmax())]
    if excess.max() <= 1:
        return [f"{text}; in the end none of {len(found)} figures is off beyond noise"]
    return [
        (f"{text}; furthest off in the end: the {_name(worst)}, by {worst['whole']:+.2f}, where "
        f"noise alone gives the furthest of {len(found)} figures up to "
        f"{wider * worst['noise']:.2f} (in units of one row's noise)")
    ]  # fmt: skip


def _name(row: pd.Series) -> str:
    named = summary_name(row["kind"], row["columns"], row["values"])
    return f"{named} in class {row['class']!r}"
