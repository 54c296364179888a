"""Chains in actors survive the loss of their process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest

from rddg_ray.config import EmbeddedSettings
from rddg_ray.errors import ConfigError
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.runtime.cluster import ray_session
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.pipeline import generate_rows
from rddg_ray.runtime.tables import prepare

N_CHAINS = 4

TWICE = """
import ray
from rddg_ray.runtime.cluster import ray_session
for number in range(2):
    with ray_session(num_cpus=1):
        print(ray.get(ray.remote(lambda: number).remote()))
"""


@pytest.fixture
def slow_server():
    with serve_in_thread(EmbeddedSettings(latency_s=0.1)) as running:
        yield running


def kill_one_host(executor, server, n_requests):
    """SIGKILL the process of the first actor once enough calls came; return its id."""
    import ray

    while server.n_requests < n_requests:
        time.sleep(0.02)
    process_id = ray.get(executor.hosts[0].process_id.remote())
    os.kill(process_id, signal.SIGKILL)
    return process_id


@pytest.mark.ray
@pytest.mark.slow
def test_one_process_can_start_a_ray_of_its_own_twice():
    # The second would find the first one's settings for tokens, and no token.
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", TWICE], capture_output=True, text=True, env=bare, check=False
    )
    assert done.stdout.split() == ["0", "1"], done.stderr


@pytest.mark.ray
@pytest.mark.slow
def test_chains_of_a_killed_actor_go_on_from_the_journal(
    tmp_path, configure, on_ray, published, slow_server
):
    def settings(name):
        return configure(
            tmp_path / name,
            methods=["rddg"],
            endpoint={"base_url": slow_server.base_url},
            generation={"rows_per_class": {"ill": 40, "odd": 40}, "chain_per": "class"},
        )

    tables = {"people": prepare(settings("a").tables[0]).train}
    unbroken = generate_rows(settings("unbroken"), tables, LocalExecutor())
    n_calls, n_before = unbroken.usage.n_calls, slow_server.n_requests
    assert n_calls >= 5 * N_CHAINS

    executor, killed = on_ray(), []
    killer = threading.Thread(
        target=lambda: killed.append(kill_one_host(executor, slow_server, n_before + n_calls // 2))
    )
    killer.start()
    broken = generate_rows(settings("broken"), tables, executor)
    killer.join()

    assert len(killed) == 1
    whole = published(unbroken.path)
    for key, frame in published(broken.path).items():
        pd.testing.assert_frame_equal(frame, whole[key])
    assert broken.usage == unbroken.usage
    # What the killed process waited for was on its way nevertheless.
    assert slow_server.n_requests - n_before == n_calls
    # One process makes the calls of a node, whatever becomes of those that host chains.
    assert len(list((broken.path / "journal").glob("*.sqlite"))) == 1


@pytest.mark.ray
def test_a_process_on_one_ray_is_not_taken_to_another_silently(on_ray):
    import ray

    assert on_ray().hosts == []
    with ray_session("auto"), ray_session():
        pass
    wrong = ray_session("127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9: this process is connected"), wrong:
        pytest.fail("joined")
    assert ray.is_initialized()
