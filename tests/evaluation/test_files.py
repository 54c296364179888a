from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rddg_ray.errors import ConfigError, DataError, StoreError
from rddg_ray.evaluation.cells import Cell
from rddg_ray.evaluation.files import evaluate_files, read_fits, run_in_order
from rddg_ray.evaluation.fits import FitRow, GridData
from rddg_ray.evaluation.summary import summarise

MakeRows = Callable[..., pd.DataFrame]


def write(folder: Path, make_rows: MakeRows) -> dict[str, Path]:
    paths = {name: folder / f"{name}.csv" for name in ("train", "test", "made")}
    make_rows(120, 0).to_csv(paths["train"], index=False)
    make_rows(60, 1).assign(extra=1).to_csv(paths["test"], index=False)
    make_rows(40, 2).rename_axis("synindex").reset_index().to_csv(paths["made"], index=False)
    return paths


def test_rows_of_any_tool_are_compared_and_written_one_row_a_fit(
    tmp_path: Path, make_rows: MakeRows
) -> None:
    paths = write(tmp_path, make_rows)
    found = evaluate_files(
        paths["train"], paths["test"], "bought", {"mine": paths["made"]},
        out=tmp_path / "out", classifiers=["lightgbm", "xgboost"], classifier_states=[0, 1],
        methods=["original", "random_oversampling"], max_synthetic_rows=30,
    )  # fmt: skip
    fits = read_fits(tmp_path / "out")
    assert fits.shape[0] == 3 * 2 * 2
    assert fits["method"].drop_duplicates().tolist() == ["original", "random_oversampling", "mine"]
    assert set(fits.loc[fits["method"] == "mine", "n_synthetic"]) == {30}
    assert fits["error"].isna().all()
    assert any("extra" in note for note in found.notes)
    assert any("synindex" in note for note in found.notes)
    assert {row["n_rows"] for row in found.copies} == {60, 30}


def test_an_evaluation_run_again_replaces_its_fits(tmp_path: Path, make_rows: MakeRows) -> None:
    paths = write(tmp_path, make_rows)
    for _ in range(2):
        evaluate_files(paths["train"], paths["test"], "bought", out=tmp_path,
                       classifiers=["lightgbm"], classifier_states=[0])  # fmt: skip
    assert len(read_fits(tmp_path)) == 1
    assert [p.name for p in (tmp_path / "evaluation" / "fits").iterdir()] == ["fits.parquet"]


def test_fits_of_another_writer_are_not_mixed_in(tmp_path: Path, make_rows: MakeRows) -> None:
    paths = write(tmp_path, make_rows)
    folder = tmp_path / "evaluation" / "fits"
    folder.mkdir(parents=True)
    (folder / "part-0.parquet").write_bytes(b"")
    with pytest.raises(ConfigError, match="already holds other fits"):
        evaluate_files(paths["train"], paths["test"], "bought", out=tmp_path,
                       classifiers=["lightgbm"], classifier_states=[0])  # fmt: skip


def test_a_synthetic_file_without_a_column_is_named(tmp_path: Path, make_rows: MakeRows) -> None:
    paths = write(tmp_path, make_rows)
    make_rows(10, 3).drop(columns="colour").to_csv(paths["made"], index=False)
    with pytest.raises(DataError, match=r"made\.csv: there is no column 'colour'"):
        evaluate_files(paths["train"], paths["test"], "bought", {"mine": paths["made"]},
                       out=tmp_path)  # fmt: skip


def test_index_columns_are_never_learned(tmp_path: Path, make_rows: MakeRows) -> None:
    # The training rows are sorted by class, so an index would give the class away.
    plain = write(tmp_path, make_rows)
    indexed = {"train": tmp_path / "train-index.csv", "test": tmp_path / "test-index.csv"}
    for name, path in indexed.items():
        pd.read_csv(plain[name]).rename_axis("index").reset_index().to_csv(path, index=False)
    found = []
    for number, paths in enumerate((plain, indexed)):
        fits = evaluate_files(paths["train"], paths["test"], "bought", {"mine": plain["made"]},
                              out=tmp_path / str(number), classifiers=["lightgbm"],
                              classifier_states=[0]).fits  # fmt: skip
        found.append(fits["predicted"].tolist())
    assert found[0] == found[1]


