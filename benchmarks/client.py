"""CPU time per call of the whole endpoint stack, in the process that makes the calls.

    python benchmarks/client.py [--calls 1500] [--latency 0.75] [--folder DIR] [--bare]

An embedded endpoint runs in a process of its own and answers a small prompt after the latency
given. This process asks it through the whole stack that a run uses (`rddg_ray.llm.stacked`):
journal with marks of what is in flight and group commits, retry, circuit breaker, budget with a
cap on money, limiter, openai client on aiohttp. So many calls are in flight at once as the
first column says; each is a call of its own with a key of its own.

CPU time is `time.process_time`: user and system time of all threads of this process, the
journal's included, over the calls answered. A first round of calls, uncounted, opens the
connections. With `--bare` each line is measured without the stack too: the client's own share.

The endpoint shares the machine's cores with this process, so calls a second say little; they
are shown because CPU time per call falls as calls come in larger groups.

The last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rddg_ray.config import BudgetSettings, EndpointSettings
from rddg_ray.exchange import CallId, Endpoint, Prompt
from rddg_ray.llm import Journal, LocalLedger, OpenAIEndpoint, stacked
from rddg_ray.llm.embedded import MODEL
from rddg_ray.llm.journal import spent, summarise

IN_FLIGHT = (50, 500, 1000)
SERVER = """
import sys
from rddg_ray.config import EmbeddedSettings
from rddg_ray.llm.embedded import serve
settings = EmbeddedSettings(latency_s=float(sys.argv[1]))
serve("127.0.0.1", 0, settings, on_start=lambda url: print(url, flush=True))
"""
BUDGET = BudgetSettings(
    max_cost_usd=1_000.0,
    prompt_usd_per_million=0.15,
    cached_usd_per_million=0.075,
    completion_usd_per_million=0.6,
)


@contextlib.contextmanager
def embedded_endpoint(latency_s: float) -> Iterator[str]:
    """Run the endpoint in another process; yield its base URL."""
    command = [sys.executable, "-c", SERVER, str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the endpoint's output is not readable")
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def ask(endpoint: Endpoint, calls: Iterator[int], n_calls: int, n_at_once: int) -> None:
    """Make `n_calls` calls, `n_at_once` at a time."""
    numbers = itertools.islice(calls, n_calls)

    async def worker() -> None:
        for number in numbers:
            prompt = Prompt("Be brief.", f"Say something small about {number}.", "relations")
            call = CallId("table", f"chain{number % n_at_once}", number // n_at_once, 0)
            await endpoint.complete(prompt, call)

    await asyncio.gather(*(worker() for _ in range(n_at_once)))


async def measure(endpoint: Endpoint, n_calls: int, n_at_once: int) -> tuple[float, float]:
    """Return CPU milliseconds per call, and calls a second."""
    calls = itertools.count()
    await ask(endpoint, calls, n_at_once, n_at_once)
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    await ask(endpoint, calls, n_calls, n_at_once)
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    await endpoint.aclose()
    return 1e3 * cpu_s / n_calls, n_calls / wall_s


def whole_stack(base_url: str, folder: Path, n_at_once: int) -> Endpoint:
    """Return the stack of a run with a journal in the folder."""
    settings = EndpointSettings(base_url=base_url, max_concurrency=n_at_once, budget=BUDGET)
    client = OpenAIEndpoint(base_url, settings.model or MODEL, timeout_s=settings.timeout_s)
    journal = Journal(folder, "benchmark", "fingerprint")
    return stacked(client, settings, journal, LocalLedger(BUDGET, spent(folder)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=1500, help="calls for each line")
    parser.add_argument("--latency", type=float, default=0.75, help="seconds before a reply")
    parser.add_argument("--folder", type=Path, default=None, help="where journals go: a real disk")
    parser.add_argument("--bare", action="store_true", help="measure the client alone as well")
    options = parser.parse_args()
    results: dict[str, float] = {}
    print(f"{'in flight':>9}  {'CPU ms/call':>11}  {'calls/s':>7}")
    with (
        embedded_endpoint(options.latency) as base_url,
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
    ):
        for n in IN_FLIGHT:
            # Two waves of calls at least, and no longer than needed where few are in flight.
            n_calls = max(2 * n, min(options.calls, 20 * n))
            own = Path(folder) / str(n)
            ms, rate = asyncio.run(measure(whole_stack(base_url, own, n), n_calls, n))
            if (found := summarise(own).n_calls) != n_calls + n:
                raise RuntimeError(f"{n_calls + n} calls were made, {found} are on record")
            results[str(n)] = round(ms, 3)
            print(f"{n:9}  {ms:11.3f}  {rate:7.0f}", flush=True)
            if options.bare:
                client = OpenAIEndpoint(base_url, "embedded-sampler")
                ms, rate = asyncio.run(measure(client, n_calls, n))
                print(f"{'bare':>9}  {ms:11.3f}  {rate:7.0f}", flush=True)
    print(json.dumps({"cpu_ms_per_call": results}))


if __name__ == "__main__":
    main()
