"""Checks of Ray: its folder, and the cluster that is given or started for it."""

from __future__ import annotations

import os
import tempfile
from importlib import metadata
from pathlib import Path

from rddg_ray.errors import ConfigError, RddgError
from rddg_ray.runtime.cluster import ray_session
from rddg_ray.runtime.doctor.record import Check, failed, ok, warning

# Sockets lie some 60 characters below the folder, and a socket's path ends at 107.
_MAX_FOLDER_CHARACTERS = 45


def check_ray(address: str | None, *, start: bool = False) -> Check:
    """Say which Ray there is, and join or start it where that is asked for.

    Args:
        address: Of a running cluster; None for a local Ray, which `start` starts and ends.
        start: Whether to start a local Ray, which takes seconds.
    """
    version = metadata.version("ray")
    if address is None and not start:
        figure = f"{version}; runs start one here (--start-ray tries it, --address joins one)"
        return ok("ray", figure, version=version)
    try:
        with ray_session(address):
            return _resources(version, address)
    except RddgError as error:
        return failed("ray", error, "", version=version)
    except RuntimeError as error:
        problem = ConfigError(f"Ray {version} does not start here: {error}")
        return failed("ray", problem, "run with --no-ray, or see Ray's logs", version=version)


def _resources(version: str, address: str | None) -> Check:
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    total = ray.cluster_resources()
    cpus, gpus = total.get("CPU", 0.0), total.get("GPU", 0.0)
    where = "started here" if address is None else f"at {address}"
    figure = f"{version} {where}: nodes {len(alive)}, CPUs {cpus:g}, GPUs {gpus:g}"
    data = {"version": version, "nodes": len(alive), "cpus": cpus, "gpus": gpus}
    if cpus < 1:
        return warning("ray", figure, "without a CPU nothing is scheduled: add a node", **data)
    return ok("ray", figure, **data)


def check_ray_folder() -> Check:
    """Say where a local Ray keeps its sockets and logs, and whether the path is short enough."""
    given = os.environ.get("RAY_TMPDIR")
    folder = Path(given or tempfile.gettempdir())
    figure = f"{folder} ({len(str(folder))} characters)"
    data = {"path": str(folder), "n_characters": len(str(folder))}
    if given and len(given) > _MAX_FOLDER_CHARACTERS:
        problem = ConfigError(f"RAY_TMPDIR {figure}: Ray's sockets cannot lie below it")
        advice = f"choose one of at most {_MAX_FOLDER_CHARACTERS} characters, such as /tmp"
        return failed("ray folder", problem, advice, **data)
    if not os.access(folder, os.W_OK):
        problem = ConfigError(f"{figure} cannot be written")
        return failed("ray folder", problem, "set RAY_TMPDIR or TMPDIR to one that can", **data)
    return ok("ray folder", figure, **data)
