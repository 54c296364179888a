"""Whole runs against an endpoint that answers as bad servers do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from rddg_ray.cli import exit_code_of
from rddg_ray.config import EmbeddedSettings, settings_from
from rddg_ray.errors import PermanentLLMError, RddgError
from rddg_ray.llm.explaining import explain_failure
from rddg_ray.llm.journal import find_call, summarise
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.pipeline import generate_rows
from rddg_ray.runtime.store import RunDirectory
from rddg_ray.runtime.tables import prepare

DEADLINE_S = 240
METHODS = ("epic", "rddg_random_coreset")
N_CHAINS = 2 * len(METHODS)
N_ROWS = 35
MAX_EMPTY_ROUNDS = 3

# A call that fails so is asked again, and the reply it gets in the end is the one it would have
# got at once.
PASSING = (
    "408", "409", "500", "503", "503 page", "reset", "reset in the reply", "hung up",
    "half a reply", "short length", "cut JSON", "nothing", "no choice", "page", "error in a 200",
)  # fmt: skip
LATE = ("silence", "trickle")
LIMITS = ("429 with Retry-After", "429 with a moment")
ODD = ("empty text", "prose", "wrong columns")
LONG = ("a megabyte of rows", "a megabyte of one line", "a megabyte of quotes")


@pytest.fixture
def configure(table_file):
    """Return a function from an output folder, a server and settings of the endpoint to a run's."""

    def make(output, server, *, methods=METHODS, generator_states=(0, 1), **endpoint):
        return settings_from(
            {
                "output": str(output),
                "tables": [{"path": str(table_file), "target": "state"}],
                "methods": list(methods),
                "generator_states": list(generator_states),
                "generation": {
                    "rows_per_class": {"ill": N_ROWS},
                    "max_empty_rounds": MAX_EMPTY_ROUNDS,
                },
                "endpoint": {
                    "kind": "openai",
                    "model": "embedded-sampler",
                    "base_url": server.base_url,
                    "send_call_header": True,
                    "timeout_s": 30.0,
                    "max_concurrency": 3,
                    **endpoint,
                },
            }
        )

    return make


def generated(settings):
    tables = {entry.label: prepare(entry).train for entry in settings.tables}
    return generate_rows(settings, tables, LocalExecutor())


def published(path):
    """Return what is published, by kind (rows, rejects) and method."""
    store = RunDirectory(path)
    found = {
        (kind, method): store.read_published(kind, "people", method)
        for kind in ("rows", "rejects")
        for method in METHODS
    }
    return {key: frame for key, frame in found.items() if frame is not None}


def n_rows(path):
    """Return the published rows by method."""
    return {
        method: len(frame)
        for (kind, method), frame in published(path).items()
        if kind == "rows" and len(frame)
    }


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("sane") / "run"


@pytest.fixture
def sane(kept, configure, bad_servers):
    """Return what is published of a run whose server never misbehaves, done once."""
    if not kept.exists():
        with bad_servers.serving(bad_servers.MisbehavingServer("500", share=0.0)) as server:
            assert not generated(configure(kept, server)).shortfall
    return published(kept)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, frame in expected.items():
        pd.testing.assert_frame_equal(found[key], frame)


def assert_whole(settings, server, tmp_path):
    """Check that what is published is what the journal's replies give, each row once."""
    found = published(settings.output)
    for (kind, _), rows in found.items():
        if kind == "rejects":
            continue
        cells = [name for name in rows.columns if not name.startswith("rddg_")]
        assert not rows.duplicated([*cells, "rddg_chain"]).any()
    copy = tmp_path / "replayed"
    shutil.copytree(settings.output, copy)
    (copy / "_manifest.json").unlink()
    for kind in ("rows", "rejects"):
        shutil.rmtree(copy / kind, ignore_errors=True)
    before = server.n_requests
    generated(settings.model_copy(update={"output": copy}))
    assert server.n_requests == before
    assert_same(published(copy), found)


def n_recorded(settings):
    return summarise(settings.output / "journal").n_calls


def assert_each_reply_paid_once(settings, server):
    """Check that each call got one sane reply, and that it is on record."""
    assert set(server.answers.values()) == {1}
    assert n_recorded(settings) == len(server.answers)


def assert_within(server, settings):
    assert server.n_over_limits == 0
    assert server.most_in_flight <= settings.endpoint.max_concurrency


@pytest.mark.slow
@pytest.mark.parametrize("fault", [*PASSING, *LATE, *LIMITS])
def test_calls_that_sometimes_fail_give_the_rows_of_calls_that_never_do(
    fault, tmp_path, configure, sane, bad_servers
):
    server = bad_servers.MisbehavingServer(fault, share=0.3)
    with bad_servers.serving(server):
        late = {"timeout_s": 1.0} if fault in LATE else {}
        settings = configure(tmp_path / "run", server, **late)
        result = generated(settings)
        assert server.n_faults[fault] >= 3
        assert not result.shortfall
        assert_same(published(result.path), sane)
        assert_each_reply_paid_once(settings, server)
        assert_whole(settings, server, tmp_path)
        assert_within(server, settings)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["429", "429 with a moment"])
