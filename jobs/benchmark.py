"""The paper's tables: a sweep over data sets x methods x random states.

    python jobs/benchmark.py jobs/configs/paper.yaml --data DIR
    ray job submit --working-dir . -- python jobs/benchmark.py jobs/configs/paper.yaml

A second start goes on: finished runs, fits and replies are kept. `<output>/tables` holds each table
as CSV and Markdown, the paper's own figures beside ours.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rddg_ray.cli import EXIT_INTERRUPTED, EXIT_RESUMABLE, exit_code_of
from rddg_ray.errors import ConfigError, RddgError

if TYPE_CHECKING:
    from rddg_ray.runtime.executor import Executor

# Ray sets this in the driver of a submitted job.
_JOB_ADDRESS = "RAY_ADDRESS"
_RESUMABLE = (EXIT_RESUMABLE, EXIT_INTERRUPTED)


def benchmark(  # noqa: PLR0917 - each is an option of the command line
    config: Annotated[Path, typer.Argument(help="Settings of the sweep (YAML).")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for runs and tables, instead of the file's.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with a folder of files for each real data set.")
    ] = None,
    random_states: Annotated[
        int | None,
        typer.Option(min=1, help="Random states 0, 1, ... of methods and classifiers alike."),
    ] = None,
    datasets: Annotated[
        str | None, typer.Option(help="Some of the file's data sets, by commas.")
    ] = None,
    tables: Annotated[
        str | None, typer.Option(help="Some of the tables 1, 2, 5, 6, 7, 8, by commas.")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Methods of tables 1 and 2, by commas.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Synthetic rows of each run, over all classes.")
    ] = None,
    only_plan: Annotated[bool, typer.Option("--plan", help="List the runs and end.")] = False,
    ray: Annotated[bool, typer.Option("--ray/--no-ray", help="On Ray, or here.")] = True,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster, or auto.")] = None,
) -> None:
    """Fill the paper's tables with what can be reached, and go on where it was stopped."""
    from rddg_ray.runtime.sweep_plan import plan
    from rddg_ray.runtime.sweep_settings import load_sweep, with_datasets

    given: dict[str, Any] = {
        "output": output,
        "data": data,
        "random_states": None if random_states is None else tuple(range(random_states)),
        "tables": None if tables is None else _numbers(tables),
        "methods": None if methods is None else _names(methods),
        "synthetic_rows": rows,
    }
    settings = load_sweep(config, {key: v for key, v in given.items() if v is not None})
    if datasets is not None:
        settings = with_datasets(settings, _names(datasets))
    if only_plan:
        for unit in plan(settings):
            numbers = ", ".join(str(n) for n in sorted({place.table for place in unit.places}))
            typer.echo(f"{unit.name}: tables {numbers}: {', '.join(unit.methods)}")
        return
    if address is None and ray and _JOB_ADDRESS in os.environ:
        address = "auto"
    _run(settings, ray or address is not None, address)


def _run(settings: Any, on_ray: bool, address: str | None) -> None:
    from rddg_ray.runtime.progress import JsonProgress
    from rddg_ray.runtime.stopping import StopRequest
    from rddg_ray.runtime.sweep import run_sweep

    running: list[Executor] = []

    def drain() -> None:
        for executor in running[-1:]:
            executor.drain()

    with _executors(on_ray, address) as new, StopRequest(drain).handling() as stop:

        def executor() -> Executor:
            running.append(new())
            if stop.is_made:
                running[-1].drain()
            return running[-1]

        result = run_sweep(settings, executor, JsonProgress(), lambda: stop.is_made)
    for line in result.lines:
        typer.echo(line)
    typer.echo(f"{result.n_run} runs done, {result.n_kept} kept; tables in {result.folder}")


@contextmanager
def _executors(on_ray: bool, address: str | None) -> Iterator[Callable[[], Executor]]:
    if not on_ray:
        from rddg_ray.runtime.local import LocalExecutor

        yield LocalExecutor
        return
    from rddg_ray.runtime.cluster import ray_session

    with ray_session(address):
        from rddg_ray.runtime.actors import RayExecutor

        yield RayExecutor


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _numbers(text: str) -> tuple[int, ...]:
    if wrong := [part for part in _names(text) if not part.isdecimal()]:
        raise ConfigError(f"--tables: {wrong[0]!r} is no number")
    return tuple(int(part) for part in _names(text))


def _stop(*_: object) -> None:
    from rddg_ray.runtime.stopping import StopNow

    raise StopNow(EXIT_RESUMABLE)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    try:
        typer.run(benchmark)
    except RddgError as error:
        # A run says in notes what failed and what it kept.
        words = getattr(error, "__notes__", None) or [str(error)]
        typer.echo("benchmark: " + "\nbenchmark: ".join(words), err=True)
        if exit_code_of(error) in _RESUMABLE:
            typer.echo("benchmark: the same command goes on from here", err=True)
        sys.exit(exit_code_of(error))
