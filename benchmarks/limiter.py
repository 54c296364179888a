"""Share of enforced limits that the limiter uses, and calls refused, over 8 processes.

    python benchmarks/limiter.py [--seconds 75] [--plain-seconds 60] [--policy minute_bucket ...]

An embedded endpoint enforces 1,500 requests a minute, 375,000 tokens a minute (about as many
calls), or both (1,500 and 300,000), by each of four policies: a bucket that holds a minute's
worth, one that holds a second's, a sliding window of 60 s, a fixed window of 60 s. Replies take
1 s. 8 processes of 50 chains call each of them without a pause between calls; the four policies
of one kind of limit run at once, each with chains, clients and a pacer of its own. Prompts have
50 to 350 tokens; replies are capped at 30 to 90 tokens, or loosely at 500, and have at most 60.

- limiter: `LimitedEndpoint` in each process; the state of pacing is a `LocalPacer` in the main
  process, asked over a Unix socket. It is told no limit: they come from the endpoint's headers.
  It is told whether tokens are charged as used (the default here) or as reserved (`--accounting`);
  with `--learn` it finds that out as well, where it can: a bucket that stays full tells nothing,
  so the caps are reserved there, which costs half of the share with these caps.
- plain: the openai client's own retries (its default of 2, obeying `Retry-After`); a chain whose
  call fails for good calls again at once. Where 45 s pass without a refusal, because this machine
  is too slow to reach the limit, it is measured from then.

Share: what the endpoint let through in the measured time (tokens as it counted them) over what
the limit gives in that time; with both limits, of the one used more. It is measured from 4 s
after the start; for plain from its first refusal on, when what a full bucket or an empty window
gave away at the start is used up. Refused: refusals over requests of the whole run from the
first call on, for plain from its first refusal on. Windows are 60 s, so a shorter measured time
says little about plain on windows and nothing about the limiter on them.

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
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rddg_ray.config import EmbeddedSettings, LimitSettings
from rddg_ray.exchange import CallId, Prompt, RateHeaders
from rddg_ray.llm.client import open_client
from rddg_ray.llm.embedded import MODEL, EmbeddedServer
from rddg_ray.llm.endpoint import OpenAIEndpoint
from rddg_ray.llm.limiter import LimitedEndpoint, LocalPacer, PacerSnapshot

POLICIES = ("minute_bucket", "second_bucket", "sliding_window", "fixed_window")
LIMITS: dict[str, dict[str, int]] = {
    "requests": {"requests_per_minute": 1_500},
    "tokens": {"tokens_per_minute": 375_000},
    "both": {"requests_per_minute": 1_500, "tokens_per_minute": 300_000},
}
N_PROCESSES = 8
N_CHAINS = 50
LATENCY_S = 1.0
WARM_UP_S = 4.0
MAX_WAIT_FOR_REFUSAL_S = 45.0
MAX_WAIT_FOR_CALL_S = 60.0

Accounting = Literal["reserve", "actual", "auto"]
CONTEXT = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Counts:
    """What an endpoint let through and refused until a moment."""

    at_s: float
    n_accepted: int
    n_refused: int
    n_tokens: int


@dataclass(frozen=True)
class Figures:
    """Shares of 1."""

    share: float
    refused: float
    n_calls: int


# The pacer in the main process, and what the other processes hold of it.


class PacerServer:
    """A new pacer that knows no limit, at a Unix socket."""

    def __init__(self, path: str, accounting: Accounting) -> None:
        self._path = path
        self._pacer = LocalPacer(LimitSettings(tpm_accounting=accounting))
        self._handlers: set[asyncio.Task[None] | None] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._handle, self._path)

    async def stop(self) -> None:
        """Stop listening, and wait until the processes that are gone are noticed."""
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*(handler for handler in self._handlers if handler))

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._handlers.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError):  # a process that is killed hangs up
            async for line in reader:
                answer = await self._answer(*json.loads(line))
                if answer is not None:
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()
        writer.close()

    async def _answer(self, name: str, *arguments: Any) -> object:
        if name == "reserve":
            delays = await self._pacer.reserve(arguments[0])
            return delays, asdict(self._pacer.snapshot())
        if name == "settle":
            await self._pacer.settle(arguments[0], arguments[1], rates(arguments[2]))
        else:
            await self._pacer.refused(arguments[0], rates(arguments[1]), arguments[2])
        return None


def rates(fields: dict[str, Any] | None) -> RateHeaders | None:
    """Return headers from plain values."""
    return None if fields is None else RateHeaders(**fields)


class RemotePacer:
    """A pacer in another process; only reservations are answered, with a snapshot."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._snapshot = PacerSnapshot(0, 0, None, None, 0, None, "reserve", 0, 0)

    async def reserve(self, estimates: Sequence[int]) -> list[float]:
        """Ask for turns. `LimitedEndpoint` asks one at a time, so answers need no number."""
        self._send("reserve", list(estimates))
        delays: list[float]
        delays, snapshot = json.loads(await self._reader.readline())
        self._snapshot = PacerSnapshot(**snapshot)
        return delays

    async def settle(self, estimate: int, used: int, limits: RateHeaders | None) -> None:
        """Report an end."""
        self._send("settle", estimate, used, None if limits is None else asdict(limits))

    async def refused(
        self, retry_after_s: float | None, limits: RateHeaders | None, estimate: int
    ) -> None:
        """Report a refusal."""
        self._send("refused", retry_after_s, None if limits is None else asdict(limits), estimate)

    def snapshot(self) -> PacerSnapshot:
        """Return what was known at the last reservation."""
        return self._snapshot

    def _send(self, *message: object) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")


