"""A key is nowhere but in its place: not in files, not in output, not in Ray."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
import yaml

from rddg_ray.llm.keys import scrubbed

TIMEOUT_S = 240
# Errors of a server that echoes the Authorization header, in a body, in a page and in a 200.
ECHOES = ("echo 401", "echo 500", "echo 429", "echo page", "echo in a 200")


@pytest.fixture
def key():
    """Return a key like no other text, with characters that quoting and JSON change."""
    return f"rk!{secrets.token_hex(12)}/+{secrets.token_hex(6)}"


@pytest.fixture(params=["variable", "file"])
def source(request, key, tmp_path_factory):
    """Return the settings that lead to the key, and the environment they need."""
    if request.param == "variable":
        return {"api_key_env": "RDDG_TEST_KEY"}, {"RDDG_TEST_KEY": key}
    path = tmp_path_factory.mktemp("keys") / "key"
    path.touch(mode=0o600)
    path.write_text(key + "\n", encoding="utf-8")
    return {"api_key_file": str(path)}, {}


def forms(key):
    """Return the key's bytes as they stand and as they may be escaped."""
    standing = {key, quote(key, safe=""), quote(key), json.dumps(key)[1:-1], repr(key)[1:-1]}
    standing |= {key[3:27], key[-12:]}  # the parts that nothing escapes
    coded = {
        base64.b64encode(text.encode()).decode().rstrip("=")
        for text in (key, f"Bearer {key}", f":{key}")
    }
    return [text.encode() for text in standing | coded]


def leaks(folder, key):
    """Return the files below a folder that hold the key, decoded where they are Parquet."""
    found = []
    for path in Path(folder).rglob("*"):
        if not path.is_file() or path.is_symlink():
            continue
        with contextlib.suppress(FileNotFoundError):  # Ray takes its files away while we look
            content = path.read_bytes()
            if path.suffix == ".parquet":
                content += pd.read_parquet(path).to_csv().encode()
            found += [str(path) for form in forms(key) if form in content]
    return found


def in_text(text, key):
    return [form for form in forms(key) if form in text.encode()]


@pytest.fixture
def config(tmp_path, table_file):
    """Return a function that writes the settings of a small run."""

    def write(server, endpoint):
        path = tmp_path / "run.yaml"
        content = {
            "output": str(tmp_path / "run"),
            "tables": [{"path": str(table_file), "target": "state"}],
            "methods": ["original", "epic", "rddg_random_coreset"],
            "generation": {"rows_per_class": {"ill": 35}},
            "endpoint": {
                "kind": "openai", "model": "embedded-sampler", "base_url": server.base_url,
                "send_call_header": True, "timeout_s": 10.0, "max_attempts": 2, **endpoint,
            },
            "evaluation": {"classifiers": ["xgboost"], "classifier_states": [0]},
        }  # fmt: skip
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


def rddg(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "rddg_ray", *map(str, arguments)],
        env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip


def assert_clean(process, folders, key):
    assert in_text(process.stdout + process.stderr, key) == []
    for folder in folders:
        assert leaks(folder, key) == []


def test_the_search_finds_a_key_in_all_the_forms_it_may_take(tmp_path, key):
    texts = [key, quote(key, safe=""), base64.b64encode(f"Bearer {key}".encode()).decode()]
    for number, text in enumerate(texts):
        folder = tmp_path / str(number)
        folder.mkdir()
        pd.DataFrame({"a": [f"x {text} x"] * 9}).to_parquet(folder / "a.parquet")
        assert leaks(folder, key)
        assert not leaks(folder, key[::-1])


@pytest.mark.parametrize(
    "encode",
    [
        str,
        quote,
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="").lower(),
        json.dumps,
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    ],
)
def test_messages_lose_the_key_in_every_form(key, encode):
    for text in (key, f"Bearer {key}", f"api-key:{key}"):
        assert in_text(scrubbed(f"echo of {encode(text)} ends", key), key) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", ECHOES)
def test_what_a_server_echoes_of_the_key_is_nowhere_after_a_run_that_fails(
    fault, tmp_path, key, config, bad_servers
):
    server = bad_servers.MisbehavingServer(fault, share=0.5 if fault == "echo 429" else 1.0)
    with bad_servers.serving(server):
        path = config(server, {"api_key_env": "RDDG_TEST_KEY"})
        process = rddg("run", path, "--no-ray", RDDG_TEST_KEY=key)
        assert server.keys == {f"Bearer {key}"}
    assert process.returncode in (0 if fault == "echo 429" else 75, 77), process.stderr
    assert server.n_faults[fault] >= 1
    assert_clean(process, [tmp_path / "run"], key)
    shown = rddg("journal", tmp_path / "run")
    assert in_text(shown.stdout + shown.stderr, key) == []


@pytest.mark.slow
def test_a_run_in_one_process_leaves_no_trace_of_the_key(
    tmp_path, key, source, config, bad_servers
):
    endpoint, environment = source
    server = bad_servers.MisbehavingServer(*ECHOES[1:], share=0.3)
    with bad_servers.serving(server):
        process = rddg(
            "run", config(server, {**endpoint, "max_attempts": 6}), "--no-ray", **environment
        )
        assert process.returncode == 0, process.stderr
        assert server.keys == {f"Bearer {key}"}
    assert_clean(process, [tmp_path / "run"], key)


