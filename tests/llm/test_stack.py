"""The wrappers together, against the embedded endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections import Counter

import pytest

from rddg_ray.config import BudgetSettings, EmbeddedSettings, EndpointSettings, LimitSettings
from rddg_ray.exchange import CallId, Completion, Prompt
from rddg_ray.llm import Journal, JournaledEndpoint, LocalLedger, OpenAIEndpoint, stacked
from rddg_ray.llm.embedded import MODEL, serve_in_thread
from rddg_ray.llm.journal import spent, summarise

BUDGET = BudgetSettings(
    max_cost_usd=10, prompt_usd_per_million=1, completion_usd_per_million=2, max_calls=1000
)
# Chains of rounds, until done; tells each reply on standard output.
RUN = """
import asyncio, sys
from pathlib import Path
from rddg_ray.config import EndpointSettings
from rddg_ray.exchange import CallId, Prompt
from rddg_ray.llm import Journal, LocalLedger, OpenAIEndpoint, stacked
from rddg_ray.llm.journal import spent

async def main(base_url, folder, writer, n_chains, n_rounds):
    folder = Path(folder)
    settings = EndpointSettings()
    client = OpenAIEndpoint(base_url, settings.model or MODEL, send_call_header=True)
    ledger = LocalLedger(settings.budget, spent(folder))
    endpoint = stacked(client, settings, Journal(folder, writer, "f"), ledger)
    async def chain(name):
        for number in range(int(n_rounds)):
            prompt = Prompt("", f"Say something about {name} {number}", "generation")
            await endpoint.complete(prompt, CallId("t", name, number, 0))
            print("told", flush=True)
    await asyncio.gather(*(chain(f"c{i}") for i in range(int(n_chains))))
    await endpoint.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


def run_chains(base_url, folder, settings, n_chains=6, n_rounds=4) -> list[Completion]:
    async def main():
        client = OpenAIEndpoint(base_url, settings.model or MODEL, send_call_header=True)
        ledger = LocalLedger(settings.budget, spent(folder))
        endpoint = stacked(client, settings, Journal(folder, "w", "f"), ledger)

        async def chain(name: str) -> list[Completion]:
            return [
                await endpoint.complete(
                    Prompt("", f"Say something about {name} {number}", "generation"),
                    CallId("t", name, number, 0),
                )
                for number in range(n_rounds)
            ]

        replies = await asyncio.gather(*(chain(f"c{i}") for i in range(n_chains)))
        await endpoint.aclose()
        return [reply for chain_ in replies for reply in chain_]

    return asyncio.run(main())


def test_errors_limits_and_a_budget_together_lose_and_repeat_nothing(tmp_path):
    embedded = EmbeddedSettings(error_share=0.2, latency_s=0.005)
    settings = EndpointSettings(
        budget=BUDGET, limits=LimitSettings(requests_per_minute=60_000), max_attempts=12
    )
    with serve_in_thread(embedded) as server:
        replies = run_chains(server.base_url, tmp_path, settings)
        statuses = server.statuses
    assert len(replies) == statuses[200] == 24
    summary = summarise(tmp_path)
    assert (summary.n_calls, summary.n_unknown, summary.possibly_paid_twice) == (24, 0, 0)
    # Every request is an attempt on record, the failed ones too.
    assert summary.n_attempts == sum(statuses.values()) > 24
    paid = LocalLedger(BUDGET, spent(tmp_path)).snapshot().spent
    tokens = sum(r.usage.prompt_tokens + r.usage.completion_tokens for r in replies)
    assert (paid.n_calls, paid.tokens) == (24, tokens)


@pytest.mark.slow
def test_a_killed_process_repeats_at_most_what_it_had_in_flight(tmp_path):
    n_chains, n_rounds = 8, 12
    with serve_in_thread(EmbeddedSettings(latency_s=0.03)) as server:
        for number, n_told in enumerate((10, 15, 25)):
            command = [sys.executable, "-c", RUN, server.base_url, str(tmp_path), f"e{number}"]
            command += [str(n_chains), str(n_rounds)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                for _ in range(n_told):
                    process.stdout.readline()
                process.kill()
        run_chains(server.base_url, tmp_path, EndpointSettings(), n_chains, n_rounds)
        seen = Counter(server.calls)
    summary = summarise(tmp_path)
    assert summary.n_calls == len(seen) == n_chains * n_rounds
    n_repeats = sum(seen.values()) - len(seen)
    assert n_repeats <= summary.possibly_paid_twice <= 3 * n_chains
    assert summary.n_unknown == 0


def test_the_journal_reads_as_what_the_endpoint_answered(tmp_path):
    with serve_in_thread() as server:
        first = run_chains(server.base_url, tmp_path, EndpointSettings(), 2, 2)
        again = run_chains(server.base_url, tmp_path, EndpointSettings(), 2, 2)
        assert server.n_requests == 4
    assert again == first


def test_nothing_stands_between_the_journal_and_who_asks(tmp_path, scripted_endpoint):
    # In a Caller no chain works on its reply, so none is to be held back for it there.
    ledger = LocalLedger(BUDGET)
    with contextlib.closing(Journal(tmp_path, "w", "f")) as journal:
        endpoint = stacked(scripted_endpoint([]), EndpointSettings(), journal, ledger)
    assert isinstance(endpoint, JournaledEndpoint)
