"""What `rddg doctor` finds, of real servers on loopback and of disks, packages and clocks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from rddg_ray.config import BudgetSettings, EmbeddedSettings, EndpointSettings
from rddg_ray.errors import ConfigError, PermanentLLMError, StoreError, TransientLLMError
from rddg_ray.exchange import RateHeaders
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.runtime.doctor import Diagnosis, examine
from rddg_ray.runtime.doctor.disk import (
    check_commits,
    check_file_system,
    check_folder,
    check_space,
    file_system_of,
)
from rddg_ray.runtime.doctor.endpoint import EndpointFindings, examine_endpoint
from rddg_ray.runtime.doctor.machine import check_clock, check_packages, check_python
from rddg_ray.runtime.doctor.ray_cluster import check_ray, check_ray_folder
from rddg_ray.runtime.doctor.record import Check
from rddg_ray.runtime.doctor.spending import check_budget, check_limits

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-planted-0123456789abcdef"
MODEL = "embedded-sampler"


def settings(base_url: str | None = None, **changes: Any) -> EndpointSettings:
    content = {"kind": "openai", "base_url": base_url, "model": MODEL, **changes}
    return EndpointSettings.model_validate(content)


def named(found: EndpointFindings | Diagnosis) -> dict[str, Check]:
    return {check.name: check for check in found.checks}


@contextmanager
def answering(status: int, body: str, content_type: str) -> Iterator[str]:
    """Serve one answer to every request; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def locked() -> Iterator[str]:
    """The address of an embedded server that wants a key."""
    with serve_in_thread(api_key=KEY) as server:
        yield server.base_url


