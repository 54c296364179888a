"""A run on two nodes, one of which is lost in the middle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from rddg_ray.config import settings_from
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.pipeline import generate_rows
from rddg_ray.runtime.store import RunDirectory
from rddg_ray.runtime.tables import prepare

TIMEOUT_S = 120

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
worker = cluster.add_node(num_cpus=1)
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
            told["in the middle"] = len(self.hosts) == 2
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


@pytest.mark.ray
@pytest.mark.slow
def test_chains_of_a_lost_node_go_on_on_the_other(tmp_path, table_file, slow_server, short_folder):
    def settings(name):
        return {
            "output": str(tmp_path / name),
            "tables": [{"path": str(table_file), "target": "state"}],
            "methods": ["epic"],
            "generator_states": [0, 1, 2, 3],
            "generation": {"rows_per_class": {"ill": 300}},
            "endpoint": {"base_url": slow_server.base_url},
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
        [sys.executable, "-c", DRIVER, json.dumps(settings("broken"))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert driver.returncode == 0, driver.stderr[-3000:]
    told = json.loads(driver.stdout.splitlines()[-1])
    unbroken = settings_from(settings("unbroken"))
    tables = {entry.label: prepare(entry).train for entry in unbroken.tables}
    whole = generate_rows(unbroken, tables, LocalExecutor())
    assert told == {"nodes": 2, "in the middle": True, "n_calls": whole.usage.n_calls}
    pd.testing.assert_frame_equal(
        RunDirectory(tmp_path / "broken").read_published("rows", "people", "epic"),
        RunDirectory(tmp_path / "unbroken").read_published("rows", "people", "epic"),
    )