@pytest.fixture
def ray_home(short_folder):
    """Return the environment of a Ray of our own whose session stays when it ends."""
    bootstrap = "cluster_name: local\nprovider:\n  type: local\n"
    (short_folder / "ray_bootstrap_config.yaml").write_text(bootstrap, encoding="utf-8")
    return {
        "HOME": str(short_folder),
        "RAY_TMPDIR": str(short_folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


@pytest.mark.slow
@pytest.mark.ray
def test_a_run_on_ray_leaves_no_trace_of_the_key_in_its_session(  # noqa: PLR0917 - fixtures go by name
    tmp_path, key, source, config, bad_servers, short_folder, ray_home
):
    endpoint, environment = source
    # A start of Ray takes its time: the run with a key of the environment fails, the other ends.
    share = 1.0 if "api_key_env" in endpoint else 0.3
    faults = ECHOES[1:] if share < 1 else ECHOES[:1]
    server = bad_servers.MisbehavingServer(*faults, share=share)
    with bad_servers.serving(server):
        path = config(server, {**endpoint, "max_attempts": 6})
        process = rddg("run", path, **{**ray_home, **environment})
        assert process.returncode == (0 if share < 1 else 77), process.stderr
        assert server.keys == {f"Bearer {key}"}
    assert list(short_folder.rglob("session_*/logs/gcs_server.*"))
    assert_clean(process, [tmp_path / "run", short_folder], key)


# The HTTP client of the job API and the state API's pages, on a head of our own.
SUBMITTER = """
import json, sys, time
from ray.job_submission import JobSubmissionClient
address, entrypoint, deadline_s = sys.argv[1], sys.argv[2], time.time() + float(sys.argv[3])
while True:
    try:
        client = JobSubmissionClient(address)
        break
    except (ConnectionError, RuntimeError):
        if time.time() > deadline_s:
            raise
        time.sleep(0.5)
job = client.submit_job(entrypoint=entrypoint)
while not client.get_job_status(job).is_terminal() and time.time() < deadline_s:
    time.sleep(0.5)
info = client.get_job_info(job)
print(json.dumps({"code": info.driver_exit_code, "info": repr(info),
                  "jobs": repr(client.list_jobs()), "logs": client.get_job_logs(job)}))
"""
STATES = ("actors", "tasks", "workers", "nodes", "jobs", "objects", "runtime_envs",
          "placement_groups")  # fmt: skip


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def ray_head(folder, environment):
    """Run a head with a dashboard in processes of its own; yield the dashboard's address."""
    gcs, dashboard, agent = free_port(), free_port(), free_port()
    with (folder / "head.out").open("w") as out:
        head = subprocess.Popen(
            [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block",
             f"--port={gcs}", "--include-dashboard=true", f"--dashboard-port={dashboard}",
             "--dashboard-host=127.0.0.1", f"--dashboard-agent-listen-port={agent}",
             "--node-ip-address=127.0.0.1", f"--temp-dir={folder}", "--num-cpus=2"],
            env=environment, stdout=out, stderr=out, process_group=0,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}"
    finally:
        head.terminate()
        try:
            head.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(head.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.ray
def test_a_submitted_job_shows_the_key_in_neither_api_nor_session(  # noqa: PLR0917 - fixtures go by name
    tmp_path, key, config, bad_servers, short_folder, ray_home
):
    # As an operator does it: the variable is set where Ray is started, and named in the settings.
    environment = {**os.environ, **ray_home, "RAY_AUTH_MODE": "disabled", "RDDG_TEST_KEY": key}
    server = bad_servers.MisbehavingServer(ECHOES[0], share=1.0)
    with (
        bad_servers.serving(server),
        ray_head(short_folder, environment) as (dashboard, address),
    ):
        path = config(server, {"api_key_env": "RDDG_TEST_KEY", "max_attempts": 6})
        command = f"{sys.executable} -m rddg_ray run {path} --address {address}"
        bare = {name: value for name, value in environment.items() if name != "RDDG_TEST_KEY"}
        submitter = subprocess.run(
            [sys.executable, "-c", SUBMITTER, dashboard, command, str(TIMEOUT_S / 2)],
            env=bare, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        assert submitter.returncode == 0, submitter.stderr
        told = json.loads(submitter.stdout.splitlines()[-1])
        assert told["code"] == 77, told["logs"]
        assert server.keys == {f"Bearer {key}"}
        pages = {
            state: read_page(f"{dashboard}/api/v0/{state}?detail=True&limit=1000")
            for state in STATES
        }
        pages["api/jobs"] = read_page(f"{dashboard}/api/jobs/")
    assert "ChainHost" in pages["actors"]
    for name, text in {**pages, **told, "stderr": submitter.stderr}.items():
        assert in_text(str(text), key) == [], name
    for folder in (tmp_path / "run", short_folder):
        assert leaks(folder, key) == []


def read_page(address):
    with urllib.request.urlopen(address, timeout=60) as response:
        return response.read().decode()