class TestEndpoint:
    def test_the_embedded_sampler_is_started_on_loopback_and_says_what_it_is(self) -> None:
        found = named(examine_endpoint(EndpointSettings()))
        assert {check.status for check in found.values()} == {"ok"}
        assert "not a language model, at http://127.0.0.1:" in found["endpoint"].figure
        assert found["key"].figure == "none named, none sent"
        assert found["model"].data["n_listed"] == 1

    def test_a_server_with_the_right_key_is_all_well(self, locked: str, key_file: Path) -> None:
        found = examine_endpoint(settings(locked, api_key_file=key_file))
        assert {name: check.status for name, check in named(found).items()} == {
            "endpoint": "ok",
            "key": "ok",
            "model": "ok",
        }
        assert found.listing is not None
        assert check_clock(found.listing.date, found.listing.received_s).status == "ok"
        assert not found.is_called

    def test_a_refused_key_is_a_failure_of_the_key_and_never_shown(
        self, locked: str, key_file: Path
    ) -> None:
        key_file.write_text(KEY + "-old")
        found = examine_endpoint(settings(locked, api_key_file=key_file), make_call=True)
        checks = named(found)
        assert checks["endpoint"].status == "ok"
        assert checks["key"].status == "failed"
        assert isinstance(checks["key"].error, PermanentLLMError)
        assert checks["key"].error.status == 401
        assert "call" not in checks
        assert KEY not in str([check.as_json() for check in found.checks])

    def test_no_key_at_a_server_that_wants_one_says_how_to_name_one(self, locked: str) -> None:
        check = named(examine_endpoint(settings(locked)))["key"]
        assert check.status == "failed"
        assert "api_key_env" in check.advice

    @pytest.mark.skipif(os.name != "posix", reason="file modes")
    def test_a_key_file_that_others_may_read_is_a_warning(
        self, locked: str, key_file: Path
    ) -> None:
        key_file.chmod(0o644)
        check = named(examine_endpoint(settings(locked, api_key_file=key_file)))["key"]
        assert (check.status, check.data["mode"]) == ("warning", 0o644)
        assert check.advice == f"others may read it: chmod 600 {key_file}"

    def test_a_key_that_is_not_there_fails_before_anything_is_asked(self, tmp_path: Path) -> None:
        absent = settings("http://127.0.0.1:9/v1", api_key_file=tmp_path / "absent")
        (check,) = examine_endpoint(absent).checks
        assert (check.name, check.status) == ("key", "failed")
        assert isinstance(check.error, ConfigError)
        unset = settings("http://127.0.0.1:9/v1", api_key_env="RDDG_TEST_NEVER_SET")
        (check,) = examine_endpoint(unset).checks
        assert "RDDG_TEST_NEVER_SET" in check.figure

    def test_a_closed_port_is_an_endpoint_that_is_away(self) -> None:
        with serve_in_thread() as server:
            address = server.base_url
        check = named(examine_endpoint(settings(address), make_call=True))["endpoint"]
        assert check.status == "failed"
        assert isinstance(check.error, TransientLLMError)
        assert address in check.figure

    def test_user_name_and_password_in_an_address_fail_and_are_not_shown(self) -> None:
        (check,) = examine_endpoint(settings("http://me:hush@127.0.0.1:9/v1?t=hush")).checks
        assert isinstance(check.error, ConfigError)
        assert "http://127.0.0.1:9/v1" in check.figure
        assert "hush" not in str(check.as_json())

    def test_a_query_in_an_address_is_a_warning_and_not_shown(self) -> None:
        with serve_in_thread() as server:
            check = named(examine_endpoint(settings(server.base_url + "?token=hush")))["endpoint"]
        assert check.status == "warning"
        assert "hush" not in str(check.as_json())

    def test_an_address_that_is_none_is_a_matter_of_settings(self) -> None:
        check = named(examine_endpoint(settings("localhost:8000")))["endpoint"]
        assert isinstance(check.error, ConfigError)

    def test_a_server_without_a_list_of_models_is_a_warning(self) -> None:
        with answering(404, '{"error": {"message": "no"}}', "application/json") as address:
            checks = named(examine_endpoint(settings(address)))
        assert checks["endpoint"].status == "ok"
        assert checks["model"].status == "warning"
        assert "the server lists no models (404)" in checks["model"].figure

    def test_a_page_for_people_is_no_endpoint(self) -> None:
        with answering(200, "<html><body>Welcome</body></html>", "text/html") as address:
            free = named(examine_endpoint(settings(address)))
            called = named(examine_endpoint(settings(address), make_call=True))
        assert free["endpoint"].status == "failed"
        assert isinstance(free["endpoint"].error, ConfigError)
        assert "usually in /v1" in free["endpoint"].advice
        # A call decides: it failed as well.
        assert called["endpoint"].status == "warning"
        assert called["call"].status == "failed"

    def test_a_server_that_fails_is_away(self) -> None:
        with answering(503, '{"error": {"message": "later"}}', "application/json") as address:
            check = named(examine_endpoint(settings(address)))["endpoint"]
        assert isinstance(check.error, TransientLLMError)
        assert check.error.status == 503

    def test_a_model_that_is_not_listed_is_a_warning_with_the_like(self) -> None:
        with serve_in_thread() as server:
            check = named(examine_endpoint(settings(server.base_url, model="embeded-sampler")))[
                "model"
            ]
        assert check.status == "warning"
        assert "did you mean embedded-sampler?" in check.advice

    def test_a_call_is_made_only_where_it_is_asked_for(self) -> None:
        with serve_in_thread() as server:
            examine_endpoint(settings(server.base_url))
            assert server.n_requests == 0
            found = examine_endpoint(settings(server.base_url), make_call=True)
            assert server.n_requests == 1
        call = named(found)["call"]
        assert call.status == "ok"
        assert 0 < call.data["completion_tokens"] <= 16
        assert found.is_called

    def test_a_call_learns_the_limits_of_the_endpoint(self) -> None:
        limited = EmbeddedSettings(requests_per_minute=60, tokens_per_minute=90_000)
        with serve_in_thread(limited) as server:
            found = examine_endpoint(settings(server.base_url), make_call=True)
        assert found.rate is not None
        assert (found.rate.limit_requests, found.rate.limit_tokens) == (60, 90_000)

    def test_recordings_are_counted_and_need_no_key(self, tmp_path: Path) -> None:
        path = tmp_path / "calls.jsonl"
        path.write_text('{"prompt": "a", "reply": "b"}\n{"prompt": "c", "reply": "d"}\n')
        replay = EndpointSettings(kind="replay", replay_path=path)
        (check,) = examine_endpoint(replay).checks
        assert (check.status, check.data["n_replies"]) == ("ok", 2)
        gone = EndpointSettings(kind="replay", replay_path=tmp_path / "none.jsonl")
        (check,) = examine_endpoint(gone).checks
        assert isinstance(check.error, ConfigError)


