"""The `rddg` command. Heavy libraries are imported where they are used: `--help` is instant."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rddg_ray.errors import (
    BudgetError,
    ConfigError,
    DataError,
    LLMError,
    PermanentLLMError,
    RddgError,
    StoreError,
    TransientLLMError,
)
from rddg_ray.method_parts import METHOD_PARTS

if TYPE_CHECKING:
    from rddg_ray.config import SynthesisSettings
    from rddg_ray.runtime.executor import Executor
    from rddg_ray.runtime.pipeline import RunResult
    from rddg_ray.runtime.progress import FlightCounter, Progress

EXIT_DONE, EXIT_SHORTFALL = 0, 3
EXIT_DATA, EXIT_STORE, EXIT_RESUMABLE, EXIT_CREDENTIALS, EXIT_SETTINGS = 65, 73, 75, 77, 78
# What waiting cures comes last.
_WORST_FIRST = (EXIT_SETTINGS, EXIT_CREDENTIALS, EXIT_DATA, EXIT_STORE, EXIT_RESUMABLE)
_REFUSED = (401, 403)
EXIT_INTERRUPTED = 130
_FORMATS = (".csv", ".parquet", ".pq")
_SETTINGS_FORMATS = (".yaml", ".yml")

app = typer.Typer(
    help="Rows for the rare classes of a table, written by a language model under measured "
    "feedback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 done, 3 done with a shortfall, 65 unusable table, 73 unusable run "
    "directory, 75 stopped and resumable, 77 credentials or quota, 78 settings, 130 interrupted "
    "and resumable.",
)

TableArgument = Annotated[Path, typer.Argument(help="CSV or Parquet file.")]
TargetOption = Annotated[str, typer.Option("--target", "-t", help="Name of the class column.")]
MetadataOption = Annotated[
    Path | None,
    typer.Option(help="SDV Metadata V2 JSON that overrides what is inferred of columns."),
]
MissingOption = Annotated[
    list[str] | None,
    typer.Option("--missing", help="Cell text that means missing; repeat. Default: ?, NA, ..."),
]
RareOption = Annotated[
    str | None, typer.Option("--rare-class", help="The rare class; default: the smallest.")
]
MethodOption = Annotated[str, typer.Option(help=f"One of {', '.join(METHOD_PARTS)}.")]
RowsOption = Annotated[
    int | None, typer.Option("--rows", "-n", min=1, help="Rows to add to the rare class.")
]
PerClassOption = Annotated[
    list[str] | None,
    typer.Option("--per-class", help="CLASS=ROWS to add to a class; repeat."),
]
StrategyOption = Annotated[
    str | None,
    typer.Option("--strategy", help="imbalanced-learn's sampling_strategy: a name or a ratio."),
]
BaseUrlOption = Annotated[
    str | None,
    typer.Option(
        help="An OpenAI-compatible endpoint, e.g. https://api.openai.com/v1. Default: the "
        "embedded sampler (statistical, not a language model).",
    ),
]
ModelOption = Annotated[str | None, typer.Option(help="Name the endpoint knows the model by.")]
KeyOption = Annotated[
    str | None,
    typer.Option(help="NAME of the environment variable that holds the key (never the key)."),
]
KeyFileOption = Annotated[Path | None, typer.Option(help="File that holds the key.")]
ReplayOption = Annotated[
    Path | None, typer.Option(help="Answer from this recordings file (JSON lines).")
]
ConcurrencyOption = Annotated[int, typer.Option(min=1, help="Calls in flight at most.")]
StateOption = Annotated[int, typer.Option("--random-state", min=0, help="Seeds every draw.")]
CodesOption = Annotated[
    bool, typer.Option("--codes/--no-codes", help="Show category values as random words.")
]
CopiesOption = Annotated[
    bool, typer.Option("--allow-copies", help="Accept rows equal to a real row.")
]
RulesOption = Annotated[
    Path | None,
    typer.Option("--rules", help="YAML or JSON file of rules of your own that rows must keep."),
]
MaxCallsOption = Annotated[int | None, typer.Option(min=1, help="Calls a chain makes at most.")]
AddressOption = Annotated[
    str | None, typer.Option(help="Of a running Ray cluster (or auto). Default: a local Ray.")
]
RayOption = Annotated[bool, typer.Option("--ray/--no-ray", help="On Ray, or in this process.")]


@app.command()
def generate(
    table: TableArgument,
    target: TargetOption,
    rows: RowsOption = None,
    per_class: PerClassOption = None,
    strategy: StrategyOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV or Parquet file for the new rows.")
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            help="Keeps every reply; the same command goes on from there. Default: "
            "runs/<table>-<hash of table and settings>."
        ),
    ] = None,
    method: MethodOption = "rddg_calibrated",
    metadata: MetadataOption = None,
    missing: MissingOption = None,
    rare_class: RareOption = None,
    base_url: BaseUrlOption = None,
    model: ModelOption = None,
    api_key_env: KeyOption = None,
    api_key_file: KeyFileOption = None,
    replay: ReplayOption = None,
    max_concurrency: ConcurrencyOption = 256,
    random_state: StateOption = 0,
    codes: CodesOption = True,
    allow_copies: CopiesOption = False,
    rules: RulesOption = None,
    max_calls: MaxCallsOption = None,
    ray: RayOption = False,
    address: AddressOption = None,
) -> None:
    """Generate rows for the rare classes of TABLE. All its rows may be shown to the endpoint."""
    from rddg_ray.reading import read_table, write_rows
    from rddg_ray.runtime.api import generate as generate_rows
    from rddg_ray.runtime.api import run_folder
    from rddg_ray.showing import show_result

    frame = read_table(
        table, target, metadata=metadata, rare_class=rare_class, missing_values=_tokens(missing)
    )  # fmt: skip
    settings = _synthesis_settings(
        method=method, random_state=random_state,
        wanted=_wanted(rows, per_class, strategy, frame.rare_class),
        endpoint=_endpoint(base_url, model, api_key_env, api_key_file, replay, max_concurrency),
        generation={
            "codes": codes, "allow_copies": allow_copies, "max_calls": max_calls, "rules": rules,
        },
    )  # fmt: skip
    out = out or Path(f"{table.stem}-synthetic.csv")
    _check_writable(out)
    run_dir = run_dir or Path("runs") / run_folder(frame, settings)
    with _stage(ray or address is not None, address) as (executor, progress, _):
        result = generate_rows(
            frame, settings, run_dir=run_dir, executor=executor, progress=progress
        )
    write_rows(result.rows, frame.schema, out)
    show_result(result, frame, out, run_dir)
    raise typer.Exit(EXIT_SHORTFALL if result.shortfall else EXIT_DONE)


@app.command()
def preview(
    context: typer.Context,
    table: Annotated[
        Path,
        typer.Argument(
            help="CSV or Parquet file; or the settings file (.yaml) of a whole run, with its "
            "limits and prices."
        ),
    ],
    target: Annotated[
        str | None, typer.Option("--target", "-t", help="Name of a table's class column.")
    ] = None,
    rows: RowsOption = None,
    per_class: PerClassOption = None,
    strategy: StrategyOption = None,
    method: MethodOption = "rddg_calibrated",
    metadata: MetadataOption = None,
    missing: MissingOption = None,
    rare_class: RareOption = None,
    random_state: StateOption = 0,
    codes: CodesOption = True,
    rules: RulesOption = None,
    latency_s: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds a call lasts. Default: 10, or the embedded sampler's."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Print prompts whole.")] = False,
) -> None:
    """Show prompts, and expected calls, tokens, cost and time, without calling anything."""
    from rddg_ray.config import load_settings
    from rddg_ray.reading import read_table
    from rddg_ray.runtime.forecast import forecast
    from rddg_ray.runtime.previewing import preview as preview_chain
    from rddg_ray.runtime.previewing import preview_run
    from rddg_ray.showing_ahead import show_preview

    if table.suffix.lower() in _SETTINGS_FORMATS:
        _check_no_table_options(context)
        run = load_settings(table)
        ahead = preview_run(run)
        show_preview(
            ahead, forecast(ahead.effort, run.endpoint, run.generation, latency_s), full=full
        )
        return
    if target is None:
        raise ConfigError("--target is missing: the name of the table's class column")
    frame = read_table(
        table, target, metadata=metadata, rare_class=rare_class, missing_values=_tokens(missing)
    )  # fmt: skip
    settings = _synthesis_settings(
        method=method, random_state=random_state,
        wanted=_wanted(rows, per_class, strategy, frame.rare_class),
        endpoint={}, generation={"codes": codes, "rules": rules},
    )  # fmt: skip
    ahead = preview_chain(frame, settings)
    show_preview(
        ahead, forecast(ahead.effort, settings.endpoint, settings.generation, latency_s), full=full
    )


@app.command()
def doctor(
    config: Annotated[
        Path | None, typer.Argument(help="Settings file (YAML). Default: the defaults.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Run directory, instead of the file's.")
    ] = None,
    base_url: BaseUrlOption = None,
    model: ModelOption = None,
    api_key_env: KeyOption = None,
    api_key_file: KeyFileOption = None,
    replay: ReplayOption = None,
    address: AddressOption = None,
    start_ray: Annotated[
        bool, typer.Option("--start-ray", help="Start a local Ray, and end it again.")
    ] = False,
    call: Annotated[
        bool, typer.Option("--call", help="Make one call of a few tokens, which may cost money.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check settings, endpoint, key, model, limits, disk, Ray and this machine before a run."""
    from rddg_ray.runtime.doctor import examine
    from rddg_ray.showing_ahead import diagnosis_json, show_diagnosis

    given = _endpoint(base_url, model, api_key_env, api_key_file, replay)
    diagnosis = examine(
        config, given, output=output, address=address, make_call=call, start_ray=start_ray
    )
    codes = {exit_code_of(error) for error in diagnosis.failures}
    code = next((code for code in _WORST_FIRST if code in codes), max(codes, default=EXIT_DONE))
    if as_json:
        typer.echo(diagnosis_json(diagnosis, code))
    else:
        show_diagnosis(diagnosis)
    raise typer.Exit(code)


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="Settings file (YAML).")],
    output: Annotated[
        Path | None, typer.Option(help="Run directory, instead of the file's.")
    ] = None,
    ray: RayOption = True,
    address: AddressOption = None,
) -> None:
    """Run tables x methods, evaluate and report. The same command goes on after a stop."""
    from rddg_ray.config import load_settings
    from rddg_ray.runtime.pipeline import run as run_pipeline
    from rddg_ray.showing import show_run

    settings = load_settings(config, {"output": str(output)} if output else None)
    with _stage(ray or address is not None, address) as (executor, progress, should_stop):
        result = run_pipeline(settings, executor, progress, should_stop)
    show_run(result)
    raise typer.Exit(_exit_code(result))


