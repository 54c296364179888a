"""A run on two nodes, one of which is lost in the middle, with all the hosts it had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from rddg_ray.config import EmbeddedSettings, settings_from
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.llm.journal import summarise
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.pipeline import generate_rows
from rddg_ray.runtime.store import RunDirectory
from rddg_ray.runtime.tables import prepare

TIMEOUT_S = 240

# A process of its own: a cluster of several nodes cannot share one with another Ray.
DRIVER = """
import json, sys, threading, time
from ray.cluster_utils import Cluster
from rddg_ray.config import settings_from
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.runtime.cluster import ray_session
from rddg_ray.runtime.pipeline import generate_rows
from rddg_ray.runtime.tables import prepare

settings = settings_from(json.loads(sys.argv[1]))
tables = {entry.label: prepare(entry).train for entry in settings.tables}
# A dead node is noticed in 2 s instead of 20.
health = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500,
          "health_check_timeout_ms": 500, "health_check_failure_threshold": 3}
for attempt in range(3):
    try:
        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": health}
        )
        break
    except RuntimeError:  # Ray's own start gives up where the machine is busy.
        if attempt == 2:
            raise
n_cpus = int(sys.argv[2])
worker = cluster.add_node(num_cpus=n_cpus)
told = {}
with ray_session(address=cluster.address):
    import ray
    from rddg_ray.runtime.actors import RayExecutor

    class OnNodes(RayExecutor):
        def kill_a_node(self):
            # An actor opens its journal as its first chain starts.
            while len(list((settings.output / "journal").glob("*.sqlite"))) < 2:
                time.sleep(0.02)
            actors = ray.util.state.list_actors(filters=[("state", "=", "ALIVE")])
            told["nodes"] = len({a.node_id for a in actors if "ChainHost" in a.class_name})
            time.sleep(0.5)
            # Actors are let go of when all chains have ended.
            told["in the middle"] = len(self.hosts) == 1 + n_cpus
            cluster.remove_node(worker, allow_graceful=False)

    import ray.util.state
    executor = OnNodes()
    killer = threading.Thread(target=executor.kill_a_node)
    killer.start()
    result = generate_rows(settings, tables, executor)
    killer.join()
    told["n_calls"] = result.usage.n_calls
cluster.shutdown()
print(json.dumps(told))
"""


@pytest.fixture
def server():
    """Return a server of one test, which looks at every call."""
    with serve_in_thread(EmbeddedSettings(latency_s=0.15)) as running:
        yield running


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(("n_cpus", "n_chains", "n_rows"), [(1, 4, 300), (7, 8, 150)])
def test_chains_of_a_lost_node_go_on_on_the_other(  # noqa: PLR0917 - fixtures go by name
    tmp_path, table_file, server, short_folder, n_cpus, n_chains, n_rows
):
    def settings(name):
        return {
            "output": str(tmp_path / name),
            "tables": [{"path": str(table_file), "target": "state"}],
            "methods": ["epic"],
            "generator_states": list(range(n_chains)),
            "generation": {"rows_per_class": {"ill": n_rows}},
            "endpoint": {"base_url": server.base_url},
        }

    environment = {
        **os.environ,
        "HOME": str(short_folder),
        "RAY_TMPDIR": str(short_folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    bootstrap = "cluster_name: local\nprovider:\n  type: local\n"
    (short_folder / "ray_bootstrap_config.yaml").write_text(bootstrap)
    driver = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(settings("broken")), str(n_cpus)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert driver.returncode == 0, driver.stderr[-3000:]
    told = json.loads(driver.stdout.splitlines()[-1])
    calls, found = dict(server.calls), summarise(tmp_path / "broken" / "journal")
    unbroken = settings_from(settings("unbroken"))
    tables = {entry.label: prepare(entry).train for entry in unbroken.tables}
    whole = generate_rows(unbroken, tables, LocalExecutor())
    assert told == {"nodes": 2, "in the middle": True, "n_calls": whole.usage.n_calls}
    # Asked twice was only what was in flight on the lost node, one call a chain at most.
    assert len(calls) == whole.usage.n_calls
    assert set(calls.values()) <= {1, 2}
    twice = sum(n == 2 for n in calls.values())
    n_there = n_chains - n_chains // (1 + n_cpus)
    assert twice <= found.possibly_paid_twice <= n_there
    pd.testing.assert_frame_equal(
        RunDirectory(tmp_path / "broken").read_published("rows", "people", "epic"),
        RunDirectory(tmp_path / "unbroken").read_published("rows", "people", "epic"),
    )