class TestSpending:
    TOLD = RateHeaders(limit_requests=60, limit_tokens=1000, reset_requests_s=1.0)

    def test_settings_above_the_endpoints_limits_are_a_warning(self) -> None:
        limits = {"requests_per_minute": 100, "tokens_per_minute": 1000}
        check = check_limits(
            settings("http://localhost/v1", limits=limits), self.TOLD, is_called=True
        )
        assert check.status == "warning"
        assert "requests_per_minute 100 is above the endpoint's 60" in check.advice
        assert "tokens_per_minute" not in check.advice

    def test_settings_at_or_below_them_are_fine(self) -> None:
        limits = {"requests_per_minute": 60}
        given = settings("http://localhost/v1", limits=limits)
        assert check_limits(given, self.TOLD, is_called=True).status == "ok"
        assert "not asked" in check_limits(given, None, is_called=False).figure

    def test_a_limit_of_a_day_is_no_limit_of_a_minute(self) -> None:
        told = RateHeaders(limit_requests=50, reset_requests_s=3600.0)
        limits = {"requests_per_minute": 100}
        given = settings("http://localhost/v1", limits=limits)
        assert check_limits(given, told, is_called=True).status == "ok"

    def test_no_limit_known_says_what_happens_then(self) -> None:
        check = check_limits(EndpointSettings(), None, is_called=False)
        assert check.figure.startswith("none known: learned from")

    def test_an_endpoint_elsewhere_without_a_cap_is_a_warning(self) -> None:
        assert check_budget(settings("https://llm.example/v1")).status == "warning"
        capped = settings("https://llm.example/v1", budget=BudgetSettings(max_calls=10))
        assert check_budget(capped).status == "ok"
        assert check_budget(settings("http://127.0.0.1:8000/v1")).status == "ok"
        assert check_budget(EndpointSettings()).status == "ok"


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/me/my\\040disk xfs rw 0 0
none /tmp tmpfs rw 0 0
store /mnt/data lustre rw 0 0
me@host: /mnt/far fuse.sshfs rw 0 0
"""


class TestDisk:
    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/var/x", "ext4"),
            ("/home/me", "nfs4"),
            ("/homes", "ext4"),
            ("/home/me/my disk/runs", "xfs"),
            ("/tmp", "tmpfs"),
        ],
    )
    def test_the_nearest_mount_above_a_path_holds_it(self, path: str, kind: str) -> None:
        found = file_system_of(Path(path), MOUNTS)
        assert found is not None
        assert found[0] == kind

    def test_of_two_mounts_on_one_point_the_later_one_holds(self) -> None:
        mounts = "a /data ext4 rw 0 0\nb /data nfs rw 0 0\n"
        assert file_system_of(Path("/data"), mounts) == ("nfs", "/data")

    @pytest.mark.parametrize(
        ("kind", "status"),
        [
            ("ext4", "ok"), ("xfs", "ok"), ("overlay", "ok"), ("nfs", "failed"),
            ("cifs", "failed"), ("fuse.sshfs", "failed"), ("lustre", "warning"),
            ("fuse.other", "warning"), ("tmpfs", "warning"),
        ],
    )  # fmt: skip
    def test_a_journal_on_a_network_file_system_fails(
        self, tmp_path: Path, kind: str, status: str
    ) -> None:
        check = check_file_system(tmp_path, f"x / {kind} rw 0 0\n")
        assert check.status == status
        assert (check.error is None) == (status != "failed")
        assert not isinstance(check.error, ConfigError)

    def test_a_system_without_a_list_of_mounts_is_no_failure(self, tmp_path: Path) -> None:
        assert check_file_system(tmp_path, None).status == "ok"

    def test_a_folder_to_come_is_looked_at_where_it_will_be_and_left_alone(
        self, tmp_path: Path
    ) -> None:
        checks = check_folder(tmp_path / "a" / "b")
        assert [check.name for check in checks] == ["folder", "file system", "commit"]
        assert not any(check.status == "failed" for check in checks)
        assert checks[2].data["median_s"] > 0
        assert list(tmp_path.iterdir()) == []

    def test_a_file_in_the_place_of_a_folder_fails(self, tmp_path: Path) -> None:
        (tmp_path / "runs").write_text("")
        (check,) = check_folder(tmp_path / "runs" / "x")
        assert isinstance(check.error, StoreError)

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_that_cannot_be_written_fails(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        (check,) = check_folder(tmp_path / "runs")
        tmp_path.chmod(0o700)
        assert isinstance(check.error, StoreError)

    def test_a_place_where_no_journal_can_be_kept_fails(self) -> None:
        check = check_commits(Path("/proc"))
        assert isinstance(check.error, StoreError)

    def test_space_is_compared_with_what_replies_take(self, tmp_path: Path) -> None:
        assert check_space(tmp_path, None).data["needed_bytes"] is None
        assert check_space(tmp_path / "to come", 1000).data["needed_bytes"] == 8000
        check = check_space(tmp_path, 10**18)
        assert isinstance(check.error, StoreError)


class TestMachine:
    def test_this_python_and_these_packages_are_as_wanted(self) -> None:
        assert check_python().status == "ok"
        assert check_packages(["numpy>=1", "nothing-like-it>=1; extra == 'dev'"]).status == "ok"

    def test_a_package_that_is_absent_or_too_old_is_named(self) -> None:
        check = check_packages(["numpy>=999", "no-such-distribution>=1", "pandas>=1"])
        assert isinstance(check.error, ConfigError)
        assert "no-such-distribution absent, >=1 wanted" in check.figure
        assert ">=999 wanted" in check.figure
        assert "pandas" not in check.figure

    @pytest.mark.parametrize(
        ("now_s", "status"), [(784111777.9, "ok"), (784111784.0, "warning"), (784111770, "warning")]
    )
    def test_a_clock_far_from_the_endpoints_is_a_warning(self, now_s: float, status: str) -> None:
        # The example date of RFC 9110 is 784111777 s after 1970.
        check = check_clock("Sun, 06 Nov 1994 08:49:37 GMT", now_s)
        assert check.status == status
        assert check.data["skew_s"] == pytest.approx(now_s - 784111777.5)

    def test_without_another_clock_none_is_compared(self) -> None:
        assert "no other clock" in check_clock(None).figure

    def test_a_cluster_that_is_not_there_fails(self) -> None:
        check = check_ray("127.0.0.1:9")
        assert isinstance(check.error, ConfigError)
        assert "127.0.0.1:9" in check.figure

    def test_no_ray_is_started_unasked(self) -> None:
        assert "runs start one" in check_ray(None).figure
        assert check_ray_folder().data["n_characters"] > 0


class TestWhole:
    @pytest.fixture
    def write(self, tmp_path: Path, table_file: Path) -> Callable[..., Path]:
        """Return a function from endpoint settings to a settings file."""

        def make(**endpoint: Any) -> Path:
            content = {
                "output": str(tmp_path / "run"),
                "tables": [{"path": str(table_file), "target": "state"}],
                "methods": ["epic", "rddg"],
                "generation": {"rows_per_class": 10},
                "endpoint": endpoint,
            }
            path = tmp_path / "run.yaml"
            path.write_text(yaml.safe_dump(content))
            return path

        return make

    def test_the_defaults_have_no_failure(self, tmp_path: Path) -> None:
        found = examine(output=tmp_path / "runs")
        assert found.failures == ()
        assert found.count("failed") == 0
        assert [check.name for check in found.checks[:4]] == [
            "settings", "endpoint", "key", "model",
        ]  # fmt: skip

    def test_a_plan_is_counted_and_a_cap_below_it_a_warning(
        self, write: Callable[..., Path]
    ) -> None:
        # epic: 1 call; rddg: 1 call after 2.
        plan = named(examine(write()))["plan"]
        assert (plan.status, plan.data["n_calls"]) == ("ok", 4)
        plan = named(examine(write(budget={"max_calls": 2})))["plan"]
        assert plan.status == "warning"
        assert "endpoint.budget.max_calls 2 ends the run" in plan.advice

    def test_options_replace_the_files_endpoint(
        self, write: Callable[..., Path], key_file: Path
    ) -> None:
        config = write(kind="openai", base_url="http://127.0.0.1:9/v1", model=MODEL,
                       api_key_env="RDDG_TEST_NEVER_SET")  # fmt: skip
        assert named(examine(config))["key"].status == "failed"
        with serve_in_thread(api_key=KEY) as server:
            found = examine(config, {"base_url": server.base_url, "api_key_file": key_file})
        assert found.failures == ()

    def test_settings_that_cannot_be_read_leave_the_checks_of_the_machine(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "run.yaml"
        path.write_text("tables: []\nendpont: {}\n")
        found = examine(path)
        checks = named(found)
        assert isinstance(checks["settings"].error, ConfigError)
        assert str(path) in checks["settings"].figure
        assert "torch" in checks
        assert "endpoint" not in checks

    def test_a_table_that_cannot_be_read_is_a_failure(
        self, write: Callable[..., Path], tmp_path: Path
    ) -> None:
        config = write()
        content = yaml.safe_load(config.read_text())
        content["tables"] = [{"path": str(tmp_path / "none.csv"), "target": "state"}]
        config.write_text(yaml.safe_dump(content))
        assert named(examine(config))["plan"].status == "failed"

    def test_a_table_of_the_network_is_not_fetched(self, write: Callable[..., Path]) -> None:
        config = write()
        content = yaml.safe_load(config.read_text())
        content["tables"] = [{"path": "http://127.0.0.1:9/x.csv", "target": "state"}]
        config.write_text(yaml.safe_dump(content))
        plan = named(examine(config))["plan"]
        assert (plan.status, plan.data["remote"]) == ("ok", ["x"])

    def test_the_demo_is_examined_without_a_connection_off_the_loopback(self) -> None:
        script = """