@app.command()
def evaluate(
    train: Annotated[Path, typer.Option(help="Real training rows, CSV or Parquet.")],
    test: Annotated[Path, typer.Option(help="Held-out real rows.")],
    target: TargetOption,
    synthetic: Annotated[
        list[str] | None,
        typer.Option(help="File of rows to add, or NAME=FILE; repeat for several tools."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for results.")] = Path(
        "runs/evaluate"
    ),
    protocol: Annotated[
        str, typer.Option(help="clean: encoders never see test rows; paper: as the authors.")
    ] = "clean",
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="original, class_weights, tuned_threshold, random_oversampling, smote, smotenc, "
            "borderline_smote, adasyn, gaussian_copula, copies_only, ctgan, tvae; repeat.",
        ),
    ] = None,
    classifiers: Annotated[
        list[str] | None,
        typer.Option("--classifier", help="xgboost, catboost, lightgbm, gradient_boosting."),
    ] = None,
    classifier_states: Annotated[
        int, typer.Option(min=1, help="Random states 0, 1, ... of each classifier.")
    ] = 5,
    max_synthetic_rows: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="First rows of each file to use. Default: all; 1000 by the paper's protocol.",
        ),
    ] = None,
    baseline_rows: Annotated[
        str,
        typer.Option(
            help="Rows that baselines add: balance, same (as many of each class as the first "
            "file), or a number for every class."
        ),
    ] = "balance",
    threshold_metric: Annotated[
        str, typer.Option(help="What tuned_threshold raises: f1 or balanced_accuracy.")
    ] = "f1",
    tuning: Annotated[
        str, typer.Option(help="none: the paper's classifier settings; search: a small search.")
    ] = "none",
    rare_class: RareOption = None,
    metadata: MetadataOption = None,
    missing: MissingOption = None,
) -> None:
    """Train classifiers with and without synthetic rows, made by any tool, and compare."""
    from rddg_ray.config import CLASSIFIERS
    from rddg_ray.evaluation.files import evaluate_files
    from rddg_ray.showing import show_evaluation

    found = evaluate_files(
        train, test, target, _named_files(synthetic or []),
        out=out, protocol=protocol, methods=tuple(methods or ("original",)),  # type: ignore[arg-type]  # checked there
        classifiers=tuple(classifiers or CLASSIFIERS),
        classifier_states=tuple(range(classifier_states)),
        max_synthetic_rows=max_synthetic_rows,
        baseline_rows=int(baseline_rows) if baseline_rows.isdecimal() else baseline_rows,  # type: ignore[arg-type]  # checked there
        threshold_metric=threshold_metric, tuning=tuning,  # type: ignore[arg-type]  # checked there
        rare_class=rare_class, metadata=metadata,
        missing_values=_tokens(missing),
    )  # fmt: skip
    show_evaluation(found)
    from rddg_ray.evaluation.report.of_files import write_evaluation_report

    typer.echo(f"Report: {write_evaluation_report(found, out)}")


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(help="Run directory.")],
) -> None:
    """Write the report page of a run again, from what is on disk."""
    from rddg_ray.runtime.reporting import rewrite_report

    typer.echo(f"Report: {rewrite_report(directory)}")


