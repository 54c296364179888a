"""Time of whole chains at an endpoint, against the shortest there can be.

    python benchmarks/makespan.py [--case 64x12 half double] [--rounds 12] [--ray] [--told]

An embedded endpoint runs in a process of its own and answers each call 1.0 s after it came; one
chain of three calls has had it load what it needs before, as a server that is up has. The chains
are those of a run of method `rddg` on the catalog's table `real_estate`, one for each generator
state: relations, rules, then generation with feedback, with the prompts, the parser, the journal
(synchronous commits) and the whole endpoint stack at their default settings. Only their length is
set: 12 rounds of one call each, since no target is met before. They run in this process, as
`rddg run` does without a cluster, or with `--ray` through the actors of a local Ray.

- 64x12: 64 chains, and the endpoint enforces no limit.
- half, double: the endpoint enforces 3,000 requests a minute (a bucket that holds a minute's
  worth), which 50 chains saturate: 25 and 100 chains.

The run is not told that limit, it learns it from the endpoint's headers; with `--told` it is told.

Measured: from the moment the first attempt goes out to the moment the last reply is on record,
both as the journal has them. `whole` is the time of `Executor.run_chains`, with the preparation
of the chains before the first call, or with the start of actors, and what comes after the last
reply. Ideal: `rddg_ray.runtime.ideal_time`, for C chains of S calls of L seconds at r calls a
second the larger of (C S - 1) / r + L and S L. Efficiency is ideal over measured.

`cpu` is the CPU time of this process (not shown with `--ray`) and `server` that of the endpoint,
each in seconds: where the two together come near the machine's cores times the measured time,
the machine is what was measured. `load` is the number of processes that wanted a core, over the
minute before.

The last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rddg_ray.config import EmbeddedSettings, RunSettings, settings_from
from rddg_ray.llm.embedded import MODEL, EmbeddedServer
from rddg_ray.llm.journal import find_call, summarise
from rddg_ray.runtime.chains import ChainWork, list_chains
from rddg_ray.runtime.executor import Executor
from rddg_ray.runtime.ideal_time import ideal_time_s
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.store import RunDirectory
from rddg_ray.runtime.tables import prepare

LATENCY_S = 1.0
REQUESTS_PER_MINUTE = 3_000
MORE_THAN_ANY_CHAIN_MAKES = 100_000
CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Case:
    """Chains and the limit that the endpoint enforces."""

    n_chains: int
    requests_per_minute: int | None = None


CASES = {
    "64x12": Case(64),
    "half": Case(25, REQUESTS_PER_MINUTE),
    "double": Case(100, REQUESTS_PER_MINUTE),
}


@dataclass(frozen=True)
class Figures:
    """Seconds, and what the endpoint counted."""

    measured_s: float
    whole_s: float
    cpu_s: float
    server_cpu_s: float
    n_refused: int


def serve_until_told(settings: EmbeddedSettings, pipe: Any) -> None:
    """Run an endpoint; send its address, and once asked its CPU seconds and its refusals."""

    async def main() -> None:
        server = EmbeddedServer(settings)
        await server.start()
        started_s = time.process_time()
        pipe.send(server.base_url)
        await asyncio.to_thread(pipe.recv)
        pipe.send((time.process_time() - started_s, server.n_refused))
        await server.stop()

    asyncio.run(main())


@contextlib.contextmanager
def endpoint(case: Case) -> Iterator[tuple[str, Any]]:
    """Run the endpoint of a case in a process of its own; yield its address and its pipe."""
    ours, theirs = CONTEXT.Pipe()
    settings = EmbeddedSettings(latency_s=LATENCY_S, requests_per_minute=case.requests_per_minute)
    process = CONTEXT.Process(target=serve_until_told, args=(settings, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv(), ours
    finally:
        process.kill()
        process.join()


def settings_of(case: Case, n_rounds: int, base_url: str, folder: Path, told: bool) -> RunSettings:
    """Return a run of that many chains and rounds, all else at its default."""
    limits = {"requests_per_minute": case.requests_per_minute} if told else {}
    return settings_from(
        {
            "name": "makespan",
            "output": str(folder / "run"),
            "tables": [{"dataset": "real_estate"}],
            "methods": ["rddg"],
            "generator_states": list(range(case.n_chains)),
            "generation": {
                "rows_per_class": MORE_THAN_ANY_CHAIN_MAKES,
                "max_rounds": n_rounds - 2,  # relations and rules are a round each
            },
            # As a user has a model server of their own: it is not said to be the embedded one.
            "endpoint": {"kind": "openai", "base_url": base_url, "model": MODEL, "limits": limits},
        }
    )


def span_s(work: ChainWork, n_rounds: int) -> float:
    """Return the seconds from the first attempt to the last reply on record."""
    first = [find_call(work.journal, f"{s.dataset}/{s.name}/0/0") for s in work.specs]
    last = [find_call(work.journal, f"{s.dataset}/{s.name}/{n_rounds - 1}/0") for s in work.specs]
    start_s = min(attempt.unix_s for record in first for attempt in record.attempts)
    return max(record.replied_unix_s or 0.0 for record in last) - start_s


def warm_up(base_url: str) -> None:
    """Have one chain make three calls, so that the endpoint is one that is up and has answered."""
    case = Case(n_chains=1, requests_per_minute=None)
    with (
        tempfile.TemporaryDirectory() as name,
        contextlib.closing(RunDirectory(Path(name) / "run")) as store,
    ):
        settings = settings_of(case, 3, base_url, Path(name), told=False)
        tables = {entry.label: prepare(entry).train for entry in settings.tables}
        store.open(settings, tables)
        work = ChainWork(
            list_chains(settings, tables), tables, {}, settings, store.journal, store.epoch
        )
        LocalExecutor().run_chains(work, lambda *progress: None)


def measure(case: Case, n_rounds: int, executor: Executor, told: bool) -> Figures:
    """Run the chains of a case once.

    Raises:
        RuntimeError: If a chain did not make all its calls.
    """
    with (
        endpoint(case) as (base_url, pipe),
        tempfile.TemporaryDirectory() as name,
        contextlib.closing(RunDirectory(Path(name) / "run")) as store,
    ):
        warm_up(base_url)
        settings = settings_of(case, n_rounds, base_url, Path(name), told)
        tables = {entry.label: prepare(entry).train for entry in settings.tables}
        store.open(settings, tables)
        work = ChainWork(
            list_chains(settings, tables), tables, {}, settings, store.journal, store.epoch
        )
        cpu_s, wall_s = time.process_time(), time.monotonic()
        _, failures = executor.run_chains(work, lambda *progress: None)
        cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
        pipe.send(None)
        server_cpu_s, n_refused = pipe.recv()
        n_calls = summarise(work.journal).n_calls
        if failures or n_calls != case.n_chains * n_rounds:
            raise RuntimeError(f"{n_calls} calls are on record; failures: {failures}")
        return Figures(span_s(work, n_rounds), wall_s, cpu_s, server_cpu_s, n_refused)


@contextlib.contextmanager
def executors(on_ray: bool) -> Iterator[Executor]:
    """Yield where chains run: this process, or a local Ray."""
    if not on_ray:
        yield LocalExecutor()
        return
    from rddg_ray.runtime.actors import RayExecutor
    from rddg_ray.runtime.cluster import ray_session

    with ray_session():
        yield RayExecutor()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=12, help="calls of each chain, at least 3")
    parser.add_argument("--ray", action="store_true", help="run through the actors of a local Ray")
    parser.add_argument("--told", action="store_true", help="tell the run the endpoint's limit")
    options = parser.parse_args()
    print(
        f"{'case':<8}{'chains':>7}{'rounds':>7}{'ideal s':>9}{'measured':>9}{'efficiency':>11}"
        f"{'refused':>8}{'whole':>8}{'cpu':>7}{'server':>7}{'load':>6}"
    )
    results: dict[str, float] = {}
    with executors(options.ray) as executor:
        for name in options.case:
            case, load = CASES[name], os.getloadavg()[0]
            found = measure(case, options.rounds, executor, options.told)
            per_s = None if case.requests_per_minute is None else case.requests_per_minute / 60
            ideal_s = ideal_time_s(case.n_chains, options.rounds, LATENCY_S, per_s)
            results[name] = round(ideal_s / found.measured_s, 4)
            cpu = "-" if options.ray else f"{found.cpu_s:.1f}"
            print(
                f"{name:<8}{case.n_chains:>7}{options.rounds:>7}{ideal_s:>9.2f}"
                f"{found.measured_s:>9.2f}{results[name]:>11.4f}{found.n_refused:>8}"
                f"{found.whole_s:>8.2f}{cpu:>7}{found.server_cpu_s:>7.1f}{load:>6.1f}",
                flush=True,
            )
    print(json.dumps({"efficiency": results}))


if __name__ == "__main__":
    main()
