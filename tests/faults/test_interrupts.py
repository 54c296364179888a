"""Signals: the first one drains a run and keeps everything, the second one stops it now."""

from __future__ import annotations

import os
import re
import signal
import time

import pandas as pd
import pytest

from rddg_ray.runtime.store import RunDirectory

TIMEOUT_S = 120
NO_RAY, RAY = "here", pytest.param("ray", marks=[pytest.mark.ray])
# So many that chains are in their middle long enough for Ray to hear of a signal, too.
N_ROWS = 240
STOPPED = "stopped; the same command goes on from here"


def published(path):
    store = RunDirectory(path)
    return {
        (kind, method): store.read_published(kind, "people", method)
        for kind in ("rows", "rejects")
        for method in ("epic", "rddg")
    }


def usage_calls(path):
    chains = RunDirectory(path).manifest()["chains"].values()
    return sum(chain["outcome"]["usage"]["n_calls"] for chain in chains)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept") / "run"


@pytest.fixture
def unbroken(kept, start):
    """Return a finished run, done once."""
    if not kept.exists():
        process = start(kept, "--no-ray", n_rows=N_ROWS)
        _, err = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, err
    return kept


@pytest.fixture
def begin(start, tmp_path, short_folder):
    """Return a function that starts the run, on Ray or not, as the leader of a process group."""

    def run(on):
        options = () if on == "ray" else ("--no-ray",)
        folder = str(short_folder)
        return start(tmp_path / "run", *options, n_rows=N_ROWS, TMPDIR=folder)

    return run


def wait_for_requests(server, n_requests, process):
    deadline_s = time.monotonic() + TIMEOUT_S
    while server.n_requests < n_requests:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def ended(process):
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert "Traceback" not in err, err
    return process.returncode, err


def press(process):
    """Do what a terminal does on Ctrl-C: signal every process of the foreground group."""
    os.killpg(os.getpgid(process.pid), signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("on", [NO_RAY, RAY])
def test_an_interrupt_drains_publishes_and_the_run_goes_on_without_asking_twice(  # noqa: PLR0917 - fixtures go by name
    tmp_path, begin, start, unbroken, slow_server, on
):
    total, n_before = usage_calls(unbroken), slow_server.n_requests
    process = begin(on)
    wait_for_requests(slow_server, n_before + total // 4, process)
    press(process)
    code, err = ended(process)
    assert code == 130, err
    assert re.search(r"stopping: \d+ calls in flight; press Ctrl-C again to stop now", err), err
    assert STOPPED in err
    n_made = slow_server.n_requests - n_before
    # Chains are in their middle: what they made is there, and no call of theirs was lost.
    assert total // 4 <= n_made < total
    assert usage_calls(tmp_path / "run") == n_made
    whole = published(unbroken)
    for key, part in published(tmp_path / "run").items():
        if part is not None and len(part):
            # Ids of rows go on where the run does.
            merged = part.merge(whole[key], how="left", indicator=True)
            assert (merged["_merge"] == "both").all()
    assert sum(len(part) for part in published(tmp_path / "run").values() if part is not None) > 0

    code, err = ended(begin("here"))
    assert code == 0, err
    assert slow_server.n_requests - n_before == total
    for key, rows in published(tmp_path / "run").items():
        pd.testing.assert_frame_equal(rows, whole[key])


@pytest.mark.slow
@pytest.mark.parametrize("on", [NO_RAY, RAY])
def test_a_terminated_run_drains_publishes_and_says_that_it_can_be_resumed(
    tmp_path, begin, unbroken, slow_server, on
):
    total, n_before = usage_calls(unbroken), slow_server.n_requests
    process = begin(on)
    wait_for_requests(slow_server, n_before + total // 4, process)
    process.send_signal(signal.SIGTERM)
    code, err = ended(process)
    assert code == 75, err
    assert STOPPED in err
    assert usage_calls(tmp_path / "run") == slow_server.n_requests - n_before < total


@pytest.mark.slow
def test_a_run_whose_words_nobody_reads_any_more_drains_and_publishes_all_the_same(
    tmp_path, begin, unbroken, slow_server
):
    total, n_before = usage_calls(unbroken), slow_server.n_requests
    process = begin("here")
    wait_for_requests(slow_server, n_before + total // 4, process)
    process.stderr.close()
    press(process)
    assert process.wait(timeout=TIMEOUT_S) == 130
    assert usage_calls(tmp_path / "run") == slow_server.n_requests - n_before < total


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (signal.SIGINT, signal.SIGINT, 130),
        (signal.SIGTERM, signal.SIGTERM, 75),
        (signal.SIGINT, signal.SIGTERM, 75),
    ],
)
def test_the_second_signal_stops_at_once_and_loses_only_what_was_in_flight(  # noqa: PLR0917 - fixtures go by name
    tmp_path, begin, unbroken, slow_server, first, second, expected
):
    total, n_before = usage_calls(unbroken), slow_server.n_requests
    process = begin("here")
    wait_for_requests(slow_server, n_before + total // 4, process)
    process.send_signal(first)
    # A moment later, while the calls in flight are still awaited: 0.15 s each.
    time.sleep(0.02)
    process.send_signal(second)
    code, err = ended(process)
    assert code == expected, err
    assert STOPPED in err
    code, err = ended(begin("here"))
    assert code == 0, err
    # Four chains have one call each in flight at most.
    assert 0 <= slow_server.n_requests - n_before - total <= 4
    whole = published(unbroken)
    for key, rows in published(tmp_path / "run").items():
        pd.testing.assert_frame_equal(rows, whole[key])