@app.command()
def compare(
    directories: Annotated[
        list[Path], typer.Argument(help="Run directories, or folders of rddg evaluate.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Markdown (.md) or CSV file to write.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Set runs side by side: utility, fidelity, privacy, cost and the settings that differ."""
    import json

    from rddg_ray.runtime.comparing import check_out, compare_directories, write_comparison
    from rddg_ray.showing_compared import show_comparison

    if out is not None:
        check_out(out)
    comparison = compare_directories(directories)
    if as_json:
        typer.echo(json.dumps(comparison.to_dict(), ensure_ascii=False))
    else:
        show_comparison(comparison)
    if out is not None:
        typer.echo(f"Comparison: {write_comparison(comparison, out)}", err=as_json)


@app.command()
def journal(
    directory: Annotated[Path, typer.Argument(help="Run directory.")],
    call: Annotated[
        str | None,
        typer.Option(help="One call in full: its key, or TABLE/CHAIN/ROUND/INDEX."),
    ] = None,
) -> None:
    """Look into a run's replies: counts, tokens, cost, latencies, dead letters."""
    from rddg_ray.config import settings_from
    from rddg_ray.llm.budget import Prices
    from rddg_ray.llm.journal import find_call, summarise
    from rddg_ray.runtime.store import RunDirectory
    from rddg_ray.showing import show_call, show_journal

    store = RunDirectory(directory)
    settings = settings_from(store.read_run()["settings"], source=str(directory))
    if call is not None:
        show_call(find_call(store.journal, call))
    else:
        show_journal(summarise(store.journal, Prices.from_settings(settings.endpoint.budget)))


@app.command()
def rules(
    directory: Annotated[Path, typer.Argument(help="Run directory.")],
    chain: Annotated[
        str | None,
        typer.Option(help="One chain, such as rddg_calibrated/g0/0, with the model's own words."),
    ] = None,
    dropped: Annotated[
        bool, typer.Option("--dropped", help="Only rules that rows are not held to.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """Show the rules of a run with what the real rows say of each, and those dropped."""
    from rddg_ray.runtime.rule_records import rules_of_run
    from rddg_ray.runtime.store import RunDirectory
    from rddg_ray.showing_rules import rules_json, show_rules

    found = rules_of_run(RunDirectory(directory), chain)
    if as_json:
        typer.echo(rules_json(found, dropped_only=dropped))
    else:
        show_rules(found, dropped_only=dropped, has_prose=chain is not None)


@app.command("retry-dead")
def retry_dead(
    directory: Annotated[Path, typer.Argument(help="Run directory.")],
    keys: Annotated[
        list[str] | None, typer.Option("--key", help="Key of a dead letter; repeat. Default: all.")
    ] = None,
) -> None:
    """Let the next start of a run ask calls again that failed for good or were held."""
    from rddg_ray.llm.journal import revive
    from rddg_ray.runtime.store import RunDirectory

    store = RunDirectory(directory)
    store.read_run()
    revived = revive(store.journal, keys or "all")
    typer.echo(f"{len(revived)} calls are asked again by the next start of {directory}")


@app.command()
def datasets() -> None:
    """List the data sets that settings files may name."""
    from rddg_ray.datasets import names
    from rddg_ray.showing import show_datasets

    show_datasets(names())


@app.command()
def endpoint(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8000,
    random_state: StateOption = 0,
    bias: Annotated[float, typer.Option(help="Shift of means, in standard deviations.")] = 0.1,
    dispersion: Annotated[float, typer.Option(help="Factor on spreads.")] = 1.0,
    gain: Annotated[float, typer.Option(help="Share of a named difference it corrects.")] = 0.7,
    malformed_share: Annotated[float, typer.Option(help="Rows written wrongly.")] = 0.02,
    copy_share: Annotated[float, typer.Option(help="Rows that repeat an example.")] = 0.02,
    latency_s: Annotated[float, typer.Option(help="Seconds before a reply.")] = 0.0,
    error_share: Annotated[float, typer.Option(help="Calls answered with an error.")] = 0.0,
) -> None:
    """Serve the embedded sampler over HTTP (statistical, not a language model)."""
    from rddg_ray.config import EmbeddedSettings, checked
    from rddg_ray.llm.embedded import serve

    flaws = {
        "random_state": random_state, "bias": bias, "dispersion": dispersion, "gain": gain,
        "malformed_share": malformed_share, "copy_share": copy_share, "latency_s": latency_s,
        "error_share": error_share,
    }  # fmt: skip
    serve(
        host,
        port,
        checked(EmbeddedSettings, flaws, "rddg endpoint"),
        on_start=lambda url: typer.echo(
            f"Serving the embedded sampler (not a language model) at {url} - Ctrl-C ends it"
        ),
    )


def _check_no_table_options(context: typer.Context) -> None:
    """Refuse options that would be ignored beside a settings file."""
    kept = ("table", "latency_s", "full")
    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in kept and source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise ConfigError(f"{option} is for a table file; write it into the settings file")


def _check_writable(path: Path) -> None:
    """Find out before anything is paid for whether the rows can be written in the end."""
    if path.suffix.lower() not in _FORMATS:
        raise ConfigError(f"--out {path}: expected a name that ends in {' or '.join(_FORMATS)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {path}: its folder cannot be made: {error}") from error
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"--out {path}: cannot be written; choose another file")


def _tokens(missing: list[str] | None) -> tuple[str, ...]:
    from rddg_ray.config import MISSING_TOKENS

    return MISSING_TOKENS if missing is None else tuple(missing)


def _wanted(
    rows: int | None, per_class: list[str] | None, strategy: str | None, rare_class: str
) -> dict[str, Any]:
    """Return the generation settings that say how many rows to add."""
    options = {"--rows": rows, "--per-class": per_class, "--strategy": strategy}
    given = [name for name, value in options.items() if value]
    if len(given) > 1:
        raise ConfigError(f"give one of {' and '.join(given)}, not both")
    if rows is not None:
        return {"rows_per_class": {rare_class: rows}}
    if per_class:
        counts = [_class_count(text) for text in per_class]
        labels = [label for label, _ in counts]
        if repeated := [label for label in labels if labels.count(label) > 1]:
            raise ConfigError(f"--per-class names class {repeated[0]!r} twice; give it once")
        return {"rows_per_class": dict(counts)}
    if strategy is None:
        return {}
    try:
        return {"sampling_strategy": float(strategy)}
    except ValueError:
        return {"sampling_strategy": strategy}


def _class_count(text: str) -> tuple[str, int]:
    label, mark, count = text.rpartition("=")
    if not mark or not count.isdigit():
        raise ConfigError(f"--per-class {text!r}: expected CLASS=ROWS, e.g. --per-class sick=100")
    return label, int(count)


def _named_files(texts: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for text in texts:
        name, mark, path = text.partition("=")
        # A path may hold "=": what exists as a file is a file.
        if not mark or Path(text).is_file():
            name, path = Path(text).stem, text
        if name in files:
            raise ConfigError(f"--synthetic: two files are named {name!r}; use NAME=FILE")
        files[name] = Path(path)
    return files


def _endpoint(
    base_url: str | None,
    model: str | None,
    api_key_env: str | None,
    api_key_file: Path | None,
    replay: Path | None,
    max_concurrency: int | None = None,
) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if max_concurrency is not None:
        content["max_concurrency"] = max_concurrency
    if replay is not None:
        content |= {"kind": "replay", "replay_path": replay}
    elif base_url is not None:
        content |= {"kind": "openai", "base_url": base_url}
    if model is not None:
        content["model"] = model
    if api_key_env is not None:
        content["api_key_env"] = api_key_env
    if api_key_file is not None:
        content["api_key_file"] = api_key_file
    return content


def _synthesis_settings(
    *,
    method: str,
    random_state: int,
    wanted: dict[str, Any],
    endpoint: dict[str, Any],
    generation: dict[str, Any],
) -> SynthesisSettings:
    from rddg_ray.config import SynthesisSettings, checked

    content = {
        "method": method,
        "random_state": random_state,
        "endpoint": endpoint,
        "generation": generation | wanted,
    }
    return checked(SynthesisSettings, content, "command line")


@contextmanager
def _executor(on_ray: bool, address: str | None) -> Iterator[Executor]:
    if not on_ray:
        from rddg_ray.runtime.local import LocalExecutor

        yield LocalExecutor()
        return
    from rddg_ray.runtime.cluster import ray_session

    with ray_session(address):
        from rddg_ray.runtime.actors import RayExecutor

        yield RayExecutor()


@contextmanager
def _progress() -> Iterator[Progress]:
    from rddg_ray.runtime.progress import JsonProgress

    # A dumb terminal cannot go back to what it wrote.
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}:
        from rddg_ray.runtime.panel import TerminalProgress

        with TerminalProgress() as panel:
            yield panel
    else:
        yield JsonProgress()


@contextmanager
def _stage(
    on_ray: bool, address: str | None
) -> Iterator[tuple[Executor, Progress, Callable[[], bool]]]:
    """Yield where work is done, whom to tell, and whether a signal asked for a stop."""
    from rddg_ray.runtime.progress import FlightCounter
    from rddg_ray.runtime.stopping import StopRequest

    with _executor(on_ray, address) as executor, _progress() as shown:
        progress = FlightCounter(shown)
        with StopRequest(lambda: drain(executor, progress)).handling() as stop:
            yield executor, progress, lambda: stop.is_made


def drain(executor: Executor, progress: FlightCounter) -> None:
    """Ask chains to stop, and say so where somebody still reads it."""
    executor.drain()
    with suppress(OSError, ValueError):  # stderr's reader may have left, or it may be closed
        progress.say_stopping()


def _exit_code(result: RunResult) -> int:
    return EXIT_SHORTFALL if result.shortfall else EXIT_DONE


def exit_code_of(error: RddgError) -> int:
    """Return the exit code that tells a scheduler who must act."""
    # What only some places know of, such as a stop or the loss of machines, brings its own.
    own = getattr(error, "exit_code", None)
    if isinstance(own, int):
        return own
    if isinstance(error, PermanentLLMError):
        from rddg_ray.llm.failures import OUTCOME_UNKNOWN, is_quota

        if error.code == OUTCOME_UNKNOWN:  # held: the same command goes on once it is revived
            return EXIT_RESUMABLE
        refused = error.status in _REFUSED or is_quota(error.status, error.code)
        return EXIT_CREDENTIALS if refused else EXIT_SETTINGS
    codes: tuple[tuple[type[RddgError], int], ...] = (
        (ConfigError, EXIT_SETTINGS),
        (DataError, EXIT_DATA),
        (TransientLLMError, EXIT_RESUMABLE),
        (BudgetError, EXIT_RESUMABLE),
        (StoreError, EXIT_STORE),
    )
    return next((code for kind, code in codes if isinstance(error, kind)), 1)


def _stop(*_: object) -> None:
    from rddg_ray.runtime.stopping import StopNow

    raise StopNow(EXIT_RESUMABLE)


def _words(error: RddgError) -> str:
    if lines := getattr(error, "__notes__", ()):
        return "\nrddg: ".join(lines)
    if not isinstance(error, (LLMError, BudgetError)):
        return str(error)
    from rddg_ray.llm.explaining import explain_failure

    return explain_failure(error)


def _say_stopped(error: BaseException) -> None:
    from rddg_ray.runtime.stopping import StopNow, StoppedError

    # Typer turns an interrupt into its exit code without a word.
    interrupted = isinstance(error, SystemExit) and error.code == EXIT_INTERRUPTED
    if interrupted or isinstance(error, (StopNow, StoppedError)):
        _say("stopped; the same command goes on from here")


def _say(text: str) -> None:
    # Where nobody reads it any more, the exit code still tells.
    with suppress(OSError):
        typer.echo(f"rddg: {text}", err=True)


def main() -> None:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        app()
    except RddgError as error:
        _say(_words(error))
        _say_stopped(error)
        sys.exit(exit_code_of(error))
    except SystemExit as error:
        _say_stopped(error)
        raise
    except BrokenPipeError:
        # The reader of our output has left; writing it elsewhere keeps Python from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