def test_refusals_for_limits_cost_a_call_no_attempt(fault, tmp_path, configure, sane, bad_servers):
    server = bad_servers.MisbehavingServer(fault, share=0.15)
    with bad_servers.serving(server):
        settings = configure(tmp_path / "run", server, max_attempts=1)
        result = generated(settings)
        assert server.n_faults[fault] >= 2
        assert_same(published(result.path), sane)
        assert_each_reply_paid_once(settings, server)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ODD)
def test_replies_that_are_sometimes_odd_cost_no_row_of_the_target(
    fault, tmp_path, configure, bad_servers
):
    server = bad_servers.MisbehavingServer(fault, share=0.3)
    with bad_servers.serving(server):
        settings = configure(tmp_path / "run", server)
        result = generated(settings)
        assert server.n_faults[fault] >= 3
        assert not result.shortfall
        assert {outcome.n_accepted for outcome in result.outcomes} == {N_ROWS}
        assert_each_reply_paid_once(settings, server)
        assert_whole(settings, server, tmp_path)


def test_a_reply_in_pieces_is_whole(tmp_path, configure, sane, bad_servers):
    server = bad_servers.MisbehavingServer("pieces")
    with bad_servers.serving(server):
        result = generated(configure(tmp_path / "run", server))
    assert_same(published(result.path), sane)


# Exit code, words that name the fault, and most calls a chain makes of two attempts each.
ALWAYS = {
    "408": (75, r"the endpoint kept failing \(408\)", 2),
    "409": (75, r"the endpoint kept failing \(409\)", 2),
    "500": (75, r"the endpoint kept failing \(500\)", 2),
    "503": (75, r"the endpoint kept failing \(503\)", 2),
    "503 page": (75, r"the endpoint kept failing \(503\)", 2),
    "error in a 200": (75, r"kept failing \(502\).*The provider behind this router is away", 2),
    "reset": (75, "the endpoint did not answer", 2),
    "reset in the reply": (75, "the endpoint did not answer", 2),
    "hung up": (75, "the endpoint did not answer", 2),
    "half a reply": (75, "the endpoint did not answer", 2),
    "silence": (75, r"the endpoint did not answer: no complete answer within 0\.5 s", 2),
    "trickle": (75, r"the endpoint did not answer: no complete answer within 0\.5 s", 2),
    "short length": (75, "the endpoint's answers could not be read", 2),
    "cut JSON": (75, "the endpoint's answers could not be read", 2),
    "nothing": (75, "the endpoint's answers could not be read", 2),
    "no choice": (75, "could not be read: a completion without a choice", 2),
    "page": (75, "could not be read.*not with a chat completion", 2),
    "401": (77, r"the endpoint refused the key \(401\)", 1),
    "402": (77, r"the endpoint's quota is used up \(402\)", 1),
    "403": (77, r"the endpoint does not let this key make the call \(403\)", 1),
    "429 of a quota": (77, r"the endpoint's quota is used up \(429\)", 1),
    "404": (78, r"the endpoint does not know the model or the address \(404\)", 1),
    "400 context": (78, r"refused a prompt \(400\): the prompt is longer than the model reads", 1),
    "400 filter": (78, r"refused a prompt \(400\).*content filter", 1),
}


def ended(settings):
    """Return the exit code and the words of a run that fails."""
    with pytest.raises(RddgError) as caught:
        generated(settings)
    return exit_code_of(caught.value), explain_failure(caught.value)


def revive(path):
    command = [sys.executable, "-m", "rddg_ray", "retry-dead", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ALWAYS)
def test_an_endpoint_that_always_fails_ends_the_run_with_words_and_a_mended_one_completes_it(
    fault, tmp_path, configure, sane, bad_servers
):
    code, words, n_attempts = ALWAYS[fault]
    server = bad_servers.MisbehavingServer(fault)
    with bad_servers.serving(server):
        # Two chains of two attempts: one failure less than those after which calls would wait
        # for the endpoint to come back.
        options = {"generator_states": [0], "max_attempts": 2}
        timeout_s = 0.5 if fault in LATE else 30.0
        settings = configure(tmp_path / "run", server, **options, timeout_s=timeout_s)
        found, told = ended(settings)
        assert (found, re.search(words, told) is not None) == (code, True), told
        assert 1 <= server.n_requests <= 2 * n_attempts
        assert n_rows(settings.output) == {}
        assert_within(server, settings)
        server.share = 0.0
        revive(settings.output)
        mended = configure(tmp_path / "run", server)  # by now with more chains
        assert not generated(mended).shortfall
        assert_same(published(mended.output), sane)
        assert_each_reply_paid_once(mended, server)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ODD)