import sys
sys.addaudithook(lambda event, found: event == "socket.connect" and print(found[1]))
from pathlib import Path
from rddg_ray.runtime.doctor import examine
print(len(examine(Path("jobs/configs/demo.yaml"), make_call=True).failures))
"""
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
        )
        *connected, n_failures = done.stdout.splitlines()
        assert n_failures == "0"
        assert connected
        assert all(line.startswith("('127.0.0.1', ") for line in connected)

    @pytest.mark.ray
    def test_a_cluster_that_runs_is_joined_and_counted(self, on_ray: Callable[[], Any]) -> None:
        on_ray()
        check = check_ray("auto")
        assert (check.status, check.data["nodes"], check.data["cpus"]) == ("ok", 1, 2.0)


@pytest.mark.parametrize("method", ["epic", "rddg"])
def test_limits_of_a_chain_change_neither_the_prompts_shown_nor_the_effort(
    table_file: Path, method: str
) -> None:
    from rddg_ray.config import SynthesisSettings
    from rddg_ray.runtime.previewing import preview
    from rddg_ray.table import from_frame

    table = from_frame(pd.read_csv(table_file), "state", name="people")

    def shown(**limits: Any) -> Any:
        generation = {"rows_per_class": {"ill": 40}, **limits}
        content = {"method": method, "generation": generation}
        return preview(table, SynthesisSettings.model_validate(content))

    unlimited = shown()
    assert unlimited.prompts[-1].phase == "generation"
    assert unlimited.effort.n_most_rounds == 3
    for limits in (
        {"max_rounds": 1},
        {"max_empty_rounds": 1},
        {"max_calls": 1},
        {"max_completion_tokens": "auto"},
    ):
        found = shown(**limits)
        assert (found.prompts, found.efforts) == (unlimited.prompts, unlimited.efforts)


def test_previews_of_a_run_and_of_its_table_agree(table_file: Path) -> None:
    from rddg_ray.config import RunSettings, TableSettings
    from rddg_ray.runtime.previewing import preview_tables
    from rddg_ray.table import from_frame

    table = from_frame(pd.read_csv(table_file), "state", name="people")
    run = RunSettings.model_validate(
        {
            "tables": [TableSettings(name="people", path="people", target="state")],
            "methods": ["original", "epic", "rddg"],
            "generator_states": [0, 1],
            "generation": {"rows_per_class": {"ill": 40, "odd": 20}, "chain_per": "class"},
        }
    )
    found = preview_tables(run, {"people": table})
    assert found.targets["people"] == {"ill": 40, "odd": 20, "well": 0}
    # Chains of 3 and 2 batches, twice; rddg asks two more each.
    epic, rddg = found.efforts["people", "epic"], found.efforts["people", "rddg"]
    assert (epic.n_chains, epic.usage.n_calls, epic.n_longest) == (4, 10, 3)
    assert (rddg.n_chains, rddg.usage.n_calls, rddg.n_longest) == (4, 18, 5)
    assert found.effort.usage.n_calls == 28
    assert found.effort.n_at_once == 8
