"""A whole run: the same rows wherever it runs, gone on with, and extended."""

from __future__ import annotations

import pandas as pd
import pytest

from rddg_ray.config import EmbeddedSettings
from rddg_ray.errors import ConfigError, PermanentLLMError, StoreError, TransientLLMError
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.pipeline import generate_rows, run
from rddg_ray.runtime.store import RunDirectory
from rddg_ray.runtime.tables import prepare

# Beside what was measured, the time it took.
MEASURED = ["fit_s"]


class Steps:
    """Keeps what a run tells of its steps."""

    def __init__(self):
        self.told = []

    def update(self, step, done, total, **figures):
        self.told.append((step, done, total))


def assert_same_fits(left, right, ignore=()):
    drop = [*MEASURED, *ignore]
    pd.testing.assert_frame_equal(left.drop(columns=drop), right.drop(columns=drop))


def assert_same_rows(left, right):
    assert left.keys() == right.keys()
    for key, frame in left.items():
        pd.testing.assert_frame_equal(frame, right[key])


def test_a_run_gives_every_row_asked_for_and_one_record_a_fit(unbroken, published):
    rows = published(unbroken.path)
    assert set(rows) == {f"{k}/people/{m}" for k in ("rows", "rejects") for m in ("epic", "rddg")}
    for method in ("epic", "rddg"):
        made = rows[f"rows/people/{method}"]
        counts = made.groupby("rddg_generator_state")["state"].value_counts().to_dict()
        assert counts == {(g, c): n for g in (0, 1) for c, n in (("ill", 20), ("odd", 10))}
        # Ids are new, and differ within what one repetition adds to the table.
        assert (made.groupby("rddg_generator_state")["id"].nunique() == 30).all()
        assert made["id"].astype("int64").min() > 1089
    # 1 + 2 + 2 + 2 (method, generator state), 2 states of one classifier each.
    assert len(unbroken.fits) == 14
    assert unbroken.fits["error"].isna().all()
    assert unbroken.shortfall == {}


def test_rows_of_different_methods_and_repetitions_differ(unbroken, published):
    rows = published(unbroken.path)
    cells = ["age", "dose, mg", "site"]
    parts = [
        tuple(part[cells].itertuples(index=False))
        for method in ("epic", "rddg")
        for _, part in rows[f"rows/people/{method}"].groupby("rddg_generator_state")
    ]
    assert len(set(parts)) == 4


@pytest.mark.ray
@pytest.mark.slow
def test_rows_and_fits_on_ray_equal_those_without(tmp_path, configure, unbroken, published, on_ray):
    # A path as people have them; where a run lies changes nothing.
    result = run(configure(tmp_path / "läufe mit %20 & #1"), on_ray())
    assert_same_rows(published(result.path), published(unbroken.path))
    assert_same_fits(result.fits, unbroken.fits)
    assert [o.rejects for o in result.outcomes] == [o.rejects for o in unbroken.outcomes]
    assert result.usage == unbroken.usage


def test_a_finished_run_asks_and_fits_nothing_and_says_the_same(
    tmp_path, configure, unbroken, server
):
    settings = configure(unbroken.path)
    n_requests, steps = server.n_requests, Steps()
    again = run(settings, LocalExecutor(), steps)
    assert server.n_requests == n_requests
    assert [told for told in steps.told if told[0] != "report"] == [("classifiers", 14, 14)]
    pd.testing.assert_frame_equal(again.fits, unbroken.fits)
    assert again.outcomes == unbroken.outcomes


def test_a_run_is_extended_by_methods_states_and_tables_without_asking_twice(  # noqa: PLR0917 - fixtures go by name
    tmp_path, configure, unbroken, published, table_file, server
):
    small = {"methods": ["original", "epic"], "generator_states": [0]}
    path = tmp_path / "run"
    first = run(configure(path, **small), LocalExecutor())
    n_requests = server.n_requests
    whole = run(configure(path), LocalExecutor())
    assert server.n_requests - n_requests == unbroken.usage.n_calls - first.usage.n_calls
    assert_same_rows(published(path), published(unbroken.path))
    assert_same_fits(whole.fits, unbroken.fits)

    other = {"path": str(table_file), "target": "state", "name": "second", "split_random_state": 3}
    before = configure(path).tables[0].model_dump()
    n_requests, steps = server.n_requests, Steps()
    both = run(configure(path, tables=[before, other]), LocalExecutor(), steps)
    assert server.n_requests - n_requests == sum(
        o.usage.n_calls for o in both.outcomes if o.spec.dataset == "second"
    )
    # The 14 fits of the first table are there already.
    assert next(told for told in steps.told if told[0] == "classifiers") == ("classifiers", 14, 28)
    mine = both.fits[both.fits["dataset"] == "people"].reset_index(drop=True)
    assert_same_fits(mine, unbroken.fits)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"random_state": 5}, "random_state: 0 -> 5"),
        ({"coreset": {"epochs": 7, "ensemble": 1}}, "coreset.epochs: 6 -> 7"),
        ({"generation": {"rows_per_class": 9}}, "generation.rows_per_class"),
        ({"endpoint": {"model": "other"}}, "endpoint.model"),
    ],
)
def test_a_setting_that_would_change_rows_is_refused_and_named(
    configure, unbroken, published, changes, words
):
    before = published(unbroken.path)
    with pytest.raises(StoreError, match=words):
        run(configure(unbroken.path, **changes), LocalExecutor())
    assert_same_rows(published(unbroken.path), before)


