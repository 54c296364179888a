"""`rddg doctor`: what a run needs, looked at before anything is paid for.

Each check is a small function that returns a record; `examine` puts them in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rddg_ray.config import EndpointSettings, RunSettings, checked, load_settings
from rddg_ray.errors import RddgError
from rddg_ray.llm.probing import Listing
from rddg_ray.runtime.doctor.disk import check_folder, check_space
from rddg_ray.runtime.doctor.endpoint import examine_endpoint
from rddg_ray.runtime.doctor.machine import (
    check_clock,
    check_packages,
    check_python,
    check_torch,
)
from rddg_ray.runtime.doctor.ray_cluster import check_ray, check_ray_folder
from rddg_ray.runtime.doctor.record import Check, Diagnosis, Status, failed, ok
from rddg_ray.runtime.doctor.spending import check_budget, check_limits, check_plan

__all__ = ["Check", "Diagnosis", "Status", "examine"]

_DEFAULT_OUTPUT = Path("runs")


def examine(
    config: Path | None = None,
    endpoint: Mapping[str, Any] | None = None,
    *,
    output: Path | None = None,
    address: str | None = None,
    make_call: bool = False,
    start_ray: bool = False,
) -> Diagnosis:
    """Look at everything a run needs.

    Only the endpoint and the Ray cluster that are named are connected to; the default is the
    embedded sampler on the loopback address, and no Ray.

    Args:
        config: Settings file of a run; without it the defaults.
        endpoint: Endpoint settings that replace the file's, by key.
        output: Run directory instead of the file's.
        address: Of a running Ray cluster.
        make_call: Whether to make one call of a few tokens, which may cost money.
        start_ray: Whether to start and end a local Ray.
    """
    machine = (check_python(), check_packages(), check_torch())
    try:
        run, settings = _settings(config, endpoint or {})
    except RddgError as error:
        rest = (check_ray(address, start=start_ray), check_ray_folder(), *machine)
        return Diagnosis((failed("settings", error), *rest, check_clock()))
    found = examine_endpoint(settings, make_call=make_call)
    plan, n_tokens = _plan(run, settings)
    folder = output or (_DEFAULT_OUTPUT if run is None else run.output)
    return Diagnosis(
        (
            ok("settings", "the defaults" if config is None else str(config)),
            *found.checks,
            check_limits(settings, found.rate, is_called=found.is_called),
            check_budget(settings),
            *plan,
            *check_folder(folder),
            check_space(folder, n_tokens),
            check_ray(address, start=start_ray),
            check_ray_folder(),
            *machine,
            _clock(found.listing),
        )
    )


def _settings(
    config: Path | None, endpoint: Mapping[str, Any]
) -> tuple[RunSettings | None, EndpointSettings]:
    if config is None:
        return None, checked(EndpointSettings, endpoint, "command line")
    run = load_settings(config)
    given = run.endpoint.model_dump(exclude_unset=True)
    if endpoint.get("api_key_env") or endpoint.get("api_key_file"):
        given = {key: value for key, value in given.items() if not key.startswith("api_key")}
    return run, checked(EndpointSettings, {**given, **endpoint}, f"{config} and command line")


def _clock(listing: Listing | None) -> Check:
    return check_clock() if listing is None else check_clock(listing.date, listing.received_s)


def _plan(
    run: RunSettings | None, settings: EndpointSettings
) -> tuple[tuple[Check, ...], int | None]:
    if run is None:
        return (), None
    check, ahead = check_plan(run.model_copy(update={"endpoint": settings}))
    if ahead is None:
        return (check,), None
    usage = ahead.effort.usage
    return (check,), usage.prompt_tokens + usage.completion_tokens
