"""What is published of chains beside their rows: rules, judges, copies, calibration."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rddg_ray.errors import StoreError
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.making import making_records
from rddg_ray.runtime.pipeline import generate_rows
from rddg_ray.runtime.recording import CALIBRATION_COLUMNS, MAX_SUMMARIES
from rddg_ray.runtime.replaying import kinds_of
from rddg_ray.runtime.rule_records import rules_of_run
from rddg_ray.runtime.store import RunDirectory
from rddg_ray.runtime.tables import prepare

METHOD = "rddg_calibrated"
AGE = {"type": "range", "column": "age", "low": 0, "name": "age"}


def calibrated(configure, path, **changes):
    generation = {"rows_per_class": {"ill": 40, "odd": 20}, "rules": [AGE]}
    return configure(path, **{"methods": [METHOD, "epic"], "generation": generation} | changes)


def made(settings, executor=None):
    tables = {entry.label: prepare(entry).train for entry in settings.tables}
    return generate_rows(settings, tables, executor or LocalExecutor())


def read(path, kind, method=METHOD):
    return RunDirectory(path).read_published(kind, "people", method)


@pytest.fixture(scope="module")
def run_path(tmp_path_factory, configure):
    return made(calibrated(configure, tmp_path_factory.mktemp("recorded") / "run")).path


def test_every_chain_has_one_record_and_every_calibrated_round_its_rows(run_path):
    chains = RunDirectory(run_path).manifest()["chains"].values()
    outcomes = [entry["outcome"] for entry in chains]
    for method in (METHOD, "epic"):
        n_chains = sum(outcome["spec"]["method"] == method for outcome in outcomes)
        assert len(read(run_path, "records", method)) == n_chains == 2
    told = {f"{METHOD}/g{o['spec']['generator_state']}/0": o["n_calibrated_rounds"]
            for o in outcomes if o["spec"]["method"] == METHOD}  # fmt: skip
    calibration = read(run_path, "calibration")
    assert calibration.groupby("rddg_chain")["rddg_round"].nunique().to_dict() == told
    assert min(told.values()) > 1
    assert list(calibration.columns[: len(CALIBRATION_COLUMNS)]) == list(CALIBRATION_COLUMNS)


def test_a_method_that_does_not_calibrate_publishes_no_calibration(run_path):
    assert "calibration" not in kinds_of("epic")
    assert RunDirectory(run_path).parts("calibration") == [("people", METHOD)]


def test_targets_are_those_of_the_real_rows_and_the_whole_is_that_of_the_rows_made(
    run_path, configure
):
    [entry] = calibrated(configure, run_path).tables
    real = prepare(entry).train.frame
    rows, calibration = read(run_path, "rows"), read(run_path, "calibration")
    rejects = read(run_path, "rejects")
    for (chain, label), mine in calibration.groupby(["rddg_chain", "class"]):
        ages = real.loc[real["state"] == label, "age"].astype(float)
        last = mine[mine["rddg_round"] == mine["rddg_round"].max()]
        figures = last[last["columns"] == "age"].set_index("kind")
        assert figures.loc["mean", "target"] == pytest.approx(ages.mean())
        assert figures.loc["std", "target"] == pytest.approx(ages.std())
        of_chain = rows[(rows["rddg_chain"] == chain) & (rows["state"] == label)]
        surplus = (rejects["rddg_chain"] == chain) & (rejects["reason"] == "surplus")
        n_rows = int(figures.loc["mean", "n_rows_so_far"])
        assert len(of_chain) <= n_rows <= len(of_chain) + surplus.sum()
        if n_rows == len(of_chain):
            ages_made = of_chain["age"].astype(float)
            # A real standard deviation is the unit of a mean, but for its floor and a law drawn
            # at 15 rows.
            off = (ages_made.mean() - ages.mean()) / ages.std()
            assert figures.loc["mean", "whole"] == pytest.approx(off, abs=0.15)


def test_rows_of_rounds_add_up_and_classes_without_rows_are_left_out(run_path):
    calibration = read(run_path, "calibration")
    assert set(calibration["class"]) == {"ill", "odd"}
    by_round = calibration.groupby(["rddg_chain", "class", "rddg_round"], sort=False)
    counts = by_round[["n_rows", "n_rows_so_far"]].agg(["min", "max"])
    assert (counts["n_rows"]["min"] == counts["n_rows"]["max"]).all()
    summed = counts["n_rows"]["max"].groupby(level=[0, 1]).cumsum()
    assert (summed == counts["n_rows_so_far"]["max"]).all()


def test_a_class_of_many_summaries_is_written_down_in_part(tmp_path, configure):
    rng = np.random.default_rng(0)
    wide = pd.DataFrame({f"x{i}": rng.normal(size=60).round(2) for i in range(20)})
    wide["state"] = ["ill"] * 20 + ["well"] * 40
    wide.to_csv(tmp_path / "people.csv", index=False)
    table = {"path": str(tmp_path / "people.csv"), "target": "state", "test_share": 0.2}
    settings = calibrated(
        configure, tmp_path / "run", tables=[table], methods=[METHOD], generator_states=[0],
        generation={"rows_per_class": {"ill": 20}},
    )  # fmt: skip
    calibration = read(made(settings).path, "calibration")
    # 20 means, 20 spreads and 190 correlations.
    assert MAX_SUMMARIES < 20 + 20 + 190
    assert set(calibration.groupby("rddg_round").size()) == {MAX_SUMMARIES}
    by_round = [frame["columns"].tolist() for _, frame in calibration.groupby("rddg_round")]
    assert all(names == by_round[0] for names in by_round)


@pytest.mark.parametrize(("n_recorded", "states"), [(0, set()), (1, {0}), (2, {0, 1})])
def test_only_the_first_chains_write_their_calibration_down(
    tmp_path, configure, n_recorded, states
):
    settings = calibrated(
        configure, tmp_path / "run", methods=[METHOD], recorded_chains=n_recorded,
        generation={"rows_per_class": {"ill": 15}},
    )  # fmt: skip
    path = made(settings).path
    calibration, records = read(path, "calibration"), read(path, "records")
    found = set(calibration["rddg_generator_state"]) if len(calibration) else set()
    assert (found, len(records)) == (states, 2)


class Forgetting(LocalExecutor):
    """Loses a round of calibration while it gathers."""

    def gather(self, work, folders):
        super().gather(work, folders)
        for file in folders.get("calibration", folders["rows"]).glob("*.parquet"):
            frame = pd.read_parquet(file)
            frame[frame["rddg_round"] != frame["rddg_round"].max()].to_parquet(file, index=False)


def test_a_lost_round_of_calibration_publishes_nothing(tmp_path, configure):
    settings = calibrated(configure, tmp_path / "run", methods=[METHOD])
    with pytest.raises(StoreError, match=r"gave \d+ rounds of calibration, the chains said \d+"):
        made(settings, Forgetting())
    assert RunDirectory(settings.output).manifest() == {}


def test_records_hold_what_the_rejects_say(run_path):
    rejects, records = read(run_path, "rejects"), read(run_path, "records")
    copies = rejects[rejects["reason"].isin(["copy", "near_copy"])]
    shown = copies["detail"].str.endswith("that the prompt showed").sum()
    assert records["n_prompt_copies"].sum() == shown
    implausible = sum(sum(json.loads(text).values()) for text in records["implausible"])
    assert implausible == (rejects["reason"] == "implausible").sum()


def test_the_records_of_a_run_say_who_judged_and_which_copies_are_natural(run_path):
    making = making_records(RunDirectory(run_path), n_recorded=20)
    # The small table has no two rows alike.
    assert (making.copies["natural"] == 0.0).all()
    judges = making.judges.set_index("class")
    assert set(judges["method"]) == {METHOD}
    assert set(judges.index) == {"ill", "odd", "well"}
    judged = making.judged.set_index("class")
    rejects = read(run_path, "rejects")["reason"].value_counts()
    on = [label for label in ("ill", "odd") if judges.loc[label, "is_on"]]
    n_good = {"ill": 2 * 40, "odd": 2 * 20}
    for label in on:
        row = judged.loc[label]
        assert n_good[label] <= row["judged"] - row["implausible"]
        assert row["judged"] - row["implausible"] <= n_good[label] + rejects.get("surplus", 0)


def test_copies_that_were_allowed_are_not_spoken_of(run_path):
    assert len(making_records(RunDirectory(run_path), allow_copies=True).copies) == 0


def test_a_users_rule_is_on_record_of_every_method_and_chain(run_path):
    found = {rules.method: rules for rules in rules_of_run(RunDirectory(run_path))}
    for method, rules in found.items():
        [line] = [line for line in rules.lines if line.source == "user"]
        assert line.chains == (f"{method}/g0/0", f"{method}/g1/0")
        assert (line.state, line.rule) == ("kept", '"age" is at least 0')
        assert line.verdict["violations"] == 0


def test_a_run_without_records_is_read_all_the_same(tmp_path, configure):
    path = made(calibrated(configure, tmp_path / "run", generator_states=[0])).path
    file = path / "_manifest.json"
    manifest = json.loads(file.read_text())
    for kind in ("records", "calibration"):
        manifest.pop(kind)
    for entry in manifest["chains"].values():
        entry["outcome"].pop("n_calibrated_rounds")
    file.write_text(json.dumps(manifest))
    store = RunDirectory(path)
    making = making_records(store, n_recorded=20)
    frames = (making.rules, making.judged, making.calibration, making.copies)
    assert [len(frame) for frame in frames] == [0, 0, 0, 0]
    with pytest.raises(StoreError, match="kept no record of rules"):
        rules_of_run(store)
    # The next start gathers nothing new, and finds the rows.
    assert made(calibrated(configure, path, generator_states=[0])).shortfall == {}


def test_a_broken_record_is_named(tmp_path, configure):
    path = made(calibrated(configure, tmp_path / "run", methods=["epic"])).path
    entry = RunDirectory(path).manifest()["records"]["people/epic"]
    file = path / entry["files"][0]
    table = pq.read_table(file).to_pandas()
    table.assign(judges="[1]").to_parquet(file, index=False)
    with pytest.raises(StoreError, match="records of people/epic cannot be read"):
        making_records(RunDirectory(path))
    table.assign(rules='{"record": {}}').to_parquet(file, index=False)
    with pytest.raises(StoreError, match="records of people/epic, chain epic/g0/0"):
        rules_of_run(RunDirectory(path))


@pytest.mark.ray
@pytest.mark.slow
def test_all_that_is_published_is_the_same_on_ray(tmp_path, configure, run_path, on_ray):
    path = made(calibrated(configure, tmp_path / "run"), on_ray()).path
    for method in (METHOD, "epic"):
        for kind in kinds_of(method):
            pd.testing.assert_frame_equal(read(path, kind, method), read(run_path, kind, method))
