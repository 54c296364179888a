"""Results as a person reads them on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from rddg_ray.evaluation.summary import LABELS, PAPER_METRICS, summarise
from rddg_ray.runtime.chains import ENDED_BECAUSE

if TYPE_CHECKING:
    from rddg_ray.datasets import DatasetInfo
    from rddg_ray.evaluation.files import FileEvaluation
    from rddg_ray.exchange import Usage
    from rddg_ray.llm.journal import CallRecord, JournalSummary
    from rddg_ray.runtime.api import Result
    from rddg_ray.runtime.pipeline import RunResult
    from rddg_ray.runtime.previewing import Preview
    from rddg_ray.table import Table

_SAMPLER = "embedded-sampler"
_SAMPLER_NOTE = (
    "Rows were made by the embedded statistical sampler, not by a language model: they show that "
    "the pipeline works, not what a model can do. Point --base-url (or endpoint: in the settings) "
    "at a real one."
)
_PREVIEW_CHARACTERS = 1500


def _console() -> Console:
    # Piped output is read by programs and tests: no colour, and no wrapping at 80 columns.
    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=140)


def show_result(result: Result, table: Table, path: Path, run_dir: Path) -> None:
    """Print what `generate` came to."""
    console = _console()
    _print_left_out(console, table.name, table.left_out)
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
    _print_usage(console, result.usage)
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


def _print_usage(console: Console, usage: Usage) -> None:
    console.print(
        f"Calls {usage.n_calls}, prompt tokens {usage.prompt_tokens}, completion tokens "
        f"{usage.completion_tokens}"
    )


def _print_left_out(console: Console, table: str, left_out: Mapping[str, str]) -> None:
    for column, reason in left_out.items():
        text = f"{table}: column {column!r} is not shown or learned ({reason})"
        console.print(text, markup=False, soft_wrap=True, style="yellow")


def show_preview(preview: Preview, table: Table, *, full: bool) -> None:
    """Print the prompts and the expected effort."""
    console = _console()
    for prompt in preview.prompts:
        console.rule(prompt.phase)
        text = f"{prompt.system}\n\n{prompt.user}"
        cut = len(text) > _PREVIEW_CHARACTERS and not full
        shown = text[:_PREVIEW_CHARACTERS] if cut else text
        console.print(shown, markup=False, soft_wrap=True)
        if cut:
            console.print(f"[dim]... {len(text) - _PREVIEW_CHARACTERS} more characters (--full)")
    console.rule("expected")
    _print_left_out(console, table.name, table.left_out)
    wanted = ", ".join(f"{escape(label)} {count}" for label, count in preview.targets.items())
    console.print(f"Rows to add to {escape(table.name)}: {wanted}")
    console.print(
        f"Calls at least {preview.n_calls}, prompt tokens about {preview.prompt_tokens}, "
        f"completion tokens about {preview.completion_tokens} (four characters a token); more "
        "where rows are refused"
    )


def show_run(result: RunResult) -> None:
    """Print the table of a run and where its report is."""
    console = _console()
    for name, left_out in result.left_out.items():
        _print_left_out(console, name, left_out)
    _print_fits(console, result.fits)
    for chain, lacking in result.shortfall.items():
        text = ", ".join(f"{label} {count}" for label, count in lacking.items())
        console.print(f"[yellow]Shortfall of {escape(chain)}: {escape(text)}")
    if result.usage.n_calls:
        _print_usage(console, result.usage)
    if any(outcome.model == _SAMPLER for outcome in result.outcomes):
        console.print(f"[yellow]{_SAMPLER_NOTE}")
    console.print(f"Report: {result.report}", markup=False, soft_wrap=True)


def show_evaluation(found: FileEvaluation) -> None:
    """Print the comparison of files."""
    console = _console()
    for note in found.notes:
        console.print(f"[dim]{escape(note)}")
    for name, rows in found.data.datasets.items():
        _print_left_out(console, name, rows.train.left_out)
    _print_fits(console, found.fits)
    for record in found.copies:
        console.print(escape(_copies_sentence(record)))
    console.print(f"Fits: {found.path}", markup=False, soft_wrap=True)


def _copies_sentence(record: Mapping[str, object]) -> str:
    return (
        f"Copies of training rows among {record['n_rows']} of {record['method']}: "
        f"{record['copy_share']:.1%} exact, {record['near_copy_share']:.1%} to six digits"
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
    console = _console()
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
    console = _console()
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
    _console().print(grid)
