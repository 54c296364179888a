"""The actors that host chains."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from rddg_ray.runtime.chains import ChainSpec, ChainWork
from rddg_ray.runtime.opening import CallPlan
from rddg_ray.runtime.store import RunDirectory

DEADLINE_S = 120.0
RAYS_BOUND = 1_000


@pytest.mark.ray
@pytest.mark.slow
def test_a_host_with_more_chains_than_rays_bound_hears_everything(tmp_path, configure, on_ray):
    on_ray()
    import ray

    from rddg_ray.runtime.hosts import start_hosts

    @ray.remote(num_cpus=0)
    class Tables:
        async def table(self):
            import asyncio

            await asyncio.Event().wait()

    settings = configure(tmp_path / "run")
    store = RunDirectory(tmp_path / "run")
    with closing(store):  # hosts look for what it leaves there
        store.open(settings, {})
    specs = [ChainSpec("people", "epic", n, 0, {"ill": 1}) for n in range(RAYS_BOUND + 1)]
    work = ChainWork(specs, {}, {}, settings, store.journal, 1)
    plan = CallPlan(settings.endpoint, work.journal, work.fingerprint, 1)
    tables = Tables.remote()
    [host] = start_hosts(1, work, plan)
    # No chain goes beyond the moment in which it awaits its table.
    table = [tables.table.remote()]
    running = [host.run.remote(spec, table, []) for spec in specs]
    told, until_s = {}, time.monotonic() + DEADLINE_S
    while len(told) < len(specs) and time.monotonic() < until_s:
        told = ray.get(host.progress.remote(), timeout=DEADLINE_S)
    ray.get(host.drain.remote(), timeout=DEADLINE_S)
    assert set(told) == {f"people/{spec.name}" for spec in specs}
    assert [ray.get(reference) for reference in ray.wait(running, timeout=0)[0]] == []
    ray.kill(host)
    ray.kill(tables)
