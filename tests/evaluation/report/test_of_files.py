from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from rddg_ray.evaluation.files import evaluate_files
from rddg_ray.evaluation.report.of_files import write_evaluation_report

MakeRows = Callable[..., pd.DataFrame]


def test_compared_files_get_the_page_of_a_run_about_the_rows_that_were_compared(
    tmp_path: Path, make_rows: MakeRows
) -> None:
    paths = {name: tmp_path / f"{name}.csv" for name in ("train", "test", "made")}
    for state, path in enumerate(paths.values()):
        make_rows(80, state).to_csv(path, index=False)
    found = evaluate_files(
        paths["train"], paths["test"], "bought", {"mine": paths["made"]}, out=tmp_path / "out",
        classifiers=["lightgbm"], classifier_states=[0], max_synthetic_rows=50,
    )  # fmt: skip
    page = write_evaluation_report(found, tmp_path / "out")
    text = page.read_text("utf-8")
    assert "Against the original rows, mine changes F1 by" in text
    assert "Do the rows give real people away?" in text
    tables = page.parent / "tables"
    fidelity = pd.read_csv(tables / "fidelity.csv")
    # At most 50 of the 80 rows were compared, and so at most 50 are matched.
    assert fidelity.loc[fidelity["scope"] == "all", "n_matched"].max() == 50
    copies = pd.read_csv(tables / "privacy.csv").query("metric == 'near_copy_share'")
    recorded = {row["method"]: row["near_copy_share"] for row in found.copies}
    of_all = copies[copies["scope"] == "all"].iloc[0]
    assert (of_all["value"], of_all["ceiling"]) == (recorded["mine"], recorded["test rows"])
