"""When chains fail, what all of them made is published, and the end says what failed and why."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.request
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

from rddg_ray.cli import exit_code_of
from rddg_ray.config import EmbeddedSettings
from rddg_ray.errors import PermanentLLMError, StoreError
from rddg_ray.exchange import CallId, Prompt
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.llm.journal import Journal, revive, summarise
from rddg_ray.runtime.executor import ChainFailure, LostChainError
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.pipeline import generate_rows
from rddg_ray.runtime.stopping import StoppedError
from rddg_ray.runtime.store import RunDirectory
from rddg_ray.runtime.tables import prepare

N_CHAINS = 4
EXECUTORS = ["here", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow])]


@contextmanager
def refusing(base_url, refusal_of):
    """Serve what `base_url` serves, but for the requests (counted from 1) that are refused.

    `refusal_of` returns (status, code, message) or None.
    """
    lock, counts = threading.Lock(), {"asked": 0, "refused": 0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                counts["asked"] += 1
                refusal = refusal_of(counts["asked"])
                counts["refused"] += refusal is not None
            if refusal is not None:
                status, code, message = refusal
                answer = json.dumps({"error": {"message": message, "code": code}}).encode()
            else:
                url = base_url + self.path.removeprefix("/v1")
                headers = {"Content-Type": "application/json"}
                with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as reply:
                    status, answer = reply.status, reply.read()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", counts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def generate(tmp_path, configure):
    """Return a function that generates rows for four chains of three rounds or more."""

    def run(base_url, executor, folder="run"):
        settings = configure(
            tmp_path / folder,
            methods=["epic", "rddg"],
            generation={"rows_per_class": {"ill": 40, "odd": 30}},
            endpoint={"base_url": base_url, "model": "embedded-sampler"},
        )
        tables = {"people": prepare(settings.tables[0]).train}
        return generate_rows(settings, tables, executor)

    return run


@pytest.fixture
def whole(generate):
    """Return the unbroken run's result, and how many requests it made."""
    with serve_in_thread(EmbeddedSettings()) as server:
        result = generate(server.base_url, LocalExecutor(), "whole")
        return result, server.n_requests


def make_executor(on, request):
    return LocalExecutor() if on == "here" else request.getfixturevalue("on_ray")()


@pytest.mark.parametrize("on", EXECUTORS)
def test_a_refused_prompt_ends_its_chain_and_no_other(  # noqa: PLR0917 - fixtures go by name
    tmp_path, generate, whole, published, on, request
):
    filtered = (400, "content_filter", "We do not like this.")
    with (
        serve_in_thread(EmbeddedSettings()) as server,
        refusing(server.base_url, lambda n: filtered if n == 6 else None) as (base_url, counts),
    ):
        with pytest.raises(PermanentLLMError) as caught:
            generate(base_url, make_executor(on, request))
        assert counts["refused"] == 1
        assert caught.value.code == "content_filter"
        failed, kept = caught.value.__notes__
        assert failed.startswith("1 of 4 chains failed (people/")
        assert "the endpoint refused a prompt (400)" in failed
        assert "We do not like this" in failed
        assert "rddg retry-dead DIR" in failed
        chains = RunDirectory(tmp_path / "run").manifest()["chains"]
        reasons = [chain["outcome"]["ended_because"] for chain in chains.values()]
        # A chain that was refused its first prompt has nothing to publish.
        assert reasons.count("target") == N_CHAINS - 1
        assert set(reasons) <= {"target", "failed"}
        made = sum(len(rows) for key, rows in published(tmp_path / "run").items() if "rows/" in key)
        assert f"{made} rows of" in kept

        revive(tmp_path / "run" / "journal", "all")
        generate(base_url, make_executor(on, request))
        result, n_requests = whole
        assert server.n_requests == n_requests
    for key, rows in published(tmp_path / "run").items():
        pd.testing.assert_frame_equal(rows, published(result.path)[key])


@pytest.mark.parametrize("on", EXECUTORS)
def test_a_key_refused_midway_stops_all_chains_and_keeps_their_rows(  # noqa: PLR0917 - fixtures go by name
    tmp_path, generate, whole, published, on, request
):
    result, n_requests = whole
    n_good = n_requests // 2
    refused = (401, "invalid_api_key", "Incorrect API key provided.")
    with serve_in_thread(EmbeddedSettings()) as server:
        with refusing(server.base_url, lambda n: refused if n > n_good else None) as (url, counts):
            with pytest.raises(PermanentLLMError) as caught:
                generate(url, make_executor(on, request))
            # No chain asks again once it knows.
            assert 1 <= counts["refused"] <= N_CHAINS
        assert caught.value.status == 401
        failed, kept = caught.value.__notes__
        assert "the endpoint refused the key (401)" in failed
        record = RunDirectory(tmp_path / "run").manifest()
        assert record["spending"]["n_calls"] == server.n_requests == n_good
        made = sum(len(rows) for key, rows in published(tmp_path / "run").items() if "rows/" in key)
        assert record["spending"]["n_accepted"] == made > 0
        assert f"{made} rows of" in kept
    with serve_in_thread(EmbeddedSettings()) as server:
        again = generate(server.base_url, make_executor(on, request))
        # Nothing that was answered is asked again.
        assert server.n_requests == n_requests - n_good
    assert again.shortfall == {}
    for key, rows in published(tmp_path / "run").items():
        pd.testing.assert_frame_equal(rows, published(result.path)[key])


