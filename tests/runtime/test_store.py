"""The run directory: one driver at a time, and only whole results in place."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import closing

import pandas as pd
import pytest

from rddg_ray.errors import StoreError
from rddg_ray.runtime.chains import PROVENANCE
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.pipeline import generate_rows, run
from rddg_ray.runtime.store import RunDirectory, check_visible, entry_key, partition
from rddg_ray.runtime.tables import prepare

HOLDER = """
import sys, time
from pathlib import Path
from rddg_ray.config import settings_from
from rddg_ray.runtime.store import RunDirectory
from rddg_ray.runtime.tables import prepare
import json
settings = settings_from(json.loads(sys.argv[1]))
store = RunDirectory(settings.output)
store.open(settings, {e.label: prepare(e).train for e in settings.tables})
print("held", flush=True)
time.sleep(60)
"""


def small(configure, path, **changes):
    return configure(path, **{"methods": ["epic"], "generator_states": [0]} | changes)


def tables(settings):
    return {entry.label: prepare(entry).train for entry in settings.tables}


def made(configure, path, **changes):
    settings = small(configure, path, **changes)
    return generate_rows(settings, tables(settings), LocalExecutor())


class Losing(LocalExecutor):
    """Loses a row while it gathers."""

    def gather(self, work, folders):
        super().gather(work, folders)
        [file] = folders["rows"].glob("*.parquet")
        pd.read_parquet(file).iloc[1:].to_parquet(file, index=False)


def test_a_second_driver_is_refused_until_the_first_is_gone(tmp_path, configure):
    settings = small(configure, tmp_path / "run")
    command = [sys.executable, "-c", HOLDER, settings.model_dump_json()]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with closing(first.stdout):
        assert first.stdout.readline() == "held\n"
        with (
            closing(RunDirectory(settings.output)) as second,
            pytest.raises(StoreError, match=f"process {first.pid}"),
        ):
            second.open(settings, tables(settings))
        first.send_signal(signal.SIGKILL)
        first.wait()
    with closing(RunDirectory(settings.output)) as third:
        third.open(settings, tables(settings))
        assert third.epoch == 2


def test_every_start_has_an_epoch_of_its_own_even_after_a_torn_lease(tmp_path, configure):
    settings = small(configure, tmp_path / "run")
    epochs = []
    for torn in (False, False, True, True):
        if torn:
            (tmp_path / "run" / "LEASE").write_text('{"epoch": ')
        with closing(RunDirectory(settings.output)) as store:
            store.open(settings, tables(settings))
            epochs.append(store.epoch)
    assert epochs == [1, 2, 3, 4]


def test_a_wrong_count_publishes_nothing_and_the_next_start_does(tmp_path, configure, server):
    settings = small(configure, tmp_path / "run")
    with pytest.raises(StoreError, match="29 rows, the chains said 30"):
        generate_rows(settings, tables(settings), Losing())
    store, n_requests = RunDirectory(settings.output), server.n_requests
    assert store.manifest() == {}
    assert not list(settings.output.glob("rows/**/*.parquet"))
    generate_rows(settings, tables(settings), LocalExecutor())
    assert len(store.read_published("rows", "people", "epic")) == 30
    assert server.n_requests == n_requests


@pytest.mark.parametrize("lost", [["chains"], ["chains", "rejects"], ["chains", "rejects", "rows"]])
def test_a_run_killed_while_it_published_is_published_once(
    tmp_path, configure, published, lost, server
):
    # What a kill between the manifest's steps leaves: files in place, entries not yet written.
    path = made(configure, tmp_path / "run").path
    whole, n_requests = published(path), server.n_requests
    manifest = RunDirectory(path).manifest()
    (path / "_manifest.json").write_text(
        json.dumps({kind: entries for kind, entries in manifest.items() if kind not in lost})
    )
    (path / ".staging" / "rows").mkdir(parents=True)
    (path / ".staging" / "rows" / "part-00000.parquet").write_bytes(b"half")
    made(configure, tmp_path / "run")
    again = published(path)
    assert server.n_requests == n_requests
    assert again.keys() == whole.keys()
    for key in whole:
        pd.testing.assert_frame_equal(again[key], whole[key])
    # A reader of the folder sees what a reader of the manifest does.
    assert len(list(path.glob("rows/**/*.parquet"))) == 1
    assert not (path / ".staging").exists()


def test_rows_say_where_they_come_from_and_lie_in_partitions(tmp_path, configure):
    path = made(configure, tmp_path / "run").path
    [file] = (path / "rows" / "dataset=people" / "method=epic").glob("*.parquet")
    rows = pd.read_parquet(file)
    assert set(PROVENANCE) <= set(rows.columns)
    assert set(rows["rddg_chain"]) == {"epic/g0/0", "epic/g0/1"}
    assert set(rows["rddg_model"]) == {"embedded-sampler"}


def test_names_with_slashes_and_spaces_stay_one_folder(tmp_path, configure, table_file):
    table = {"path": str(table_file), "target": "state", "name": "a/b ü=1"}
    result = made(configure, tmp_path / "run", tables=[table])
    [file] = (result.path / "rows").glob("*/*/*.parquet")
    assert file.parent.parent.name == "dataset=a%2Fb%20%C3%BC%3D1"
    assert len(RunDirectory(result.path).read_published("rows", "a/b ü=1", "epic")) == 30
    assert partition(entry_key("a/b", "epic")) == "dataset=a%2Fb/method=epic"


def test_records_name_settings_versions_and_the_tables_content(tmp_path, configure):
    path = made(configure, tmp_path / "run").path
    record = json.loads((path / "run.json").read_text())
    assert record["settings"]["methods"] == ["epic"]
    assert record["tables"]["people"]["n_rows"] > 0
    assert len(record["tables"]["people"]["content_sha256"]) == 64
    assert {"rddg-ray", "ray", "numpy"} <= record["versions"].keys()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"fingerprint": "x"}'])
def test_a_folder_with_a_broken_record_is_a_store_error(tmp_path, configure, text):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(text)
    with pytest.raises(StoreError, match=r"run\.json"):
        run(small(configure, tmp_path / "run"), LocalExecutor())


def test_a_file_in_the_place_of_the_folder_is_a_store_error(tmp_path, configure):
    (tmp_path / "run").touch()
    with pytest.raises(StoreError, match="cannot be a run directory"):
        run(small(configure, tmp_path / "run"), LocalExecutor())


def test_a_run_directory_that_a_machine_does_not_see_is_refused(tmp_path):
    with pytest.raises(StoreError, match="file system that all of them share"):
        check_visible(tmp_path)