# The processes of the endpoint and of the chains.


def serve_endpoints(settings: list[EmbeddedSettings], addresses: Any) -> None:
    """Run one embedded endpoint for each of the settings, in one process."""

    async def main() -> None:
        servers = [EmbeddedServer(one) for one in settings]
        for server in servers:
            await server.start()
        addresses.send([server.base_url for server in servers])
        await asyncio.Event().wait()

    asyncio.run(main())


def prompts(random_state: list[int]) -> Iterator[Prompt]:
    """Return prompts without end, of different lengths and caps."""
    rng = np.random.default_rng(random_state)
    while True:
        n_tokens = int(rng.integers(50, 351))
        cap = int(rng.integers(30, 91)) if rng.random() < 0.5 else 500
        yield Prompt("", "word" * n_tokens, "relations", max_completion_tokens=cap)


def run_limited(
    process: int, addresses: list[str], sockets: list[str], accounting: Accounting
) -> None:
    """Run this process's chains behind the limiter."""

    async def chain(endpoint: LimitedEndpoint, number: int) -> None:
        for i, prompt in enumerate(prompts([process, number])):
            await endpoint.complete(prompt, CallId("table", f"{process}/{number}", i, 0))

    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            tasks = []
            for address, path in zip(addresses, sockets, strict=True):
                pacer = RemotePacer(*await asyncio.open_unix_connection(path))
                client = OpenAIEndpoint(address, MODEL)
                endpoint = LimitedEndpoint(client, pacer, tpm_accounting=accounting)
                await stack.enter_async_context(contextlib.aclosing(endpoint))
                tasks += [chain(endpoint, number) for number in range(N_CHAINS)]
            await asyncio.gather(*tasks)

    asyncio.run(main())


def run_plain(
    process: int, addresses: list[str], sockets: list[str], accounting: Accounting
) -> None:
    """Run this process's chains behind the openai client's own retries."""
    import openai

    async def chain(client: openai.AsyncOpenAI, number: int) -> None:
        for prompt in prompts([process, number]):
            with contextlib.suppress(openai.RateLimitError, openai.APITimeoutError):
                await client.chat.completions.create(
                    model=MODEL,
                    messages=[{"role": "user", "content": prompt.user}],
                    max_completion_tokens=prompt.max_completion_tokens,
                )

    async def main() -> None:
        clients = [
            open_client(address, "none", 60.0).with_options(max_retries=openai.DEFAULT_MAX_RETRIES)
            for address in addresses
        ]
        await asyncio.gather(
            *(chain(client, number) for client in clients for number in range(N_CHAINS))
        )

    asyncio.run(main())


# Measuring.


def counts(base_url: str) -> Counts:
    """Return what an endpoint has counted."""
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/stats", timeout=30) as response:
        stats = json.loads(response.read())
    return Counts(time.monotonic(), stats["n_accepted"], stats["n_refused"], stats["n_tokens"])


async def all_counts(addresses: list[str]) -> list[Counts]:
    """Return what all endpoints have counted."""
    return await asyncio.gather(*(asyncio.to_thread(counts, address) for address in addresses))


def figures(limits: dict[str, int], start: Counts, end: Counts, since: Counts) -> Figures:
    """Return the share used from `start` to `end` and the share refused from `since` on."""
    minutes = (end.at_s - start.at_s) / 60
    used = {
        "requests_per_minute": end.n_accepted - start.n_accepted,
        "tokens_per_minute": end.n_tokens - start.n_tokens,
    }
    share = max(used[name] / (limit * minutes) for name, limit in limits.items())
    n_refused = end.n_refused - since.n_refused
    n_calls = end.n_accepted - since.n_accepted + n_refused
    return Figures(share, n_refused / max(1, n_calls), n_calls)


