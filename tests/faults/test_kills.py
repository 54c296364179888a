"""A run that is killed or stopped goes on to the rows of an unbroken one."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from rddg_ray.runtime.store import RunDirectory

N_CHAINS = 4
TIMEOUT_S = 90


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept") / "run"


@pytest.fixture
def unbroken(kept, start):
    """Return a finished run, done once."""
    if not kept.exists():
        process = start(kept, "--no-ray")
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0
    return kept


def rows(path):
    store = RunDirectory(path)
    return {
        (kind, method): store.read_published(kind, "people", method)
        for kind in ("rows", "rejects")
        for method in ("epic", "rddg")
    }


def fits(path):
    [file] = (path / "evaluation" / "fits").glob("*.parquet")
    names = ["method", "generator_state"]
    frame = pd.read_parquet(file).sort_values(names, ignore_index=True)
    return frame.drop(columns="fit_s")


def n_calls(path):
    chains = RunDirectory(path).manifest()["chains"].values()
    return sum(chain["outcome"]["usage"]["n_calls"] for chain in chains)


def wait_for_requests(server, n_requests, process):
    deadline_s = time.monotonic() + TIMEOUT_S
    while server.n_requests < n_requests:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def descendants(process_id):
    """Return the ids of a process's children, theirs, and so on."""
    children = [
        int(child)
        for task in Path(f"/proc/{process_id}/task").glob("*/children")
        for child in task.read_text().split()
    ]
    return children + [below for child in children for below in descendants(child)]


def lives(process_id):
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def assert_same(path, unbroken):
    whole = rows(unbroken)
    for key, frame in rows(path).items():
        pd.testing.assert_frame_equal(frame, whole[key])
    pd.testing.assert_frame_equal(fits(path), fits(unbroken))


def end(process, number):
    """Send a signal to a process and return its exit code and what it wrote on stderr."""
    process.send_signal(number)
    _, err = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, err


@pytest.mark.slow
def test_a_resumed_run_gives_the_rows_of_an_unbroken_one(tmp_path, start, unbroken, slow_server):
    total, n_before = n_calls(unbroken), slow_server.n_requests
    codes = {signal.SIGKILL: -9, signal.SIGTERM: 75, signal.SIGINT: 130}
    for part, (number, code) in enumerate(codes.items(), start=1):
        process = start(tmp_path / "run", "--no-ray")
        wait_for_requests(slow_server, n_before + part * total // 4, process)
        found, err = end(process, number)
        assert found == code, err
        assert ("the same command goes on from here" in err) == (number != signal.SIGKILL)
        assert "Traceback" not in err
        # A kill publishes nothing; a signal that can be heard publishes what there is.
        assert bool(RunDirectory(tmp_path / "run").manifest()) == (number != signal.SIGKILL)
    last = start(tmp_path / "run", "--no-ray")
    _, err = last.communicate(timeout=TIMEOUT_S)
    assert last.returncode == 0, err
    assert_same(tmp_path / "run", unbroken)
    # What was in flight at the kill is asked again, and nothing else: one call a chain at most.
    assert 0 <= slow_server.n_requests - n_before - total <= N_CHAINS


@pytest.mark.ray
@pytest.mark.slow
def test_a_driver_killed_on_ray_takes_its_actors_along_and_the_run_goes_on_without_ray(
    tmp_path, start, unbroken, slow_server, short_folder
):
    total, n_before = n_calls(unbroken), slow_server.n_requests
    first = start(tmp_path / "run", TMPDIR=str(short_folder))
    wait_for_requests(slow_server, n_before + total // 2, first)
    children = descendants(first.pid)
    names = {child: Path(f"/proc/{child}/cmdline").read_text() for child in children}
    assert sum("ChainHost" in name for name in names.values()) >= 1
    end(first, signal.SIGKILL)
    try:
        deadline_s = time.monotonic() + 30
        # Ray's two agents find out late that their node is gone; they do nothing till then.
        while working := [c for c in children if lives(c) and "Agent" not in names[c]]:
            assert time.monotonic() < deadline_s, [names[child] for child in working]
            time.sleep(0.1)
    finally:
        for child in filter(lives, children):
            os.kill(child, signal.SIGKILL)
    second = start(tmp_path / "run", "--no-ray", TMPDIR=str(short_folder))
    _, err = second.communicate(timeout=TIMEOUT_S)
    assert second.returncode == 0, err
    assert_same(tmp_path / "run", unbroken)
    assert 0 <= slow_server.n_requests - n_before - total <= N_CHAINS