class Mistaken(LocalExecutor):
    """An executor with a mistake in it: it loses the last chain."""

    def run_chains(self, work, on_progress):
        outcomes, failures = super().run_chains(work, on_progress)
        lost = outcomes.pop()
        return outcomes, [*failures, ChainFailure(lost.spec, ZeroDivisionError("division by zero"))]


def test_a_mistake_in_the_program_publishes_nothing(tmp_path, generate, server):
    with pytest.raises(ZeroDivisionError) as caught:
        generate(server.base_url, Mistaken())
    assert RunDirectory(tmp_path / "run").manifest() == {}
    [line] = caught.value.__notes__
    assert "an error of the program itself (ZeroDivisionError): division by zero" in line


def test_a_drained_executor_starts_no_round_and_asks_nothing(tmp_path, generate, server):
    executor, n_before = LocalExecutor(), server.n_requests
    executor.drain()
    with pytest.raises(StoppedError) as caught:
        generate(server.base_url, executor)
    assert server.n_requests == n_before
    assert caught.value.__notes__ == ["No rows are published yet"]


@pytest.mark.parametrize("on", EXECUTORS)
def test_a_drained_run_pays_for_no_call_that_waits_and_asks_it_once_when_it_goes_on(  # noqa: PLR0917 - fixtures go by name
    tmp_path, configure, whole, published, on, request
):
    def settings(base_url, **limits):
        return configure(
            tmp_path / "run",
            methods=["epic", "rddg"],
            generation={"rows_per_class": {"ill": 40, "odd": 30}},
            endpoint={"base_url": base_url, "model": "embedded-sampler", "limits": limits},
        )

    executor = make_executor(on, request)
    with serve_in_thread(EmbeddedSettings()) as server:

        def drain_after_the_first_call():
            while not server.n_requests:
                time.sleep(0.02)
            executor.drain()

        drainer = threading.Thread(target=drain_after_the_first_call)
        drainer.start()
        limited = settings(server.base_url, requests_per_minute=1)
        tables = {"people": prepare(limited.tables[0]).train}
        with pytest.raises(StoppedError, match="stopped"):
            generate_rows(limited, tables, executor)
        drainer.join()
        # Each of its four chains had a call that waited, for a minute and more.
        assert server.n_requests < N_CHAINS
        found = summarise(tmp_path / "run" / "journal")
        assert (found.n_attempts, found.n_unknown) == (server.n_requests, 0)

        generate_rows(settings(server.base_url), tables, LocalExecutor())
        result, n_requests = whole
        assert server.n_requests == n_requests
    for key, rows in published(tmp_path / "run").items():
        pd.testing.assert_frame_equal(rows, published(result.path)[key])


def test_lost_machines_are_told_as_such_and_end_with_the_code_to_run_again(tmp_path, generate):
    class Deserted(LocalExecutor):
        """An executor whose machines went with its last two chains."""

        def run_chains(self, work, on_progress):
            outcomes, _ = super().run_chains(work, on_progress)
            lost = [ChainFailure(o.spec, LostChainError("node 7 is gone")) for o in outcomes[2:]]
            return outcomes[:2], lost

    with serve_in_thread(EmbeddedSettings()) as server, pytest.raises(LostChainError) as caught:
        generate(server.base_url, Deserted())
    assert not isinstance(caught.value, StoreError)
    assert exit_code_of(caught.value) == 75
    line, kept = caught.value.__notes__
    assert line.startswith("the machines that ran 2 of 4 chains were lost (people/")
    assert "node 7 is gone" in line
    assert "run again to go on" in line
    # What was on record of the lost ones is published, too.
    assert "280 rows of 4 chains are published" in kept


@pytest.fixture
def holding(tmp_path, configure):
    """Return settings, by the server's address, of the same run that holds doubtful calls."""

    def make(base_url, **endpoint):
        held = {"possibly_paid_twice": "hold"}
        return configure(
            tmp_path / "run",
            methods=["epic", "rddg"],
            generation={"rows_per_class": {"ill": 40, "odd": 30}},
            endpoint={
                "base_url": base_url,
                "model": "embedded-sampler",
                "journal": held,
                **endpoint,
            },
        )

    return make


