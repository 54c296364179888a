"""When chains fail, what all of them made is published, and the end says what failed and why."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

from rddg_ray.config import EmbeddedSettings
from rddg_ray.errors import PermanentLLMError
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.llm.journal import revive, summarise
from rddg_ray.runtime.executor import ChainFailure
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


def test_a_drained_run_does_not_wait_for_calls_that_wait_for_their_turn(tmp_path, configure):
    executor = LocalExecutor()
    with serve_in_thread(EmbeddedSettings()) as server:

        def drain_after_the_first_call():
            while not server.n_requests:
                time.sleep(0.02)
            executor.drain()

        drainer = threading.Thread(target=drain_after_the_first_call)
        drainer.start()
        settings = configure(
            tmp_path / "run",
            methods=["epic"],
            endpoint={"base_url": server.base_url, "limits": {"requests_per_minute": 1}},
        )
        tables = {"people": prepare(settings.tables[0]).train}
        with pytest.raises(StoppedError, match="stopped"):
            generate_rows(settings, tables, executor)
        drainer.join()
        # Its four chains would have asked four times.
        assert server.n_requests < N_CHAINS
    found = summarise(tmp_path / "run" / "journal")
    assert (found.n_attempts, found.n_unknown) == (server.n_requests, 0)


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
