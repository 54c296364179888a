"""How the rows came about: calibration, rules, copies, plausibility, as the page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from rddg_ray.evaluation.report.calibrating import calibration_picture, calibration_table
from rddg_ray.evaluation.report.drawing import Picture
from rddg_ray.evaluation.report.tables import TableView, plain_table
from rddg_ray.table import Table

_MAX_RULES = 60
_MAX_TEXT = 400


@dataclass(frozen=True)
class MakingRecords:
    """What chains put on record beside their rows; frames without rows where there is nothing.

    Attributes:
        copies: Columns `dataset`, `method`, `n_shown` (refused copies of rows that the prompt
            showed), `natural` and `natural_near` (shares of real training rows that equal, or
            nearly equal, another one).
        judged: Columns `dataset`, `method`, `class`, `judged`, `implausible`: rows whose class
            models of the training rows judged, and those refused.
        judges: Columns `dataset`, `method`, `class`, `text`, `is_on`: what the models know of
            each class, and whether its rows were judged.
        rules: Columns `dataset`, `method`, `state`, `rule`, `by`, `n_chains`, `figure`.
        calibration: Columns `dataset`, `method`, `chain` and those of
            `runtime.recording.ChainRecorder`.
        n_recorded: Chains in `calibration`, at most, of each table and method.
    """

    copies: pd.DataFrame = field(default_factory=pd.DataFrame)
    judged: pd.DataFrame = field(default_factory=pd.DataFrame)
    judges: pd.DataFrame = field(default_factory=pd.DataFrame)
    rules: pd.DataFrame = field(default_factory=pd.DataFrame)
    calibration: pd.DataFrame = field(default_factory=pd.DataFrame)
    n_recorded: int = 0

    def of(self, dataset: str) -> MakingRecords:
        """Return what belongs to one table."""
        frames = {name: _of(getattr(self, name), dataset) for name in _FRAMES}
        return MakingRecords(**frames, n_recorded=self.n_recorded)


_FRAMES = ("copies", "judged", "judges", "rules", "calibration")


@dataclass(frozen=True)
class MakingView:
    """One table's part of the page on how its rows came about.

    Attributes:
        refusals: Sentences on cost, copies and plausibility.
        judges: What the models know of each class, in sentences.
        tables: `judged`, `rules`, `dropped`, `calibration`, where there is something to show.
        picture: Of calibration, or None.
    """

    refusals: list[str] = field(default_factory=list)
    judges: list[str] = field(default_factory=list)
    tables: dict[str, TableView] = field(default_factory=dict)
    picture: Picture | None = None

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to show."""
        return not (self.refusals or self.judges or self.tables or self.picture)


def making_view(
    name: str,
    making: MakingRecords,
    rejects: pd.DataFrame,
    usage: pd.DataFrame,
    train: Table | None,
) -> MakingView:
    """Return one table's part of the page.

    Args:
        name: The table.
        making: The records of all tables.
        rejects: As `ReportContext.rejects`.
        usage: As `ReportContext.usage`.
        train: Its training rows; None where they are not at hand.
    """
    mine = making.of(name)
    rejects, usage = _of(rejects, name), _of(usage, name)
    tables = {"judged": _judged_table(mine.judged)}
    for key, states in (("rules", ("kept",)), ("dropped", ("dropped", "not read"))):
        tables[key] = _rules_table(key, mine.rules, states)
    tables["calibration"] = calibration_table(mine.calibration, train, mine.n_recorded)
    return MakingView(
        refusals=[*_costs(usage, rejects), *_copies(mine.copies, rejects)],
        judges=list(dict.fromkeys(mine.judges["text"])) if len(mine.judges) else [],
        tables={key: table for key, table in tables.items() if table.rows},
        picture=calibration_picture(name, mine.calibration),
    )


def _of(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    return frame[frame["dataset"] == dataset] if len(frame) else frame


def _costs(usage: pd.DataFrame, rejects: pd.DataFrame) -> list[str]:
    """Return what an accepted row cost, and how many rows came for it, by method."""
    said = []
    for row in usage.to_dict("records"):
        n_rows, tokens = row.get("accepted_rows"), row.get("tokens_per_row")
        if not n_rows or tokens is None or pd.isna(tokens):
            continue
        n_refused = _count(rejects, row["method"])
        usd = row.get("usd_per_1000_rows")
        price = "" if usd is None or pd.isna(usd) else f" ({usd / 1000:,.6f} US dollars)"
        said.append(
            f"{row['method']}: {n_rows:,} rows were accepted and {n_refused:,} refused; an "
            f"accepted row cost {tokens:,.0f} tokens{price}, those of the refused ones included."
        )
    return said


def _copies(copies: pd.DataFrame, rejects: pd.DataFrame) -> list[str]:
    """Return how many copies were refused, beside what is natural among real rows."""
    said = []
    for row in copies.to_dict("records"):
        exact, near = (_count(rejects, row["method"], reason) for reason in ("copy", "near_copy"))
        said.append(
            f"{row['method']}: {exact:,} rows were refused because they equal a real training row "
            f"and {near:,} because they nearly do; of both, {row['n_shown']:,} copy a row that "
            f"the prompt showed and {exact + near - row['n_shown']:,} another one. Of the real "
            f"training rows themselves {_percent(row['natural'])} equal another one and "
            f"{_percent(row['natural_near'])} equal or nearly equal one."
        )
    return said


def _count(rejects: pd.DataFrame, method: str, reason: str | None = None) -> int:
    if not len(rejects):
        return 0
    mine = rejects["method"] == method
    if reason is not None:
        mine &= rejects["reason"] == reason
    return int(rejects.loc[mine, "n"].sum())


def _judged_table(judged: pd.DataFrame) -> TableView:
    caption = (
        "Rows whose class models of the training rows judged, and those whose class they did not "
        "believe; of the real rows of a class at most 2.5% would be refused"
    )
    view = TableView(caption, ("Method", "Class", "Judged", "Implausible", "Share"))
    for row in judged.to_dict("records"):
        if row["judged"]:
            view.rows.append([
                row["method"], row["class"], f"{row['judged']:,}", f"{row['implausible']:,}",
                _percent(row["implausible"] / row["judged"]),
            ])  # fmt: skip
    return view


def _rules_table(key: str, rules: pd.DataFrame, states: Sequence[str]) -> TableView:
    mine = rules[rules["state"].isin(states)] if len(rules) else rules
    what = (
        "Rules that new rows were held to, checked on the real training rows first"
        if key == "rules"
        else "Rules that were not used, and why"
    )
    more = f"; the first {_MAX_RULES} of {len(mine):,}" if len(mine) > _MAX_RULES else ""
    shown = [
        {"Rule": _cut(row["rule"]), "By": row["by"], "Method": row["method"],
         "Chains": row["n_chains"], "On the real rows": _cut(row["figure"])}
        for row in mine.head(_MAX_RULES).to_dict("records")
    ]  # fmt: skip
    return plain_table(f"{what}{more}", pd.DataFrame(shown))


def _cut(text: Any) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= _MAX_TEXT else f"{line[: _MAX_TEXT - 1]}…"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