@contextlib.asynccontextmanager
async def running(
    settings: list[EmbeddedSettings], target: Any, accounting: Accounting
) -> AsyncIterator[list[str]]:
    """Run endpoints, pacers and chains; yield the endpoints' addresses."""
    receiving, sending = CONTEXT.Pipe(duplex=False)
    processes: list[BaseProcess] = [
        CONTEXT.Process(target=serve_endpoints, args=(settings, sending), daemon=True)
    ]
    processes[0].start()
    addresses: list[str] = await asyncio.to_thread(receiving.recv)
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / str(i)) for i in range(len(settings))]
        servers = [PacerServer(path, accounting) for path in paths]
        for server in servers:
            await server.start()
        for i in range(N_PROCESSES):
            chains = CONTEXT.Process(
                target=target, args=(i, addresses, paths, accounting), daemon=True
            )
            chains.start()
            processes.append(chains)
        try:
            yield addresses
        finally:
            for process in reversed(processes):  # the endpoints outlive their callers
                process.kill()
                process.join()
            for server in servers:
                await server.stop()


async def until(addresses: list[str], field: str, timeout_s: float) -> list[Counts]:
    """Return the counts of each endpoint when it first had one, or at the end of the time."""
    end_s = time.monotonic() + timeout_s
    found: dict[str, Counts] = {}
    while len(found) < len(addresses):
        await asyncio.sleep(0.2)
        late = time.monotonic() > end_s
        for address, count in zip(addresses, await all_counts(addresses), strict=True):
            if address not in found and (late or getattr(count, field) > 0):
                found[address] = count
    return [found[address] for address in addresses]


async def measure(kind: str, options: argparse.Namespace, plain: bool) -> list[Figures]:
    """Measure all policies with one kind of limit, at once."""
    limits: Any = LIMITS[kind]
    settings = [
        EmbeddedSettings(
            policy=policy, token_accounting=options.accounting, latency_s=LATENCY_S, **limits
        )
        for policy in options.policy
    ]
    target = run_plain if plain else run_limited
    seconds = options.plain_seconds if plain else options.seconds
    accounting: Accounting = "auto" if options.learn else options.accounting
    async with running(settings, target, accounting) as addresses:
        field = "n_refused" if plain else "n_accepted"
        timeout_s = MAX_WAIT_FOR_REFUSAL_S if plain else MAX_WAIT_FOR_CALL_S
        since = await until(addresses, field, timeout_s)
        await asyncio.sleep(WARM_UP_S)
        starts = await all_counts(addresses)
        await asyncio.sleep(seconds)
        ends = await all_counts(addresses)
    nothing = Counts(0.0, 0, 0, 0)
    return [
        figures(limits, start, end, first if plain else nothing)
        for start, end, first in zip(starts, ends, since, strict=True)
    ]


async def compare(options: argparse.Namespace) -> dict[str, Figures]:
    """Print a line for each policy and kind of limit; return the limiter's figures."""
    print(
        f"{'policy/limit':<26}{'share':>8}{'refused':>9}{'calls':>8}   plain: share refused calls"
    )
    results = {}
    for kind in options.limit:
        limited = await measure(kind, options, plain=False)
        plain: list[Figures | None] = [None] * len(limited)
        if options.plain_seconds > 0:
            plain = [*await measure(kind, options, plain=True)]
        for policy, ours, theirs in zip(options.policy, limited, plain, strict=True):
            results[f"{policy}/{kind}"] = ours
            beside = (
                ""
                if theirs is None
                else f"{theirs.share:>15.4f}{theirs.refused:>8.4f}{theirs.n_calls:>6}"
            )
            name = f"{policy}/{kind}"
            print(
                f"{name:<26}{ours.share:>8.4f}{ours.refused:>9.5f}{ours.n_calls:>8}{beside}",
                flush=True,
            )
    return results


def main() -> None:
    """Print the table and, last, the limiter's figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=75.0, help="measured time")
    parser.add_argument(
        "--plain-seconds", type=float, default=60.0, help="the same for plain; 0 to leave it out"
    )
    parser.add_argument("--policy", nargs="+", choices=POLICIES, default=list(POLICIES))
    parser.add_argument("--limit", nargs="+", choices=LIMITS, default=list(LIMITS))
    parser.add_argument(
        "--accounting", choices=("actual", "reserve"), default="actual", help="the endpoint's"
    )
    parser.add_argument("--learn", action="store_true", help="do not tell the limiter which")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    CONTEXT.set_forkserver_preload(["openai", "aiohttp", "rddg_ray.llm.limiter", "__main__"])
    results = asyncio.run(compare(options))
    rounded = {
        name: {"share": round(result.share, 4), "refused": round(result.refused, 6)}
        for name, result in results.items()
    }
    print(json.dumps({"policies": rounded}))


if __name__ == "__main__":
    main()
