"""Checks of this machine: Python, packages, torch and its GPUs, the clock."""

from __future__ import annotations

import email.utils
import os
import platform
import sys
import time
from importlib import metadata
from typing import TYPE_CHECKING

from rddg_ray.coreset.devices import torch_devices
from rddg_ray.errors import ConfigError
from rddg_ray.runtime.doctor.record import Check, failed, ok, warning

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "rddg-ray"
_MOST_SKEW_S = 5.0


def check_python() -> Check:
    """Compare this Python with the least that the package asks for."""
    from packaging.specifiers import SpecifierSet  # which Ray and matplotlib need as well

    found = platform.python_version()
    wanted = _wanted_python()
    figure = f"{found} ({sys.executable}), {wanted} wanted; {os.cpu_count()} CPUs"
    if not SpecifierSet(wanted).contains(found, prereleases=True):
        return failed("python", ConfigError(f"python: {figure}"), f"run it with Python {wanted}")
    return ok("python", figure, version=found)


def check_packages(requirements: list[str] | None = None) -> Check:
    """Compare installed packages with what this package asks for.

    Args:
        requirements: As `pip` reads them; by default those of this package.
    """
    from packaging.requirements import Requirement

    if requirements is None:
        try:
            requirements = metadata.requires(DISTRIBUTION) or []
        except metadata.PackageNotFoundError:
            figure = f"{DISTRIBUTION} is not installed, so its requirements are not known"
            return warning("packages", figure, "install it: pip install .")
    wanted = [Requirement(text) for text in requirements]
    wanted = [need for need in wanted if need.marker is None or need.marker.evaluate({"extra": ""})]
    found = {need.name: _version(need.name) for need in wanted}
    wrong = [
        f"{need.name} {found[need.name] or 'absent'}, {need.specifier} wanted"
        for need in wanted
        if not _fits(found[need.name], need)
    ]
    if wrong:
        error = ConfigError(f"packages: {'; '.join(wrong)}")
        return failed("packages", error, "install them: pip install -U rddg-ray", versions=found)
    return ok("packages", f"{len(found)} as wanted", versions=found)


def _fits(version: str | None, need: Requirement) -> bool:
    return version is not None and need.specifier.contains(version, prereleases=True)


def check_torch() -> Check:
    """Import torch and say whether it can use a GPU; the CPU is enough."""
    try:
        found = torch_devices()
    except (ImportError, OSError) as error:
        problem = ConfigError(f"torch cannot be imported: {error}")
        return failed("torch", problem, "install torch for this machine; coresets need it")
    built = "a build without CUDA" if found.cuda_version is None else f"CUDA {found.cuda_version}"
    gpus = f"GPUs: {', '.join(found.gpus)}" if found.gpus else "no GPU: coresets use the CPU"
    return ok("torch", f"{found.version} ({built}), {gpus}", version=found.version, gpus=found.gpus)


def check_clock(server_date: str | None = None, received_s: float | None = None) -> Check:
    """Compare this machine's clock with the endpoint's.

    Args:
        server_date: The `Date` header of an answer, whole seconds; None where there was none.
        received_s: POSIX seconds at which the answer came; the clock's by default.
    """
    now_s = time.time() if received_s is None else received_s
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    parts = email.utils.parsedate_tz(server_date or "")
    if parts is None:
        return ok("clock", f"{shown}; no other clock to compare it with")
    # The header is cut to whole seconds: half of one is the least that it is off by.
    skew_s = now_s - email.utils.mktime_tz(parts) - 0.5
    figure = f"{shown}, {skew_s:+.1f} s from the endpoint's"
    if abs(skew_s) > _MOST_SKEW_S:
        advice = "set the clock (NTP): waits that a server gives as a date come out wrong"
        return warning("clock", figure, advice, skew_s=skew_s)
    return ok("clock", figure, skew_s=skew_s)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _wanted_python() -> str:
    try:
        return str(metadata.metadata(DISTRIBUTION)["Requires-Python"])
    except metadata.PackageNotFoundError:
        return ">=3.11"
