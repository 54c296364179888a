from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from rddg_ray.evaluation.cells import Cell
from rddg_ray.evaluation.encoding import Encoded
from rddg_ray.evaluation.files import evaluate_files
from rddg_ray.evaluation.fits import DatasetRows, GridData, fit_cell
from rddg_ray.evaluation.leaks import leaks, overlap, said_of_leaks
from rddg_ray.table import Table, conform, from_frame

MakeRows = Callable[..., pd.DataFrame]


def fitted(train: Table, test: Table, **added: Table) -> pd.DataFrame:
    rows = DatasetRows(train, test, {(name, 0): table for name, table in added.items()})
    data = GridData({"toy": rows})
    cells = [Cell("toy", m, 0, "lightgbm", s) for m in ("original", *added) for s in (0, 1)]
    return pd.DataFrame([fit_cell(cell, data) for cell in cells])


def test_a_method_that_adds_the_test_rows_is_caught_and_an_honest_one_is_not(
    train: Table, test_rows: Table, make_rows: MakeRows
) -> None:
    honest = conform(make_rows(80, 5), train, name="honest")
    fits = fitted(train, test_rows, thief=test_rows, honest=honest)
    found = leaks(fits).set_index("method")
    assert found["is_leak"].to_dict() == {"thief": True, "honest": False}
    assert found.loc["thief", "n_test_copies"] == found.loc["thief", "n_new"] == 80
    assert found.loc["honest", "n_test_copies"] == 0
    [said] = said_of_leaks(fits)
    assert said.startswith("toy: 80 of 80 new rows of thief (generator state 0) are test rows")


def test_a_few_test_rows_among_many_honest_ones_are_caught(
    train: Table, test_rows: Table, make_rows: MakeRows
) -> None:
    honest = conform(make_rows(300, 5), train, name="honest")
    mixed = train.with_frame(pd.concat([honest.frame, test_rows.frame.iloc[:16]]))
    found = leaks(fitted(train, test_rows, thief=mixed)).iloc[0]
    # 16 rare rows (the first) among 300 new ones of either class: real rows would give 1 in 201.
    assert (found["n_new"], found["n_test_copies"]) == (316, 16)
    assert found["p_value"] == pytest.approx(binom.sf(15, 316, found["natural_share"]))
    assert found["is_leak"]


def test_copies_of_training_rows_are_no_leak_even_where_the_test_rows_hold_them(
    train: Table,
) -> None:
    fits = fitted(train, train.take(range(0, 200, 3)), copier=train)
    assert not said_of_leaks(fits)
    assert fits["n_new"].eq(0).all()


def test_rows_of_a_table_with_few_different_rows_meet_test_rows_by_chance() -> None:
    def coarse(n_rows: int, random_state: int) -> pd.DataFrame:
        rng = np.random.default_rng(random_state)
        cells = {f"c{i}": rng.choice(list("xy"), n_rows) for i in range(4)}
        return pd.DataFrame(cells | {"class": rng.choice(["a", "b"], n_rows)})

    # 32 different rows, all of them drawn; half of the kinds are kept off the training rows, as
    # a split does that keeps equal rows together.
    pool = coarse(400, 0)
    kinds = np.random.default_rng(2).permutation(32)[pool.groupby(list(pool.columns)).ngroup()]
    train = from_frame(pool[kinds % 2 == 0].reset_index(drop=True), "class", name="toy")
    test = conform(pool[kinds % 2 == 1].reset_index(drop=True), train, name="test")
    honest = conform(coarse(100, 1), train, name="honest")
    fits = fitted(train, test, honest=honest)
    assert fits["n_test_copies"].max() > 0
    assert not said_of_leaks(fits)


def test_the_natural_share_is_that_counted_by_hand() -> None:
    # Class 0: one of its three training rows is a test row. Class 1: none of two is, but two of
    # its three test rows are equal.
    X_train = np.array([[1.0], [2.0], [3.0], [10.0], [11.0]])
    X_test = np.array([[1.0], [5.0], [20.0], [20.0], [21.0]])
    data = Encoded(X_train, np.array([0, 0, 0, 1, 1]), X_test, np.array([0, 0, 1, 1, 1]), 5,
                   ("a", "b"), 1, np.array([False]))  # fmt: skip
    # Added: a copy, a test row twice, a new one; a row of class 0 that is a test row of class 1.
    added = data.adding(np.array([[2.0], [5.0], [5.0], [9.0], [20.0], [30.0]]),
                        np.array([0, 0, 0, 0, 0, 1]))  # fmt: skip
    found = overlap(added)
    assert (found.n_new, found.n_test_copies) == (4, 1)
    assert found.natural_share == pytest.approx((3 * (1 + 1) / (3 + 1) + 1 * 2 / 3) / 4)


def test_fits_of_an_older_version_are_not_judged(train: Table, test_rows: Table) -> None:
    fits = fitted(train, test_rows, thief=test_rows).drop(columns="n_new")
    assert not said_of_leaks(fits)
    assert not said_of_leaks(fits.iloc[:0])


def test_a_file_of_test_rows_is_named_in_the_notes(tmp_path: Path, make_rows: MakeRows) -> None:
    for name, rows in (("train", make_rows(120, 0)), ("test", make_rows(60, 1))):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    found = evaluate_files(
        tmp_path / "train.csv", tmp_path / "test.csv", "bought", {"mine": tmp_path / "test.csv"},
        out=tmp_path, classifiers=["lightgbm"], classifier_states=[0],
    )  # fmt: skip
    assert any("60 of 60 new rows of mine" in note and "seen" in note for note in found.notes)
