"""Nothing but the loopback: not the package, not Ray, not any library they import."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

TIMEOUT_S = 120

# Imported by every Python process at its start, Ray's included.
SITECUSTOMIZE = """
import os, sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        seen = arguments[1]
        seen = seen[0] if isinstance(seen, tuple) else None
    elif event == "socket.getaddrinfo":
        seen = arguments[0]
    else:
        return
    line = f"{event} {seen} {sys.argv[:1]}" + chr(10)
    descriptor = os.open(os.environ["RDDG_TEST_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)

sys.addaudithook(watch)
"""

CONFIG = """
tables: [{path: people.csv, target: state}]
methods: [original, smotenc, rddg]
output: out
coreset: {epochs: 6, ensemble: 1}
generation: {rows_per_class: {ill: 5}}
evaluation: {classifiers: [xgboost, catboost, lightgbm], classifier_states: [0]}
"""

# Calls of strace with an address in them: sin_addr=inet_addr("1.2.3.4"), inet_pton(AF_INET6, ...).
_ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """Return the folder of a run on a local Ray that was watched, and what strace saw."""
    folder = tmp_path_factory.mktemp("network")
    rng = np.random.default_rng(0)
    pd.DataFrame(
        {
            "age": rng.integers(18, 80, 60),
            "dose": rng.normal(5.0, 1.0, 60).round(2),
            "state": ["ill"] * 15 + ["well"] * 45,
        }
    ).to_csv(folder / "people.csv", index=False)
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    (folder / "run.yaml").write_text(CONFIG)
    command = [sys.executable, "-c", "from rddg_ray.cli import main; main()", "run", "run.yaml"]
    if can_trace():
        command = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg",
                   "-e", "signal=none", "-o", "strace.log", *command]  # fmt: skip
    environment = {
        **os.environ,
        "RDDG_TEST_LOG": str(folder / "python.log"),
        "PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parents[1])]),
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def can_trace():
    """Return whether strace is here and allowed to trace."""
    if shutil.which("strace") is None:
        return False
    probe = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", os.devnull, "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def is_local(address):
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address == "localhost"
    ip = getattr(ip, "ipv4_mapped", None) or ip
    # An unspecified address stands for this machine.
    return ip.is_loopback or ip.is_unspecified


@pytest.mark.ray
@pytest.mark.slow
def test_no_python_process_of_a_run_names_an_address_off_the_loopback(observed):
    lines = (observed / "python.log").read_text().splitlines()
    assert any("127.0.0.1" in line for line in lines)
    named = {line.split()[1] for line in lines}
    # None: a socket file, or the wildcard address.
    assert {name for name in named - {"None"} if not is_local(name)} == set()


@pytest.mark.ray
@pytest.mark.slow
def test_no_process_of_a_run_sends_off_the_loopback(observed):
    if not (observed / "strace.log").exists():
        pytest.skip("no strace that may trace")
    seen: dict[str, str] = {}
    for line in (observed / "strace.log").read_text(errors="replace").splitlines():
        for found in _ADDRESS.finditer(line):
            seen.setdefault(found[1] or found[2], line)
    assert any(map(is_local, seen))
    assert {address: line for address, line in seen.items() if not is_local(address)} == {}
