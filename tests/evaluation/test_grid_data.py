from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rddg_ray.config import EXTRA_METHODS
from rddg_ray.errors import ConfigError, DataError
from rddg_ray.evaluation.files import evaluate_files
from rddg_ray.evaluation.fits import DatasetRows, GridData, cells
from rddg_ray.evaluation.methods.extras import EXTRAS, availability, skipped, why_not
from rddg_ray.table import Table, conform

MakeRows = Callable[..., pd.DataFrame]


@pytest.fixture
def rows(train: Table, test_rows: Table, make_rows: MakeRows) -> DatasetRows:
    new = conform(make_rows(50, 9, rare_share=0.6), train, name="rddg")
    mixed = train.with_frame(pd.concat([new.frame, train.frame.iloc[30:50]]))
    return DatasetRows(train, test_rows, {("mine", 0): new.take([1]), ("rddg", 0): mixed})


def added(data: GridData, method: str, state: int = 0) -> list[int]:
    encoded = data.encoded("toy", method, state)
    return np.bincount(encoded.y_train[encoded.n_real :], minlength=2).tolist()


@pytest.mark.parametrize(
    ("baseline_rows", "expected"),
    [("balance", [0, 120]), ("same", [20 + 10, 30 + 10]), (25, [25, 25])],
)
@pytest.mark.parametrize("method", ["random_oversampling", "smotenc", "gaussian_copula"])
def test_baselines_add_the_rows_that_they_are_told_to(
    rows: DatasetRows, method: str, baseline_rows: Any, expected: list[int]
) -> None:
    # Generated: 50 new rows, 30 of them rare, and 20 copies, 10 of them rare.
    data = GridData({"toy": rows}, baseline_rows=baseline_rows)
    assert added(data, method) == expected
    assert data.n_training_rows("toy", method, 0) == 200 + sum(expected)


def test_the_same_rows_are_counted_after_the_file_is_cut(rows: DatasetRows) -> None:
    data = GridData({"toy": rows}, max_synthetic_rows=40, baseline_rows="same")
    # The first 30 of the 50 new rows are rare.
    assert added(data, "smotenc") == [10, 30]
    # A state that the rows beside were not made for takes those of state 0.
    assert added(data, "smotenc", state=3) == [10, 30]


def test_copies_only_adds_just_the_rows_that_repeat_a_training_row(rows: DatasetRows) -> None:
    data = GridData({"toy": rows})
    copies = data.synthetic("toy", "copies_only", 0)
    assert copies is not None
    assert copies.row_keys() == rows.train.take(range(30, 50)).row_keys()
    assert added(data, "copies_only") == [10, 10]


@pytest.mark.parametrize(("method", "baseline_rows"), [("copies_only", "balance"),
                                                       ("smotenc", "same")])  # fmt: skip
def test_without_generated_rows_there_is_nothing_to_copy_or_to_equal(
    train: Table, test_rows: Table, method: str, baseline_rows: Any
) -> None:
    data = GridData({"toy": DatasetRows(train, test_rows)}, baseline_rows=baseline_rows)
    with pytest.raises(DataError, match=r"toy: .*give a synthetic file"):
        cells(data, methods=["original", method], generator_states=[0],
              classifiers=["lightgbm"], classifier_states=[0])  # fmt: skip


def test_what_no_generator_state_moves_is_listed_once(rows: DatasetRows) -> None:
    methods = ["original", "class_weights", "copies_only", "tuned_threshold", "adasyn"]
    listed = cells(GridData({"toy": rows}), methods=methods, generator_states=[0, 1, 2],
                   classifiers=["lightgbm"], classifier_states=[0])  # fmt: skip
    counts = pd.Series([cell.method for cell in listed]).value_counts().to_dict()
    assert counts == dict(zip(methods, (1, 1, 1, 3, 3), strict=True))


def test_every_optional_generator_says_what_provides_it_or_what_prevents_it() -> None:
    assert tuple(EXTRAS) == EXTRA_METHODS
    for row in availability():
        extra = EXTRAS[row["name"]]
        assert row["skipped"] == why_not(extra.name)
        assert extra.package or extra.prevents
        if extra.prevents:
            assert f"{extra.name} is skipped" in row["skipped"]
            assert extra.prevents in row["skipped"]


def test_an_absent_optional_generator_is_skipped_with_a_line(
    tmp_path: Path, make_rows: MakeRows
) -> None:
    for name, state in (("train", 0), ("test", 1), ("made", 2)):
        make_rows(60, state).to_csv(tmp_path / f"{name}.csv", index=False)
    paths = (tmp_path / "train.csv", tmp_path / "test.csv", "bought")
    found = evaluate_files(*paths, out=tmp_path, methods=["original", "tabddpm"],
                           classifiers=["lightgbm"], classifier_states=[0])  # fmt: skip
    assert set(found.fits["method"]) == {"original"}
    assert skipped(["tabddpm", "original"])["tabddpm"] in found.notes
    # Rows that its own code made are welcome under its name.
    found = evaluate_files(*paths, {"tabddpm": tmp_path / "made.csv"}, out=tmp_path,
                           classifiers=["lightgbm"], classifier_states=[0])  # fmt: skip
    assert set(found.fits["method"]) == {"original", "tabddpm"}
    with pytest.raises(ConfigError, match="methods: none is left; tabddpm is skipped"):
        evaluate_files(*paths, out=tmp_path, methods=["tabddpm"])


@pytest.mark.parametrize("told", [{"baseline_rows": "equal"}, {"baseline_rows": 0},
                                  {"threshold_metric": "recall"}, {"tuning": "yes"}])  # fmt: skip
def test_what_a_setting_may_not_be_is_named(rows: DatasetRows, told: dict[str, Any]) -> None:
    [(key, value)] = told.items()
    with pytest.raises(ConfigError, match=f"{key}: {value!r} is not"):
        GridData({"toy": rows}, **told)
