"""Results as a person reads them on a terminal."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from rddg_ray.evaluation.summary import LABELS, PAPER_METRICS, summarise
from rddg_ray.printing import open_console, print_left_out
from rddg_ray.runtime.chains import ENDED_BECAUSE
from rddg_ray.runtime.made_lines import made_lines
from rddg_ray.runtime.spending import Spending, spending_lines
from rddg_ray.runtime.store import RunDirectory

if TYPE_CHECKING:
    from rddg_ray.datasets import DatasetInfo
    from rddg_ray.evaluation.files import FileEvaluation
    from rddg_ray.llm.journal import CallRecord, JournalSummary
    from rddg_ray.runtime.api import Result
    from rddg_ray.runtime.chains import ChainOutcome
    from rddg_ray.runtime.pipeline import RunResult
    from rddg_ray.table import Table

_SAMPLER = "embedded-sampler"
_SAMPLER_NOTE = (
    "Rows were made by the embedded statistical sampler, not by a language model: they show that "
    "the pipeline works, not what a model can do. Point --base-url (or endpoint: in the settings) "
    "at a real one."
)


def show_result(result: Result, table: Table, path: Path, run_dir: Path) -> None:
    """Print what `generate` came to."""
    console = open_console()
    print_left_out(console, table.name, table.left_out)
    # Rows have the file's spelling of a class, which may have space around it.
    labels = result.rows[table.target].astype("str").str.strip()
    counts = labels.value_counts()
    grid = Grid(title=f"Rows for {escape(table.name)}", title_justify="left")
    for heading in ("class", "real", "accepted", "lacking"):
        grid.add_column(heading, justify="left" if heading == "class" else "right")
    for label, n_real in table.class_counts.items():
        lacking = result.shortfall.get(label, 0)
        grid.add_row(escape(label), str(n_real), str(int(counts.get(label, 0))), str(lacking))
    console.print(grid)
    _print_rejects(console, result.rejects)
    for line in made_lines(RunDirectory(run_dir), result.rejects, run_dir):
        console.print(line, markup=False, soft_wrap=True)
    _print_spending(console, result.spending, result.wall_s)
    for chain, reason in result.ended_because.items():
        if reason != "target":
            console.print(f"[yellow]Chain {escape(chain)} ended short: {ENDED_BECAUSE[reason]}")
    if _SAMPLER in set(result.provenance.get("rddg_model", ())):
        console.print(f"[yellow]{_SAMPLER_NOTE}")
    console.print(f"Wrote {path} ({len(result.rows)} rows)", markup=False, soft_wrap=True)
    console.print(f"Replies, rows and rejects are kept in {run_dir}", markup=False, soft_wrap=True)


def _print_rejects(console: Console, rejects: pd.DataFrame) -> None:
    if not len(rejects):
        return
    counts = rejects["reason"].value_counts()
    console.print("Refused: " + ", ".join(f"{reason} {count}" for reason, count in counts.items()))


def _print_spending(console: Console, spending: Spending, wall_s: float) -> None:
    for line in spending_lines(spending, wall_s):
        console.print(line, markup=False, soft_wrap=True)


def show_run(result: RunResult) -> None:
    """Print the table of a run and where its report is."""
    console = open_console()
    for name, left_out in result.left_out.items():
        print_left_out(console, name, left_out)
    _print_fits(console, result.fits)
    for chain, lacking in result.shortfall.items():
        text = ", ".join(f"{label} {count}" for label, count in lacking.items())
        console.print(f"[yellow]Shortfall of {escape(chain)}: {escape(text)}")
    if result.outcomes:
        _print_made(console, result.outcomes)
        _print_spending(console, result.spending, result.wall_s)
    if any(outcome.model == _SAMPLER for outcome in result.outcomes):
        console.print(f"[yellow]{_SAMPLER_NOTE}")
    console.print(f"Report: {result.report}", markup=False, soft_wrap=True)


def _print_made(console: Console, outcomes: Sequence[ChainOutcome]) -> None:
    made: defaultdict[str, Counter[str]] = defaultdict(Counter)
    refused: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for outcome in outcomes:
        name = f"{outcome.spec.dataset}/{outcome.spec.method}"
        made[name].update(outcome.accepted)
        refused[name].update(outcome.rejects)
    for name, counts in made.items():
        text = f"Rows of {name}: {_counts(counts)}"
        if refused[name].total():
            text += f"; refused: {_counts(refused[name])}"
        console.print(text, markup=False, soft_wrap=True)


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "none"


def show_evaluation(found: FileEvaluation) -> None:
    """Print the comparison of files."""
    console = open_console()
    for note in found.notes:
        console.print(f"[dim]{escape(note)}")
    for name, rows in found.data.datasets.items():
        print_left_out(console, name, rows.train.left_out)
    _print_fits(console, found.fits)
    for record in found.copies:
        console.print(escape(_copies_sentence(record)))
    console.print(f"Fits: {found.path}", markup=False, soft_wrap=True)


def _copies_sentence(record: Mapping[str, object]) -> str:
    return (
        f"Copies of training rows among {record['n_rows']} of {record['method']}: "
        f"{record['copy_share']:.1%} exact, {record['near_copy_share']:.1%} or nearly"
    )


def _print_fits(console: Console, fits: pd.DataFrame) -> None:
    summary = summarise(fits)
    for dataset, rows in summary.groupby("dataset", sort=False):
        grid = Grid(
            title=f"{escape(str(dataset))}: percent, mean ± spread over fits; difference to "
            "original [95% interval over test rows]",
            title_justify="left",
        )
        grid.add_column("method")
        grid.add_column("rows added", justify="right")
        for metric in PAPER_METRICS:
            grid.add_column(LABELS[metric], justify="right")
        for method, figures in rows.groupby("method", sort=False):
            cells = figures.set_index("metric")
            added = cells["n_synthetic"].iloc[0]
            grid.add_row(
                escape(str(method)),
                "-" if pd.isna(added) else f"{added:.0f}",
                *(_figure(cells.loc[metric]) for metric in PAPER_METRICS),
            )
        console.print(grid)
    for error, count in fits["error"].dropna().value_counts().items():
        console.print(f"[red]{count} fits failed: {escape(str(error))}")


def _figure(row: pd.Series) -> str:
    if pd.isna(row["mean"]):
        return "-"
    text = f"{100 * row['mean']:.2f}"
    if not pd.isna(row["std"]):
        text += f" ± {100 * row['std']:.2f}"
    if pd.isna(row["difference"]) or pd.isna(row["low"]):
        return text
    low, high = 100 * row["low"], 100 * row["high"]
    return f"{text}\n{100 * row['difference']:+.2f} [{low:+.1f}, {high:+.1f}]".replace("[", r"\[")


def show_journal(summary: JournalSummary) -> None:
    """Print what a run's journals hold."""
    console = open_console()
    grid = Grid(title="Calls with a reply", title_justify="left")
    for heading in ("phase", "calls", "prompt tokens", "cached", "completion tokens",
                    "latency s: p50", "p95", "max"):  # fmt: skip
        grid.add_column(heading, justify="left" if heading == "phase" else "right")
    for name, phase in {**summary.by_phase, "all": summary.total}.items():
        usage = phase.usage
        grid.add_row(
            name, str(phase.n_calls), str(usage.prompt_tokens), str(usage.cached_tokens),
            str(usage.completion_tokens), f"{phase.latency_p50_s:.2f}",
            f"{phase.latency_p95_s:.2f}", f"{phase.latency_max_s:.2f}",
        )  # fmt: skip
    console.print(grid)
    console.print(
        f"Attempts {summary.n_attempts}, possibly paid twice {summary.possibly_paid_twice}, "
        f"outcome unknown {summary.n_unknown}, writers {summary.n_writers}"
    )
    if summary.cost_usd is not None and summary.most_usd is not None:
        console.print(f"Cost {summary.cost_usd:.4f} USD, at most {summary.most_usd:.4f} USD")
    for letter in summary.dead:
        text = f"Dead letter {letter.key} ({letter.call.dataset}, {letter.call.chain}): "
        console.print(text + letter.message, markup=False, soft_wrap=True, style="red")