@pytest.mark.parametrize("on", EXECUTORS)
def test_a_call_that_may_be_paid_is_held_with_its_chain_alone_until_it_is_revived(  # noqa: PLR0917 - fixtures go by name
    tmp_path, holding, whole, published, on, request
):
    result, n_requests = whole
    gave_up = (504, "gateway_timeout", "upstream request timed out")
    journal = tmp_path / "run" / "journal"
    with (
        serve_in_thread(EmbeddedSettings()) as server,
        refusing(server.base_url, lambda n: gave_up if n == 6 else None) as (base_url, counts),
    ):
        settings = holding(base_url)
        tables = {"people": prepare(settings.tables[0]).train}
        # As the endpoint's gateway answers it, and as each later start finds it on record.
        for n_run in (N_CHAINS, 1):
            with pytest.raises(PermanentLLMError) as caught:
                generate_rows(settings, tables, make_executor(on, request))
            assert caught.value.code == "outcome_unknown"
            assert exit_code_of(caught.value) == 75
            failed, kept = caught.value.__notes__
            assert failed.startswith(f"1 of {n_run} chain")
            assert "may have been paid for and is held" in failed
            assert failed.count("rddg retry-dead") == 1
            assert counts["refused"] == 1
            chains = RunDirectory(tmp_path / "run").manifest()["chains"].values()
            reasons = [chain["outcome"]["ended_because"] for chain in chains]
            assert reasons.count("target") == N_CHAINS - 1
            rows = {k: r for k, r in published(tmp_path / "run").items() if "rows/" in k}
            assert f"{sum(map(len, rows.values()))} rows of" in kept
        (letter,) = revive(journal, "all")
        assert (letter.code, letter.status) == ("outcome_unknown", 504)
        generate_rows(settings, tables, make_executor(on, request))
        assert server.n_requests == n_requests
    # The one that a gateway gave up on may have been paid for, and was asked again.
    assert summarise(journal).possibly_paid_twice == 1
    for key, frame in published(tmp_path / "run").items():
        pd.testing.assert_frame_equal(frame, published(result.path)[key])


def test_a_call_in_flight_when_its_process_died_stops_its_chain_alone_where_it_is_held(
    tmp_path, holding, whole, published
):
    result, n_requests = whole
    refused = (401, "invalid_api_key", "Incorrect API key provided.")
    with serve_in_thread(EmbeddedSettings()) as server:
        with refusing(server.base_url, lambda n: refused) as (base_url, _):
            settings = holding(base_url)
            tables = {"people": prepare(settings.tables[0]).train}
            with pytest.raises(PermanentLLMError, match="refused the key"):
                generate_rows(settings, tables, LocalExecutor())
        settings = holding(server.base_url)
        journal = tmp_path / "run" / "journal"
        with closing(Journal(journal, "killed", settings.fingerprint())) as killed:
            call = CallId("people", "epic/g0/0", 0, 0)
            asyncio.run(killed.sending(Prompt("", "what it asked", "generation"), call))
        with pytest.raises(PermanentLLMError) as caught:
            generate_rows(settings, tables, LocalExecutor())
        assert exit_code_of(caught.value) == 75
        failed, _ = caught.value.__notes__
        assert failed.startswith("1 of 4 chains failed (people/epic/g0/0)")
        assert "may have been paid for and is held" in failed
        revive(journal, "all")
        generate_rows(settings, tables, LocalExecutor())
        assert server.n_requests == n_requests
    for key, frame in published(tmp_path / "run").items():
        pd.testing.assert_frame_equal(frame, published(result.path)[key])


def test_a_drained_run_lets_go_of_what_waits_also_where_doubtful_calls_are_held(tmp_path, holding):
    executor = LocalExecutor()
    with serve_in_thread(EmbeddedSettings()) as server:

        def drain_after_the_first_call():
            while not server.n_requests:
                time.sleep(0.02)
            executor.drain()

        drainer = threading.Thread(target=drain_after_the_first_call)
        drainer.start()
        limited = holding(server.base_url, limits={"requests_per_minute": 1})
        tables = {"people": prepare(limited.tables[0]).train}
        with pytest.raises(StoppedError, match="stopped"):
            generate_rows(limited, tables, executor)
        drainer.join()
        assert server.n_requests < N_CHAINS
        found = summarise(tmp_path / "run" / "journal")
        assert (found.n_attempts, found.n_unknown) == (server.n_requests, 0)
        assert found.dead == []


def test_a_run_says_what_an_accepted_row_cost(whole):
    result, n_requests = whole
    # 2 methods x 2 repetitions x (40 + 30) rows.
    usage = result.usage
    tokens = usage.prompt_tokens + usage.completion_tokens
    assert result.spending.n_accepted == 280
    assert result.spending.n_calls == n_requests
    assert result.spending.tokens_per_row == tokens / 280
    assert result.spending.cost_usd is None
    record = RunDirectory(result.path).manifest()["spending"]
    assert record["tokens_per_row"] == tokens / 280
