"""Making, finding and ending the Callers of a run."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rddg_ray.runtime.callers import MARGIN_S, Caller
from rddg_ray.runtime.limits import NAMESPACE
from rddg_ray.runtime.opening import CallPlan

_MAX_CALLS_AT_ONCE = 20_000
_NAME = re.compile(r"caller-(?P<run>[0-9a-f]+)-e(?P<epoch>\d+)-(?P<node>[0-9a-f]+)")


@dataclass(frozen=True)
class FoundCaller:
    """A Caller on the cluster.

    Attributes:
        epoch: Of the run's start it belongs to.
        node: Id of its node.
        actor: Its handle.
    """

    epoch: int
    node: str
    actor: Any


def caller_of(plan: CallPlan, node: str) -> Any:
    """Return the handle of a node's Caller, which is made where there is none."""
    return Caller.options(
        name=f"caller-{plan.run}-e{plan.epoch}-{node}",
        namespace=NAMESPACE,
        get_if_exists=True,
        lifetime="detached",
        max_concurrency=_MAX_CALLS_AT_ONCE,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
    ).remote(plan, node)


def check_callers(plan: CallPlan, timeout_s: float) -> dict[str, Exception]:
    """Have a Caller on every node that may get chains look for what is wrong with the settings.

    It is none of those that make calls, which need a Limiter; and it ends with this. A node that
    is lost meanwhile, or does not answer in time, makes no calls either.

    Args:
        plan: The run's calls.
        timeout_s: Seconds to wait for an answer.

    Returns:
        Errors by the address of the node.
    """
    addresses, callers = {}, []
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU", 0) > 0:
            here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            caller = Caller.options(scheduling_strategy=here, max_restarts=0)
            callers.append(caller.remote(plan, node["NodeID"]))
            addresses[callers[-1].check.remote()] = node["NodeManagerAddress"]
    answered, _ = ray.wait(list(addresses), num_returns=len(addresses), timeout=timeout_s)
    found = {}
    for reference in answered:
        with contextlib.suppress(RayActorError, ActorUnschedulableError):
            if (error := ray.get(reference)) is not None:
                found[addresses[reference]] = error
    for caller in callers:
        ray.kill(caller, no_restart=True)
    return found


def find_callers(run: str) -> list[FoundCaller]:
    """Return the Callers of a run, of every epoch, on every node that lives.

    Those on nodes that are gone are ended: they have nowhere to come back.

    Args:
        run: As `CallPlan.run`.
    """
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    found = []
    for entry in ray.util.list_named_actors(all_namespaces=True):
        match = _NAME.fullmatch(entry["name"])
        if entry["namespace"] != NAMESPACE or match is None or match["run"] != run:
            continue
        with contextlib.suppress(ValueError):  # it ended meanwhile
            actor = ray.get_actor(entry["name"], NAMESPACE)
            if match["node"] in alive:
                found.append(FoundCaller(int(match["epoch"]), match["node"], actor))
            else:
                ray.kill(actor, no_restart=True)
    return found


def end_callers(
    callers: Iterable[FoundCaller], timeout_s: float, *, wait_s: float | None = None
) -> None:
    """Drain Callers, all at once, and end them.

    Args:
        callers: Which.
        timeout_s: Seconds for which a Caller waits for its calls in flight at most.
        wait_s: Seconds to wait here. A Caller that then still has calls in flight is left to end
            by itself, which it does once its driver and they are gone; by default none is.
    """
    draining = {found.actor.drain.remote(timeout_s): found.actor for found in callers}
    if not draining:
        return
    patience_s = timeout_s + MARGIN_S if wait_s is None else wait_s
    drained, _ = ray.wait(list(draining), num_returns=len(draining), timeout=patience_s)
    for reference in draining if wait_s is None else drained:
        ray.kill(draining[reference], no_restart=True)
