"""What published chains put on record beside their rows, as the report shows it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pandas as pd

from rddg_ray.errors import StoreError
from rddg_ray.evaluation.report.making import MakingRecords
from rddg_ray.runtime.rule_records import table_rules
from rddg_ray.runtime.store import RunDirectory


def making_records(
    store: RunDirectory, *, n_recorded: int = 0, allow_copies: bool = False
) -> MakingRecords:
    """Return the records of a run; empty for one made by a version that kept none.

    Args:
        store: The run directory.
        n_recorded: Chains whose calibration is on record, at most, of a table and method; 0 to
            say nothing of it.
        allow_copies: Whether copies were taken; then nothing is said of them.

    Raises:
        StoreError: If a record is broken.
    """
    frames: dict[str, list[dict[str, Any]]] = {
        "copies": [], "judged": [], "judges": [], "rules": []
    }  # fmt: skip
    for dataset, method in store.parts("records"):
        records = store.read_published("records", dataset, method)
        if records is None or not len(records):
            continue
        where = {"dataset": dataset, "method": method}
        try:
            found = _of_part(records)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            path = f"{store.path}: records of {dataset}/{method}"
            raise StoreError(f"{path} cannot be read: {error!r}") from error
        rules = table_rules(records, dataset, method, str(store.path))
        found["rules"] = [
            {"state": line.state, "rule": line.rule, "by": line.source,
             "n_chains": len(line.chains), "figure": line.figure}
            for line in rules.lines
        ]  # fmt: skip
        for name, rows in found.items():
            frames[name] += [where | row for row in rows]
    if allow_copies:
        frames["copies"] = []
    tables = {name: pd.DataFrame(rows) for name, rows in frames.items()}
    return MakingRecords(**tables, calibration=_calibration(store), n_recorded=n_recorded)


def _of_part(records: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    judged, implausible = (_summed(records[name]) for name in ("judged", "implausible"))
    # All chains of a table have the same real rows, and so the same judges.
    first = records.iloc[0]
    return {
        "copies": [
            {
                "n_shown": int(records["n_prompt_copies"].sum()),
                "natural": float(first["natural_copies"]),
                "natural_near": float(first["natural_near_copies"]),
            }
        ],
        "judged": [
            {"class": label, "judged": count, "implausible": implausible[label]}
            for label, count in judged.items()
        ],
        "judges": [
            {"class": judge["class"], "text": judge["text"], "is_on": bool(judge["is_on"])}
            for judge in json.loads(first["judges"])
        ],
    }


def _summed(texts: pd.Series) -> Counter[str]:
    total: Counter[str] = Counter()
    for text in texts:
        total.update(json.loads(text))
    return total


def _calibration(store: RunDirectory) -> pd.DataFrame:
    parts = [store.read_published("calibration", *part) for part in store.parts("calibration")]
    found = [part for part in parts if part is not None and len(part)]
    if not found:
        return pd.DataFrame()
    names = {"rddg_dataset": "dataset", "rddg_method": "method", "rddg_chain": "chain"}
    return pd.concat(found, ignore_index=True).rename(columns=names)
