from __future__ import annotations

import pandas as pd
import pytest

from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.pipeline import run


@pytest.mark.slow
def test_a_runs_report_counts_copies_of_the_rows_that_its_prompts_showed(tmp_path, configure):
    settings = configure(tmp_path / "run", methods=["original", "epic", "rddg"],
                         generator_states=[0])  # fmt: skip
    result = run(settings, LocalExecutor())
    privacy = pd.read_csv(result.report.parent / "tables" / "privacy.csv")
    shares = privacy[privacy["metric"] == "prompt_copy_share"]
    # Only RDDG shows a coreset to explain the table.
    assert set(shares["method"]) == {"rddg"}
    whole = privacy[(privacy["method"] == "rddg") & (privacy["scope"] == "all")]
    values = whole.set_index("metric")["value"]
    assert 0.0 <= values["prompt_copy_share"] <= values["near_copy_share"]
    assert "of rows that its prompts showed" in result.report.read_text("utf-8")