def test_an_endpoint_that_never_writes_a_row_ends_in_a_shortfall(
    fault, tmp_path, configure, bad_servers
):
    server = bad_servers.MisbehavingServer(fault)
    with bad_servers.serving(server):
        settings = configure(tmp_path / "run", server)
        result = generated(settings)
        assert {tuple(lacking.items()) for lacking in result.shortfall.values()} == {
            (("ill", N_ROWS),)
        }
        assert {outcome.ended_because for outcome in result.outcomes} == {"empty_rounds"}
        # Two calls before the first round of rows, in half of the chains.
        assert server.n_requests == N_CHAINS * MAX_EMPTY_ROUNDS + N_CHAINS // 2 * 2
        assert_each_reply_paid_once(settings, server)


@pytest.mark.slow
@pytest.mark.parametrize("fault", LONG)
def test_replies_of_a_megabyte_cost_no_row_of_the_target(fault, tmp_path, configure, bad_servers):
    server = bad_servers.MisbehavingServer(fault, share=0.5)
    with bad_servers.serving(server):
        settings = configure(tmp_path / "run", server, methods=["epic"], generator_states=[0])
        result = generated(settings)
        assert server.n_faults[fault] >= 1
        assert not result.shortfall
        [outcome] = result.outcomes
        assert outcome.n_accepted == N_ROWS
        if fault == "a megabyte of rows":
            assert outcome.rejects["repeat"] > 10_000
        assert_each_reply_paid_once(settings, server)
        assert_whole(settings, server, tmp_path)


def test_the_limits_hold_whatever_goes_wrong(tmp_path, configure, bad_servers):
    limits = EmbeddedSettings(requests_per_minute=600, policy="second_bucket")
    server = bad_servers.MisbehavingServer(
        "500", "reset", "half a reply", "cut JSON", "429 with a moment", share=0.3, settings=limits
    )
    with bad_servers.serving(server):
        settings = configure(tmp_path / "run", server, limits={"requests_per_minute": 600})
        assert not generated(settings).shortfall
        assert server.n_faults.total() >= 5
        assert_within(server, settings)
        assert_whole(settings, server, tmp_path)


MIXED = ("429 with Retry-After", "500", "503", "reset", "reset in the reply", "half a reply",
         "silence", "trickle", "nothing", "page", "error in a 200", "prose", "wrong columns",
         "empty text")  # fmt: skip


@pytest.fixture
def rddg(tmp_path, configure):
    """Return a function that runs `rddg run` on a server and returns the process when it ended."""

    def run(output, server, *options, endpoint, **environment):
        settings = configure(output, server, **endpoint).model_dump(mode="json")
        settings["evaluation"] = {"classifiers": ["xgboost"], "classifier_states": [0]}
        config = tmp_path / "run.yaml"
        config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-m", "rddg_ray", "run", str(config), *options],
            env={**os.environ, **environment}, capture_output=True, text=True,
            timeout=DEADLINE_S, check=False,
        )  # fmt: skip

    return run


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("options", [("--no-ray",), ()], ids=["one process", "ray"])
def test_everything_that_goes_wrong_at_once_ends_at_the_target(  # noqa: PLR0917 - fixtures go by name
    options, tmp_path, configure, rddg, bad_servers, short_folder
):
    server = bad_servers.MisbehavingServer(*MIXED, share=0.3)
    endpoint = {"timeout_s": 2.0, "max_attempts": 8}
    with bad_servers.serving(server):
        process = rddg(
            tmp_path / "run", server, *options, endpoint=endpoint, TMPDIR=str(short_folder)
        )
        assert process.returncode == 0, process.stderr
        assert server.n_faults.total() >= 5
        settings = configure(tmp_path / "run", server, **endpoint)
        assert n_rows(settings.output) == dict.fromkeys(METHODS, 2 * N_ROWS)
        assert_each_reply_paid_once(settings, server)
        assert_whole(settings, server, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["401", "500", "prose"])
def test_the_command_line_tells_the_fault_and_exits_with_its_code(
    fault, tmp_path, rddg, bad_servers
):
    code, words, _ = {"prose": (3, "", 0), **ALWAYS}[fault]
    server = bad_servers.MisbehavingServer(fault)
    with bad_servers.serving(server):
        process = rddg(tmp_path / "run", server, "--no-ray", endpoint={"max_attempts": 2})
    assert process.returncode == code, process.stderr
    assert re.search(words, process.stderr.replace("\n", " "))
    assert "Traceback" not in process.stderr


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["400 context", "400 filter"])
def test_a_prompt_that_is_refused_is_a_dead_letter_and_stops_its_chain_alone(
    fault, tmp_path, configure, bad_servers
):
    server = bad_servers.MisbehavingServer(fault, share=0.1, random_state=1)
    with bad_servers.serving(server):
        settings = configure(tmp_path / "run", server)
        with pytest.raises(PermanentLLMError, match="the prompt"):
            generated(settings)
        n_refused = server.n_faults[fault]
        assert 1 <= n_refused < N_CHAINS
        summary = summarise(settings.output / "journal")
        assert len(summary.dead) == n_refused
        # Asked for again, it is refused from the record.
        before = server.n_requests
        with pytest.raises(PermanentLLMError, match="the prompt"):
            generated(settings)
        assert server.n_requests == before
    letter = summary.dead[0]
    assert find_call(settings.output / "journal", letter.key)
