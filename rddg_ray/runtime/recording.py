"""What is published of a chain beside its rows and rejects: rules, judges, copies, calibration."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.calibration.diagnostics import CalibrationRecord
from rddg_ray.calibration.state import CalibrationState
from rddg_ray.calibration.summaries import Summaries
from rddg_ray.chain_state import RoundInfo, State
from rddg_ray.constraints import RuleWords
from rddg_ray.measuring import Floats, Ints
from rddg_ray.synthesis import Synthesis
from rddg_ray.table import Table
from rddg_ray.table_models import TableModels

MAX_SUMMARIES = 200
"""Summaries of a class whose calibration is written down. A class of 60 numbers has 1,890."""

_FLOATS = (
    "target", "asked", "found", "whole", "bias", "bias_low", "bias_high", "gain", "gain_low",
    "gain_high", "p_value", "control",
)  # fmt: skip
_SCALED = ("asked", "found", "whole", "bias", "bias_low", "bias_high", "control")
_UNSCALED = ("gain", "gain_low", "gain_high", "p_value")
_INTEGERS = ("rddg_round", "n_rows", "n_rows_so_far")
_WORDS = ("class", "kind", "columns", "values", "reading")
CALIBRATION_COLUMNS = (*_INTEGERS, *_WORDS, *_FLOATS, "is_said")


class ChainRecorder:
    """Listens to a chain, round by round, and says in the end what it came to.

    The calibration of a chain is one row a round and summary, in standard deviations per row of
    the class's real rows (a Fisher z or an arcsine has its own): `target` is the value in the
    real rows in the column's own unit; `asked`, `found`, `whole` and `control` are deviations
    from it of what the prompt asked for, of the round's rows, of all rows so far, and of what is
    asked for next; `bias` and `gain` are posterior means with their credible intervals;
    `p_value` is that of "there is no bias". Of each class that rows came of at most `MAX_SUMMARIES`
    are kept, the same in every round: those that were ever said, then those whose output is
    furthest off in the end.
    """

    def __init__(
        self,
        study: Synthesis,
        table: Table,
        models: TableModels,
        *,
        is_calibrated: bool,
    ) -> None:
        """Prepare to listen.

        Args:
            study: The chain.
            table: Its training rows.
            models: Of its table, as the chain has them.
            is_calibrated: Whether its calibration is to be kept, round by round.
        """
        self._study = study
        self._table = table
        self._models = models
        self._summaries = models.summaries if is_calibrated else None
        self._n_prompt_copies = 0
        self._judged: Counter[str] = Counter()
        self._implausible: Counter[str] = Counter()
        self._rounds: list[tuple[CalibrationState, CalibrationRecord]] = []

    def on_round(self, state: State, info: RoundInfo) -> None:
        """Take note of a round."""
        self._n_prompt_copies += info.n_prompt_copies
        self._judged.update(info.judged)
        self._implausible.update(info.implausible)
        is_kept = self._summaries is not None
        if is_kept and info.calibration is not None and state.calibration is not None:
            self._rounds.append((state.calibration, info.calibration))

    def record(self, state: State) -> pd.DataFrame:
        """Return one row about the chain as a whole; JSON where there is more than a number."""
        words = RuleWords(self._table.prompt_columns)
        rules = {
            "record": self._study.rules_record(state),
            "words": [words.rule(verdict.rule) for verdict in state.rules.verdicts],
        }
        natural = self._study.natural_copies()
        texts = {
            "rules": rules,
            "judges": self._judges(),
            "judged": dict(self._judged),
            "implausible": dict(self._implausible),
        }
        columns = {name: pd.Series([_json(value)], dtype="str") for name, value in texts.items()}
        return pd.DataFrame(
            {
                **columns,
                "natural_copies": [natural.exact],
                "natural_near_copies": [natural.near],
                "n_prompt_copies": [self._n_prompt_copies],
            }
        )

    def _judges(self) -> list[dict[str, Any]]:
        if not self._study.judge_lines():  # the method has none
            return []
        judges = self._models.plausibility.judges
        return [{"class": c, "text": str(j), "is_on": j.is_on} for c, j in judges.items()]

    def calibration(self) -> pd.DataFrame:
        """Return what calibration knew and said; columns `CALIBRATION_COLUMNS`."""
        if self._summaries is None or not self._rounds:
            return _typed({name: [] for name in CALIBRATION_COLUMNS})
        chosen = _chosen(self._summaries, self._rounds)
        fixed = _fixed_columns(self._summaries, chosen)
        before = np.zeros(len(self._summaries), dtype=np.int64)
        parts = []
        for state, record in self._rounds:
            so_far = _rows_so_far(self._summaries, state)
            counts = {"n_rows": (so_far - before)[chosen], "n_rows_so_far": so_far[chosen]}
            told = _told_columns(self._summaries, record, chosen)
            parts.append(_typed(fixed | counts | told))
            before = so_far
        return pd.concat(parts, ignore_index=True)


def _chosen(
    summaries: Summaries, rounds: Sequence[tuple[CalibrationState, CalibrationRecord]]
) -> Ints:
    """Return the places of the summaries to write down, in order."""
    said = np.isfinite(np.array([record.control for _, record in rounds])).any(axis=0)
    off = np.nan_to_num(np.abs(rounds[-1][1].whole) / summaries.unit, nan=-1.0)
    n_rows = _rows_so_far(summaries, rounds[-1][0])
    kept = []
    for start, end in zip(summaries.starts[:-1], summaries.starts[1:], strict=True):
        # Of a class without rows nothing was learned.
        if end > start and n_rows[start] > 0:
            order = np.lexsort((-off[start:end], ~said[start:end]))
            kept.append(start + np.sort(order[:MAX_SUMMARIES]))
    chosen: Ints = np.concatenate([np.zeros(0, dtype=np.int64), *kept])
    return chosen


def _rows_so_far(summaries: Summaries, state: CalibrationState) -> Ints:
    """Return how many rows of each summary's class came so far, shape `(n_summaries,)`."""
    # The first of a class's totals is the number of its rows.
    first = np.cumsum([0, *(part.n_totals for part in summaries.classes)])[:-1]
    return np.repeat(state.totals[first].astype(np.int64), np.diff(summaries.starts))


