"""The classifier grid on Ray against the same fits in a plain loop, in one run.

    python benchmarks/grid.py

Two made tables, four methods that add, weigh or repeat rows, four classifiers, five random
states: one thread a fit on either side. The plain loop is a `for` over cells in this process,
each source encoded once. The grid is what `rddg run` does: groups of cells on Ray, each written
to Parquet as soon as it is fitted, all merged at the end. Its time starts with a running Ray
(whose start is a line of its own) and includes the workers' imports.

    speedup   seconds of the plain loop / seconds of the grid
    overhead  (CPUs x seconds of the grid - sum of its fits' seconds) / that sum

So encoding, imports, hand-over, files, and a CPU that waits while the other fits the last cells
all count as overhead; on a machine that others use, so does their work. At the end the grid is
run again over its own records. The last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

from rddg_ray.config import EvaluationSettings
from rddg_ray.evaluation.fits import DatasetRows, GridData, cells, fit_cell, to_frame
from rddg_ray.runtime.actors import RayExecutor
from rddg_ray.runtime.cluster import ray_session
from rddg_ray.runtime.grid import run_grid
from rddg_ray.table import Table, conform, from_frame

METHODS = ("original", "class_weights", "random_oversampling", "smotenc")
KEY = ["dataset", "method", "classifier", "classifier_state"]
_TEST_SHARE = 0.2


def make_table(name: str, n_rows: int, n_columns: int, random_state: int) -> pd.DataFrame:
    """Return rows of half numerical, half categorical columns and a rare class of a tenth."""
    rng = np.random.default_rng(random_state)
    is_rare = rng.random(n_rows) < 0.1
    frame = pd.DataFrame({"label": np.where(is_rare, "rare", "common")})
    for column in range(n_columns // 2):
        frame[f"{name}_measure_{column}"] = rng.normal(is_rare * 0.6, 1.0).round(3)
        shares = np.where(is_rare, 0.4, 0.2)
        frame[f"{name}_kind_{column}"] = np.where(rng.random(n_rows) < shares, "yes", "no")
    return frame


def make_data(scale: float) -> dict[str, GridData]:
    """Return two tables, split into training and test rows."""
    data = {}
    for name, n_rows, n_columns in (("wide", 4500, 26), ("narrow", 1800, 12)):
        frame = make_table(name, round(scale * n_rows), n_columns, random_state=len(name))
        n_test = round(_TEST_SHARE * len(frame))
        train: Table = from_frame(frame.iloc[n_test:], "label", name=name)
        test = conform(frame.iloc[:n_test], train, name=f"{name}, test rows")
        data[name] = GridData({name: DatasetRows(train, test)})
    return data


def plain_loop(data: Mapping[str, GridData], settings: EvaluationSettings) -> pd.DataFrame:
    """Fit every cell in this process, one after the other."""
    return to_frame(
        fit_cell(cell, part)
        for part in data.values()
        for cell in cells(
            part,
            methods=METHODS,
            generator_states=(0,),
            classifiers=settings.classifiers,
            classifier_states=settings.classifier_states,
        )
    )


def on_ray(scale: float, settings: EvaluationSettings, folder: Path) -> pd.DataFrame:
    """Fit every cell that has no record in the folder, as a run does."""
    data = make_data(scale)
    ids = {(name, method, 0): f"{name}, {method}" for name in data for method in METHODS}
    with closing(RayExecutor()) as executor:
        return run_grid(
            data,
            methods=METHODS,
            generator_states=(0,),
            settings=settings,
            rows_ids=ids,
            folder=folder,
            executor=executor,
            on_progress=lambda done, total: None,
        )


def check_equal(plain: pd.DataFrame, grid: pd.DataFrame) -> None:
    """Stop where both sides did not fit the same cells to the same predictions."""
    sides = [fits.set_index(KEY).sort_index()[["predicted", "error"]] for fits in (plain, grid)]
    pd.testing.assert_frame_equal(*sides)
    if plain["error"].notna().any():
        raise SystemExit(f"a fit failed: {plain['error'].dropna().iloc[0]}")


def measure(options: argparse.Namespace, settings: EvaluationSettings) -> dict[str, float]:
    """Run both sides once and the grid again, and return the figures of their line."""
    data = make_data(options.scale)
    start = time.perf_counter()
    plain = plain_loop(data, settings)
    plain_s = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        grid = on_ray(options.scale, settings, Path(folder))
        grid_s = time.perf_counter() - start
        start = time.perf_counter()
        on_ray(options.scale, settings, Path(folder))
        again_s = time.perf_counter() - start
    check_equal(plain, grid)
    fits_s = float(grid["fit_s"].sum())
    return {
        "fits": len(grid),
        "plain_s": plain_s,
        "plain_fits_s": float(plain["fit_s"].sum()),
        "grid_s": grid_s,
        "grid_fits_s": fits_s,
        "again_s": again_s,
        "speedup": plain_s / grid_s,
        "overhead": (options.cpus * grid_s - fits_s) / fits_s,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Print a line a repeat and, last, the medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpus", type=int, default=2, help="of the grid")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the tables' rows")
    parser.add_argument("--states", type=int, default=5, help="random states a classifier")
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    settings = EvaluationSettings(classifier_states=tuple(range(options.states)))
    # Libraries are imported before the plain loop is timed.
    plain_loop(make_data(0.05), EvaluationSettings(classifier_states=(0,)))
    start = time.perf_counter()
    with ray_session(num_cpus=options.cpus):
        print(f"Ray started in {time.perf_counter() - start:.1f} s; {os.cpu_count()} CPUs here")
        results = []
        for _ in range(options.repeats):
            results.append(measure(options, settings))
            if len(results) == 1:
                print("".join(f"{key:>14}" for key in results[0]))
            print("".join(f"{value:>14.3f}" for value in results[-1].values()), flush=True)
    medians = pd.DataFrame(results).median()
    print(json.dumps({key: round(float(medians[key]), 3) for key in ("speedup", "overhead")}))


if __name__ == "__main__":
    main()
