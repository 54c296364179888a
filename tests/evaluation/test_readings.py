from __future__ import annotations

import numpy as np
import pandas as pd

from rddg_ray.evaluation.readings import FIGURE_COLUMNS, METRICS, to_figures
from rddg_ray.evaluation.report.reading_tables import (
    LIKENESS_METRICS,
    PRIVACY_METRICS,
    SHORT_LIKENESS,
    SHORT_PRIVACY,
    direction,
    methods_table,
    reading_table,
)


def rows() -> pd.DataFrame:
    names = {"dataset": "d", "method": "m", "scope": "all", "metric": "js"}
    return to_figures(
        {**names, "generator_state": state, "value": value, "matched": value * 2,
         "ceiling": 0.1, "floor": 0.0, "n_matched": 40}
        for state, value in ((0, 0.2), (1, 0.4))
    )  # fmt: skip


def test_every_metric_declares_how_to_read_it() -> None:
    for name, metric in METRICS.items():
        assert name == metric.name
        assert metric.label
        assert metric.meaning.endswith(".")
    assert {*LIKENESS_METRICS, *PRIVACY_METRICS, *SHORT_LIKENESS, *SHORT_PRIVACY} <= METRICS.keys()
    said = [direction(METRICS[m]) for m in ("js", "ks_complement", "std_ratio", "nndr_median")]
    assert said == ["lower", "higher", "near 1", "higher"]


def test_figures_get_family_and_direction_from_their_metric() -> None:
    found = rows()
    assert tuple(found.columns) == FIGURE_COLUMNS
    assert set(found["family"]) == {"fidelity"}
    assert set(found["column"]) == {"all"}
    assert not found["higher_is_better"].any()
    assert found["low"].isna().all()


def test_tables_average_generator_states_and_show_the_yardsticks() -> None:
    view = reading_table(rows(), "m", "all", ("js", "kl"), "all rows")
    assert view.head[1:] == ("Over all rows", "At 40 rows a side", "New real rows",
                             "Plain copies", "Better")  # fmt: skip
    assert [row[1:] for row in view.rows] == [["0.300", "0.600", "0.100", "0.000", "lower"]]
    side_by_side = methods_table(rows(), "all", ("js", "kl"), "all rows")
    assert side_by_side.rows == [["m", ("0.600", "real 0.100"), ""]]
    assert reading_table(rows(), "other", "all", ("js",), "all rows").rows == []


def test_an_interval_stands_below_its_figure_in_percent() -> None:
    found = to_figures([
        {"dataset": "d", "method": "m", "generator_state": 0, "scope": "rare",
         "metric": "dcr_share", "value": 0.5, "low": 0.4, "high": 0.625, "ceiling": np.nan,
         "floor": 1.0}
    ])  # fmt: skip
    view = reading_table(found, "m", "rare", ("dcr_share",), "the rare class")
    assert view.rows[0][1:] == [("50.0%", "[40.0%, 62.5%]"), "", "100.0%", "lower"]