def _fixed_columns(summaries: Summaries, chosen: Ints) -> dict[str, Any]:
    """Return what is the same in every round."""
    items = [summaries.items[at] for at in chosen]
    return {
        "class": [item.label for item in items],
        "kind": [item.kind for item in items],
        "columns": [" and ".join(item.names) for item in items],
        "values": [", ".join("(empty)" if v is None else v for v in item.values) for item in items],
        "target": _in_own_unit(summaries)[chosen],
    }


def _told_columns(summaries: Summaries, record: CalibrationRecord, chosen: Ints) -> dict[str, Any]:
    """Return what a round's record says."""
    scaled = {name: (getattr(record, name) / summaries.unit)[chosen] for name in _SCALED}
    return scaled | {
        "rddg_round": [record.round] * len(chosen),
        "reading": [record.reading] * len(chosen),
        **{name: getattr(record, name)[chosen] for name in _UNSCALED},
        "is_said": np.isfinite(record.control[chosen]),
    }


def _in_own_unit(summaries: Summaries) -> Floats:
    """Return targets as people know them: means, standard deviations, correlations, shares."""
    values = summaries.target.copy()
    for part, start in zip(summaries.classes, summaries.starts[:-1], strict=True):
        n_numbers = len(part.centre)
        mine = values[start : start + len(part.summaries)]
        kinds = np.array([item.kind for item in part.summaries])
        mine[:n_numbers] = part.centre + part.scale * mine[:n_numbers]
        mine[n_numbers : 2 * n_numbers] = part.scale * np.exp(mine[n_numbers : 2 * n_numbers])
        mine[kinds == "correlation"] = np.tanh(mine[kinds == "correlation"])
        mine[kinds == "share"] = np.sin(mine[kinds == "share"]) ** 2
    return values


def _typed(columns: dict[str, Any]) -> pd.DataFrame:
    kinds = dict.fromkeys(_INTEGERS, "int64") | dict.fromkeys(_WORDS, "str")
    kinds |= dict.fromkeys(_FLOATS, "float64") | {"is_said": "bool"}
    return pd.DataFrame(
        {name: pd.Series(columns[name], dtype=kinds[name]) for name in CALIBRATION_COLUMNS}
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
