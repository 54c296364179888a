"""Twenty kills over one run: nothing is lost, and nothing is asked twice that need not be."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rddg_ray.config import EmbeddedSettings, settings_from
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.llm.journal import summarise
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.pipeline import generate_rows
from rddg_ray.runtime.store import RunDirectory
from rddg_ray.runtime.tables import prepare

DEADLINE_S = 300
N_CHAINS = 8
LEAST_CALLS = 400
VICTIMS = {"_ChainHost": 8, "_Caller": 7, "driver": 5}

# A cluster that outlives drivers; it ends when its standard input does.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster

for attempt in range(3):
    try:
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
        break
    except RuntimeError:  # Ray's own start gives up where the machine is busy.
        if attempt == 2:
            raise
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""

DRIVER = """
import json, sys
from rddg_ray.config import settings_from
from rddg_ray.runtime.cluster import ray_session
from rddg_ray.runtime.pipeline import generate_rows
from rddg_ray.runtime.tables import prepare

settings = settings_from(json.loads(sys.argv[2]))
tables = {entry.label: prepare(entry).train for entry in settings.tables}
with ray_session(address=sys.argv[1]):
    from rddg_ray.runtime.actors import RayExecutor

    result = generate_rows(settings, tables, RayExecutor())
print(json.dumps(result.usage.n_calls))
"""


def settings_of(output, table_file, server):
    return {
        "output": str(output),
        "tables": [{"path": str(table_file), "target": "state"}],
        "methods": ["epic"],
        "generator_states": list(range(N_CHAINS)),
        "generation": {"rows_per_class": {"ill": 800}},
        "endpoint": {"base_url": server.base_url},
    }


def environment_in(folder):
    bootstrap = "cluster_name: local\nprovider:\n  type: local\n"
    (folder / "ray_bootstrap_config.yaml").write_text(bootstrap)
    return {
        **os.environ,
        "HOME": str(folder),
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


def descendants(process_id):
    children = [
        int(child)
        for task in Path(f"/proc/{process_id}/task").glob("*/children")
        for child in _read(task).split()
    ]
    return children + [below for child in children for below in descendants(child)]


def _read(path):
    try:
        return path.read_text()
    except OSError:  # it ended meanwhile
        return ""


def actors(cluster, name):
    """Return the ids of the cluster's processes that host an actor of this class."""
    return sorted(
        child
        for child in descendants(cluster.pid)
        if f"ray::{name}" in _read(Path(f"/proc/{child}/cmdline"))
    )


def wait_for(fact):
    deadline_s = time.monotonic() + DEADLINE_S
    while not (found := fact()):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return found


@contextmanager
def cluster_of(environment):
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment,
    )  # fmt: skip
    try:
        address = process.stdout.readline().strip()
        assert address, process.communicate()
        yield process, address
    finally:
        started = descendants(process.pid)
        try:
            process.communicate(timeout=60)
        finally:
            for child in [process.pid, *started]:
                if process.poll() is None or Path(f"/proc/{child}").exists():
                    with suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)


class Drivers:
    """The one driver at a time, and all that went before it."""

    def __init__(self, address, settings, environment):
        self._command = [sys.executable, "-c", DRIVER, address, json.dumps(settings)]
        self._environment = environment
        self.process = self.start()

    def start(self):
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=self._environment,
        )  # fmt: skip
        return self.process

    def kill(self):
        self.process.kill()
        self.process.communicate()
        self.start()

    def lives(self):
        assert self.process.poll() is None, self.process.communicate()
        return True

    def finish(self):
        out, err = self.process.communicate(timeout=DEADLINE_S)
        assert self.process.returncode == 0, err[-3000:]
        return json.loads(out.splitlines()[-1])


def kill_them_all(cluster, drivers, server):
    """Kill in a random order, each time after some more calls came."""
    rng = np.random.default_rng(7)
    victims = rng.permutation([name for name, n in VICTIMS.items() for _ in range(n)])
    for name, n_more in zip(victims, rng.integers(4, 16, len(victims)), strict=True):
        wanted = server.n_requests + n_more
        wait_for(lambda wanted=wanted: drivers.lives() and server.n_requests >= wanted)
        if name == "driver":
            drivers.kill()
            continue
        found = wait_for(lambda name=name: drivers.lives() and actors(cluster, name))
        with suppress(ProcessLookupError):
            os.kill(int(rng.choice(found)), signal.SIGKILL)


def doubtful_attempts(journal):
    """Return how many attempts of each call were sent and have neither reply nor refusal."""
    attempts = Counter()
    for file in journal.glob("*.sqlite"):
        with closing(sqlite3.connect(file)) as db:
            query = (
                "SELECT dataset, chain, round, position FROM sent "
                "WHERE ended IS NOT 'refused' AND key NOT IN (SELECT key FROM calls)"
            )
            attempts.update("/".join(map(_quoted, row)) for row in db.execute(query))
    return attempts


def _quoted(part):
    return str(part).replace("/", "%2F")


@pytest.mark.ray
@pytest.mark.slow
def test_after_twenty_kills_the_rows_are_the_same_and_only_calls_in_flight_were_repeated(
    tmp_path, table_file, short_folder
):
    with serve_in_thread(EmbeddedSettings()) as server:
        whole = settings_from(settings_of(tmp_path / "whole", table_file, server))
        tables = {entry.label: prepare(entry).train for entry in whole.tables}
        n_calls = generate_rows(whole, tables, LocalExecutor()).usage.n_calls
    assert n_calls >= LEAST_CALLS
    environment = environment_in(short_folder)
    with (
        serve_in_thread(EmbeddedSettings(latency_s=0.25)) as server,
        cluster_of(environment) as (cluster, address),
    ):
        settings = settings_of(tmp_path / "broken", table_file, server)
        drivers = Drivers(address, settings, environment)
        try:
            kill_them_all(cluster, drivers, server)
            assert server.n_requests < n_calls  # the last kill came in the middle, too
            assert drivers.finish() == n_calls
        finally:
            drivers.process.kill()
        # Detached actors outlive a driver, but not the run.
        wait_for(lambda: not actors(cluster, "_Caller"))
    check_calls(server, tmp_path / "broken" / "journal", n_calls)
    pd.testing.assert_frame_equal(
        RunDirectory(tmp_path / "broken").read_published("rows", "people", "epic"),
        RunDirectory(tmp_path / "whole").read_published("rows", "people", "epic"),
    )


def check_calls(server, journal, n_calls):
    assert len(server.calls) == n_calls
    repeats = Counter({call: n - 1 for call, n in server.calls.items() if n > 1})
    # No call was repeated more often than it was in flight in a process that was killed.
    assert repeats <= doubtful_attempts(journal)
    assert repeats.total() <= summarise(journal).possibly_paid_twice
    # Of a Caller that dies, each chain has at most one call in flight.
    assert repeats.total() <= VICTIMS["_Caller"] * N_CHAINS
    assert server.n_requests == n_calls + repeats.total()