def test_a_table_with_other_rows_is_refused_and_named(tmp_path, configure, unbroken, table_file):
    changed = pd.read_csv(table_file)
    changed.loc[3, "age"] += 1
    changed.to_csv(tmp_path / "people.csv", index=False)
    table = configure(unbroken.path).tables[0].model_dump() | {"path": str(tmp_path / "people.csv")}
    with pytest.raises(StoreError, match=r"tables\.people\.path"):
        run(configure(unbroken.path, tables=[table]), LocalExecutor())


def test_a_table_that_moved_is_still_the_same(tmp_path, configure, unbroken, table_file, server):
    (tmp_path / "people.csv").write_bytes(table_file.read_bytes())
    table = configure(unbroken.path).tables[0].model_dump() | {"path": str(tmp_path / "people.csv")}
    n_requests = server.n_requests
    run(configure(unbroken.path, tables=[table]), LocalExecutor())
    assert server.n_requests == n_requests


def test_what_is_not_about_rows_may_change(tmp_path, configure, published, server):
    small = {"methods": ["original", "epic"], "generator_states": [0]}
    first = run(configure(tmp_path / "run", **small), LocalExecutor())
    rows, n_requests = published(first.path), server.n_requests
    changed = {
        "name": "another name",
        "endpoint": {"base_url": server.base_url, "max_concurrency": 1, "timeout_s": 9},
        "evaluation": {"classifiers": ["gradient_boosting"], "protocol": "paper"},
    }
    second = run(configure(tmp_path / "run", **small | changed), LocalExecutor())
    assert server.n_requests == n_requests
    assert_same_rows(published(first.path), rows)
    assert set(second.fits["protocol"]) == {"paper"}
    assert len(second.fits) == 10


@pytest.mark.parametrize("on", ["here", pytest.param("ray", marks=[pytest.mark.ray])])
def test_a_failing_chain_raises_its_own_error_and_keeps_what_was_answered(
    tmp_path, configure, on, request
):
    executor = LocalExecutor() if on == "here" else request.getfixturevalue("on_ray")()
    wrong = {"kind": "openai", "model": "no-such-model"}
    base_url = configure(tmp_path).endpoint.base_url
    with pytest.raises(PermanentLLMError) as caught:
        run(configure(tmp_path / "run", endpoint={"base_url": base_url, **wrong}), executor)
    assert caught.value.status == 404
    assert "Traceback" not in str(caught.value)


def test_an_endpoint_that_is_not_there_is_a_passing_failure_that_names_it(tmp_path, configure):
    nobody = {"base_url": "http://127.0.0.1:9/v1", "max_attempts": 1}
    with pytest.raises(TransientLLMError, match=r"127\.0\.0\.1:9"):
        run(configure(tmp_path / "run", endpoint=nobody), LocalExecutor())


@pytest.mark.parametrize("on", ["here", pytest.param("ray", marks=[pytest.mark.ray])])
def test_a_key_that_is_not_there_is_named(tmp_path, configure, on, request):
    executor = LocalExecutor() if on == "here" else request.getfixturevalue("on_ray")()
    endpoint = {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}
    with pytest.raises(ConfigError, match="RDDG_NO_SUCH_VARIABLE"):
        run(
            configure(
                tmp_path / "run", endpoint=endpoint | {"api_key_env": "RDDG_NO_SUCH_VARIABLE"}
            ),
            executor,
        )


@pytest.mark.ray
def test_a_key_file_in_the_users_home_is_found_from_actors(
    tmp_path, configure, on_ray, monkeypatch
):
    (tmp_path / "key.txt").write_text("the-right-key")
    monkeypatch.setenv("HOME", str(tmp_path))
    with serve_in_thread(EmbeddedSettings(), api_key="the-right-key") as server:
        settings = configure(
            tmp_path / "run",
            methods=["epic"],
            generator_states=[0],
            endpoint={"base_url": server.base_url, "api_key_file": "~/key.txt"},
        )
        tables = {"people": prepare(settings.tables[0]).train}
        assert generate_rows(settings, tables, on_ray()).shortfall == {}


def test_chains_that_end_short_say_so_and_keep_their_rows(tmp_path, configure, published):
    settings = configure(
        tmp_path / "run",
        methods=["rddg"],
        generator_states=[0],
        generation={"rows_per_class": {"ill": 100}, "max_calls": 3},
    )
    result = run(settings, LocalExecutor())
    [outcome] = result.outcomes
    assert outcome.ended_because == "budget"
    assert outcome.usage.n_calls == 3
    rows = published(result.path)["rows/people/rddg"]
    assert result.shortfall == {"people/rddg/g0/0": {"ill": 100 - len(rows)}}
    assert 0 < len(rows) <= 15


def test_a_run_leaves_neither_staging_nor_temporary_files(unbroken):
    found = {path.name for path in unbroken.path.rglob("*")}
    assert ".staging" not in found
    assert not [name for name in found if name.endswith(".tmp")]
    assert RunDirectory(unbroken.path).manifest()["rows"].keys() == {"people/epic", "people/rddg"}


@pytest.mark.ray
def test_120_chains_share_the_actors_there_are(tmp_path, configure, on_ray):
    settings = configure(
        tmp_path / "run",
        methods=["epic"],
        generator_states=list(range(60)),
        generation={"rows_per_class": {"ill": 2, "odd": 2}, "chain_per": "class"},
    )
    tables = {"people": prepare(settings.tables[0]).train}
    result = generate_rows(settings, tables, on_ray())
    assert len(result.outcomes) == 120
    assert {outcome.n_accepted for outcome in result.outcomes} == {2}
    # One process makes the calls of a node, however many host chains.
    assert len(list((result.path / "journal").glob("*.sqlite"))) == 1