def test_a_misspelt_protocol_is_refused(tmp_path: Path, make_rows: MakeRows) -> None:
    paths = write(tmp_path, make_rows)
    with pytest.raises(ConfigError, match="protocol: 'papers' is not one of"):
        evaluate_files(paths["train"], paths["test"], "bought", out=tmp_path, protocol="papers")


def test_an_executor_may_run_groups_in_any_order(tmp_path: Path, make_rows: MakeRows) -> None:
    paths = write(tmp_path, make_rows)
    figures = []
    for name, executor in (
        ("there", run_in_order),
        ("back", lambda groups, data: run_in_order(groups[::-1], data)),
    ):
        fits = evaluate_files(paths["train"], paths["test"], "bought", out=tmp_path / name,
                              classifiers=["lightgbm", "xgboost"], classifier_states=[0, 1],
                              methods=["original", "smotenc"], executor=executor).fits  # fmt: skip
        figures.append(fits.drop(columns="fit_s"))
    pd.testing.assert_frame_equal(*figures)


def test_a_generative_method_needs_a_file(tmp_path: Path, make_rows: MakeRows) -> None:
    paths = write(tmp_path, make_rows)
    with pytest.raises(ConfigError, match="given as a synthetic file"):
        evaluate_files(paths["train"], paths["test"], "bought", out=tmp_path, methods=["rddg"])


@pytest.mark.parametrize("out", ["made.csv", "made.csv/deeper"])
def test_an_out_that_is_a_file_is_refused_before_anything_is_fitted(
    tmp_path: Path, make_rows: MakeRows, out: str
) -> None:
    paths = write(tmp_path, make_rows)
    fitted: list[object] = []

    def executor(groups: list[list[Cell]], data: GridData) -> list[FitRow]:
        fitted.extend(groups)
        return []

    with pytest.raises(StoreError, match=r"fits\.parquet: cannot be written: .*; choose another"):
        evaluate_files(paths["train"], paths["test"], "bought", out=tmp_path / out,
                       executor=executor)  # fmt: skip
    assert not fitted


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("methods", ["original", "smotenc", "original"]),
        ("classifiers", ["lightgbm", "lightgbm"]),
        ("classifier_states", [0, 1, 0]),
        ("generator_states", [2, 2]),
    ],
)
def test_what_is_named_twice_is_refused(
    tmp_path: Path, make_rows: MakeRows, key: str, values: list[Any]
) -> None:
    paths = write(tmp_path, make_rows)
    with pytest.raises(ConfigError, match=f"{key}: {values[-1]!r} is named twice"):
        evaluate_files(paths["train"], paths["test"], "bought", out=tmp_path, **{key: values})


@pytest.mark.slow
def test_the_authors_sick_figures_reproduce_within_a_point(
    shared: Path, tmp_path: Path, join: Callable[[Path, str], pd.DataFrame]
) -> None:
    folder = shared / "data" / "sick"
    for part in ("train", "test"):
        join(folder / "authors_split", part).to_csv(tmp_path / f"{part}.csv", index=False)
    found = evaluate_files(
        tmp_path / "train.csv", tmp_path / "test.csv", "Class",
        {"rddg": folder / "published_synthetic" / "rddg.csv"},
        out=tmp_path, protocol="paper", max_synthetic_rows=1000,
    )  # fmt: skip
    means = summarise(found.fits).pivot_table(index="method", columns="metric", values="mean")
    figures = ["f1", "balanced_accuracy", "sensitivity", "specificity"]
    expected = {
        "original": [87.81, 91.22, 82.83, 99.61],
        "rddg": [88.87, 93.93, 88.59, 99.28],
    }
    for method, values in expected.items():
        assert (100 * means.loc[method, figures]).tolist() == pytest.approx(values, abs=1.0)
