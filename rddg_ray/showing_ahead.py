"""What a person is told before a run: its prompts, effort, cost and time, and what is amiss."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table as Grid

from rddg_ray.printing import open_console, print_left_out

if TYPE_CHECKING:
    from rich.console import Console

    from rddg_ray.exchange import Prompt, Usage
    from rddg_ray.runtime.doctor import Diagnosis
    from rddg_ray.runtime.forecast import Effort, Forecast
    from rddg_ray.runtime.previewing import Preview

_PREVIEW_CHARACTERS = 1500
_SECONDS = (("d", 86400), ("h", 3600), ("min", 60))
_BOUNDS = {
    "chain": "the longest chain, whose calls wait for one another",
    "rate": "the limit of {rate}",
    "concurrency": "the {n} calls that may be in flight (endpoint.max_concurrency)",
}


def show_preview(preview: Preview, ahead: Forecast, *, full: bool) -> None:
    """Print the prompts and the expected effort, cost and time."""
    console = open_console()
    for prompt in preview.prompts:
        _print_prompt(console, prompt, full=full)
    console.rule("expected")
    for name, wanted in preview.targets.items():
        print_left_out(console, name, preview.left_out.get(name, {}))
        text = ", ".join(f"{escape(label)} {count}" for label, count in wanted.items())
        console.print(f"Rows to add to {escape(name)}: {text}")
    if len(preview.efforts) > 1:
        console.print(_efforts(preview.efforts))
    _print_forecast(console, ahead)


def _print_prompt(console: Console, prompt: Prompt, *, full: bool) -> None:
    console.rule(prompt.phase)
    text = f"{prompt.system}\n\n{prompt.user}"
    cut = len(text) > _PREVIEW_CHARACTERS and not full
    shown = text[:_PREVIEW_CHARACTERS] if cut else text
    console.print(shown, markup=False, soft_wrap=True)
    if cut:
        console.print(f"[dim]... {len(text) - _PREVIEW_CHARACTERS} more characters (--full)")


def _efforts(efforts: Mapping[tuple[str, str], Effort]) -> Grid:
    grid = Grid(title="By table and method", title_justify="left")
    for heading in ("table", "method", "chains", "calls", "prompt tokens", "completion tokens"):
        grid.add_column(heading, justify="left" if heading in ("table", "method") else "right")
    for (dataset, method), effort in efforts.items():
        usage = effort.usage
        numbers = (effort.n_chains, usage.n_calls, usage.prompt_tokens, usage.completion_tokens)
        grid.add_row(escape(dataset), method, *(f"{number:,}" for number in numbers))
    return grid


def _print_forecast(console: Console, ahead: Forecast) -> None:
    usage = ahead.effort.usage
    lines = [_calls_sentence(usage), _cost_sentence(ahead)]
    if usage.n_calls:
        lines += [_time_sentence(ahead), _chains_sentence(ahead)]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    for sentence in ahead.early_ends:
        console.print(sentence, markup=False, soft_wrap=True, style="yellow")


def _calls_sentence(usage: Usage) -> str:
    cached = ""
    if usage.cached_tokens:
        cached = f" (about {usage.cached_tokens} of them repeated, which an endpoint may cache)"
    return (
        f"Calls at least {usage.n_calls}, prompt tokens about {usage.prompt_tokens}{cached}, "
        f"completion tokens about {usage.completion_tokens} (four characters a token); more "
        "where rows are refused"
    )


def _cost_sentence(ahead: Forecast) -> str:
    if ahead.cost_usd is None or ahead.cost_with_cache_usd is None:
        return "Cost: no prices set (endpoint.budget.prompt_usd_per_million and the others)"
    text = f"Cost about {ahead.cost_usd:.4f} USD"
    if ahead.cost_with_cache_usd < ahead.cost_usd:
        text += f", {ahead.cost_with_cache_usd:.4f} USD where the endpoint caches"
    return text


def _time_sentence(ahead: Forecast) -> str:
    rate = "" if ahead.rate is None else ahead.rate.words
    bound = _BOUNDS[ahead.ideal.bound].format(rate=rate, n=ahead.max_in_flight)
    return (
        f"Time at least {duration(ahead.ideal.time_s)} at {ahead.latency_s:g} s a call "
        f"({ahead.latency_source}); what it waits for: {bound}"
    )


def _chains_sentence(ahead: Forecast) -> str:
    rate = "no limit set" if ahead.rate is None else f"{ahead.rate.calls_per_s * 60:.4g} calls"
    if ahead.rate is not None:
        rate += f" a minute by the limit of {ahead.rate.words}"
    return (
        f"Chains {ahead.effort.n_chains} side by side; {ahead.saturating_chains} would keep the "
        f"limits busy ({rate}, {ahead.max_in_flight} in flight)"
    )


def show_diagnosis(diagnosis: Diagnosis) -> None:
    """Print one line a check, and below those that are not ok what to do."""
    console = open_console()
    for check in diagnosis.checks:
        style = {"ok": "green", "warning": "yellow", "failed": "red"}[check.status]
        console.print(
            f"[{style}]{check.status:<8}[/] {check.name:<12} {escape(check.figure)}", soft_wrap=True
        )
        if check.advice:
            console.print(f"{'':<8} {'':<12} -> {check.advice}", markup=False, soft_wrap=True)
    counts = [f"{diagnosis.count(status)} {status}" for status in ("ok", "warning", "failed")]
    console.print(", ".join(counts))


def diagnosis_json(diagnosis: Diagnosis, exit_code: int) -> str:
    """Return all checks as one JSON object."""
    content = {
        "exit_code": exit_code,
        "checks": [check.as_json() for check in diagnosis.checks],
    }
    return json.dumps(content, ensure_ascii=False)


def duration(seconds: float) -> str:
    """Return a time as people say it, in its two largest units, such as `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    rest = round(seconds)
    parts: list[str] = []
    for unit, size in _SECONDS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join([*parts, f"{rest} s"][:2])
