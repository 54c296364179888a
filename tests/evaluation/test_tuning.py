from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from rddg_ray.config import CLASSIFIERS
from rddg_ray.evaluation.cells import Cell
from rddg_ray.evaluation.classifiers import make_classifier
from rddg_ray.evaluation.encoding import Encoded
from rddg_ray.evaluation.fits import DatasetRows, GridData, fit_cell
from rddg_ray.evaluation.tuning import N_CANDIDATES, candidates, search
from rddg_ray.table import Table


def rings(n_rows: int = 120) -> Encoded:
    """Return rows whose class is a ring, which stumps and few trees learn badly."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 2))
    y = (np.abs(np.hypot(*X.T) - 1.2) < 0.25).astype(np.int64)
    return Encoded(X, y, X[:5], y[:5], n_rows, ("a", "b"), 1, np.array([False, False]))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_papers_settings_are_tried_first_and_every_candidate_is_known(name: str) -> None:
    tried = candidates(name, 0)
    assert tried[0] == {}
    assert len(tried) == N_CANDIDATES
    assert candidates(name, 0) == tried
    for settings in tried:
        told = make_classifier(name, 0, settings).get_params()
        assert settings.items() <= told.items()


def test_added_rows_and_test_rows_take_no_part_in_the_search() -> None:
    data = rings()
    upset = replace(data.adding(-data.X_train, 1 - data.y_train), X_test=data.X_test + 9.0)
    assert search("lightgbm", upset) == search("lightgbm", data)


def test_a_class_of_one_row_keeps_the_papers_settings() -> None:
    data = rings()
    y = np.zeros(len(data.y_train), dtype=np.int64)
    y[3] = 1
    assert search("lightgbm", replace(data, y_train=y)) == {}


def test_a_tuned_fit_says_its_settings_and_every_method_has_the_same(
    train: Table, test_rows: Table
) -> None:
    rng = np.random.default_rng(0)
    noisy = train.with_frame(train.frame.assign(size=rng.normal(size=len(train))))
    data = GridData({"toy": DatasetRows(noisy, test_rows)}, tuning="search")
    rows = [fit_cell(Cell("toy", m, 0, "lightgbm", 0), data) for m in ("original", "smotenc")]
    assert rows[0]["settings"] == rows[1]["settings"]
    assert json.loads(rows[0]["settings"]) == data.tuned("toy", "lightgbm")
    untuned = GridData({"toy": DatasetRows(noisy, test_rows)})
    assert fit_cell(Cell("toy", "original", 0, "lightgbm", 0), untuned)["settings"] == "{}"