def show_call(record: CallRecord) -> None:
    """Print one call in full."""
    console = open_console()
    call = record.call
    console.print(
        f"{record.key}: {call.dataset}/{call.chain}/{call.round}/{call.index}, {record.phase}, "
        f"{len(record.attempts)} attempts", markup=False, soft_wrap=True,
    )  # fmt: skip
    if record.prompt is not None:
        console.rule("prompt")
        text = f"{record.prompt.system}\n\n{record.prompt.user}"
        console.print(text, markup=False, soft_wrap=True)
    if record.reply is not None:
        console.rule(f"reply of {escape(record.reply.model)} ({record.reply.finish_reason})")
        console.print(record.reply.text, markup=False, soft_wrap=True)
    if record.dead is not None:
        console.rule("dead letter")
        console.print(record.dead.message, markup=False, soft_wrap=True)


def show_datasets(entries: Sequence[DatasetInfo]) -> None:
    """Print the catalog."""
    grid = Grid(title="Data sets", title_justify="left")
    for heading in ("name", "kind", "rows", "target", "classes", "where"):
        grid.add_column(heading)
    for entry in entries:
        classes = ", ".join(f"{label} {count}" for label, count in entry.classes.items())
        grid.add_row(
            entry.name, entry.kind, str(entry.rows), entry.target, escape(classes), entry.homepage
        )
    open_console().print(grid)
