"""CPU time of the coreset's difficulty score against a plain DataLoader loop.

    python benchmarks/coreset.py [--epochs 100] [--plain-states 3] [--ensemble-states 8]

Both sides train the same network (`rddg_ray.coreset.network`, batch 64, Adam 0.001, dropout
one half) for the same number of epochs on the same made-up tables, in this process, on one
torch thread; CPU time is `time.process_time` per model, data preparation included.

- plain: one model at a time as one would write it by hand: `TensorDataset`, `DataLoader`
  with `shuffle=True`, the module, `CrossEntropyLoss`, `Adam` with its defaults; after every
  epoch one pass of the whole table in evaluation mode, `no_grad`, that keeps the squared
  error of each row; variances of the two windows at the end.
- ensemble: `rddg_ray.coreset.difficulty_by_state` with its defaults, all random states in
  one ensemble; it passes the table only in the epochs of the two windows, so "plain" is
  also shown without the passes it could have saved. It has torch round denormal numbers to
  0 while it trains; the plain loop leaves torch as it comes, and pays for them late in
  training, though less.

Agreement is Spearman's rank correlation of the rows' difficulties: the ensemble's score
(the mean of its 8 members, which is what a coreset is picked by) against each plain model,
beside one plain model against another; then like with like, one member against one plain
model and against another member, each averaged over all pairs; and the two sides' means
against each other. With few steps an epoch (306 rows: 5) a model now and then learns late
and ranks rows otherwise, on either side; averages over pairs then differ by some 0.06
between sets of 8 random states, so that table has 24 models on each side, those beyond the
first 8 members for agreement only.

The last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, TensorDataset

from rddg_ray.coreset import EARLY_WINDOW, LATE_WINDOW, difficulty_by_state
from rddg_ray.coreset.network import Network

BATCH_SIZE = 64
LEARNING_RATE = 1e-3

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class TableShape:
    """A table to make: rows, columns, the share of rows in the rare class.

    `plain_states` is how many plain models to train: more where they are cheap and where,
    with few steps an epoch, random states agree least.
    """

    n_rows: int
    n_features: int
    rare_share: float
    plain_states: int

    @property
    def name(self) -> str:
        """The shape as the output names it."""
        return f"{self.n_rows}x{self.n_features}"


SHAPES = (
    TableShape(8367, 23, 0.48, 3),
    TableShape(2968, 27, 0.06, 3),
    TableShape(306, 16, 0.28, 24),
)


def make_table(shape: TableShape, random_state: int) -> tuple[Scores, NDArray[np.int64]]:
    """Return a standardised two-class table with clear rows, border rows and noise columns.

    A third of the columns carry the class, a third are noisy copies of those, the rest say
    nothing; every fourth column is cut into two values, as flags in real tables are.
    """
    from sklearn.datasets import make_classification

    X, y = make_classification(
        n_samples=shape.n_rows,
        n_features=shape.n_features,
        n_informative=shape.n_features // 3,
        n_redundant=shape.n_features // 3,
        n_clusters_per_class=2,
        weights=[1 - shape.rare_share],
        class_sep=1.0,
        flip_y=0.02,
        random_state=random_state,
    )
    X[:, ::4] = X[:, ::4] > np.median(X[:, ::4], axis=0)
    return (X - X.mean(axis=0)) / X.std(axis=0), y.astype(np.int64)


@dataclass(frozen=True)
class PlainRun:
    """What one plain model gave and cost."""

    scores: Scores
    cpu_s: float
    passes_cpu_s: float


def windows(epochs: int) -> list[tuple[int, int]]:
    """Return the first epoch and the one after the last of both windows."""
    return [(round(a * epochs), round(b * epochs)) for a, b in (EARLY_WINDOW, LATE_WINDOW)]


def run_plain(X: Scores, y: NDArray[np.int64], epochs: int, random_state: int) -> PlainRun:
    """Train one model with a DataLoader and score every row."""
    start = time.process_time()
    torch.manual_seed(random_state)
    rows, classes = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
    one_hot = torch.nn.functional.one_hot(classes).float()
    loader = DataLoader(TensorDataset(rows, classes), batch_size=BATCH_SIZE, shuffle=True)
    model = Network(X.shape[1], one_hot.shape[1])
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    criterion = torch.nn.CrossEntropyLoss()
    errors, passes_cpu_s = [], 0.0
    for _ in range(epochs):
        model.train()
        for batch, target in loader:
            optimiser.zero_grad()
            criterion(model(batch), target).backward()
            optimiser.step()
        before_pass = time.process_time()
        model.eval()
        with torch.no_grad():
            errors.append((torch.softmax(model(rows), 1) - one_hot).square().sum(1).double())
        passes_cpu_s += time.process_time() - before_pass
    record = torch.stack(errors)
    variances = [record[start:stop].var(0) for start, stop in windows(epochs)]
    scores = torch.stack(variances).sum(0).numpy()
    return PlainRun(scores, time.process_time() - start, passes_cpu_s)


def agreement(a: Scores, b: Scores) -> float:
    """Return Spearman's rank correlation of two difficulty scores of the same rows."""
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def compare(shape: TableShape, options: argparse.Namespace) -> dict[str, float]:
    """Run both sides on one table and return the figures of its line."""
    X, y = make_table(shape, random_state=0)
    plain = [
        run_plain(X, y, options.epochs, state)
        for state in range(options.plain_states or shape.plain_states)
    ]
    states = range(options.ensemble_states)
    start = time.process_time()
    members = difficulty_by_state(
        X, y, random_states=states, epochs=options.epochs, ensemble_size=len(states)
    )
    ensemble_cpu_s = (time.process_time() - start) / len(states)
    ensemble = members.mean(axis=0)
    if len(plain) > len(states):
        # As many members as plain models, so that neither side's agreement is the noisier one.
        more = range(len(states), len(plain))
        extra = difficulty_by_state(X, y, random_states=more, epochs=options.epochs)
        members = np.concatenate([members, extra])
    plain_cpu_s = float(np.mean([run.cpu_s for run in plain]))
    n_recorded = sum(stop - start for start, stop in windows(options.epochs))
    passes_cpu_s = float(np.mean([run.passes_cpu_s for run in plain]))
    spared_cpu_s = passes_cpu_s * (1 - n_recorded / options.epochs)
    scores = [run.scores for run in plain]
    return {
        "plain_cpu_s": plain_cpu_s,
        "ensemble_cpu_s": ensemble_cpu_s,
        "speedup": plain_cpu_s / ensemble_cpu_s,
        "speedup_windows_only": (plain_cpu_s - spared_cpu_s) / ensemble_cpu_s,
        "ensemble_plain": mean_agreement((ensemble, other) for other in scores),
        "plain_plain": mean_agreement(itertools.combinations(scores, 2)),
        "member_plain": mean_agreement(itertools.product(members, scores)),
        "member_member": mean_agreement(itertools.combinations(members, 2)),
        "mean_mean": agreement(members.mean(axis=0), np.mean(scores, axis=0)),
    }


def mean_agreement(pairs: Iterable[tuple[Scores, Scores]]) -> float:
    """Return the mean of `agreement` over pairs of scores."""
    return float(np.mean([agreement(a, b) for a, b in pairs]))


def main() -> None:
    """Print a line a table and, last, the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument(
        "--plain-states", type=int, help="plain models of every table, >= 2; default 3, 3, 24"
    )
    parser.add_argument("--ensemble-states", type=int, default=8, help="members, >= 2")
    options = parser.parse_args()
    if options.ensemble_states < 2 or (options.plain_states or 2) < 2:
        parser.error("agreement between random states needs at least two on either side")
    torch.set_num_threads(1)
    warm_up = TableShape(128, 8, 0.3, 2)
    compare(warm_up, argparse.Namespace(epochs=6, plain_states=None, ensemble_states=2))
    results = {}
    for shape in SHAPES:
        results[shape.name] = compare(shape, options)
        if len(results) == 1:
            print(f"{'table':<10}" + "".join(f"{key:>22}" for key in results[shape.name]))
        values = "".join(f"{value:>22.3f}" for value in results[shape.name].values())
        print(f"{shape.name:<10}{values}", flush=True)
    columns = {
        "speedup": "speedup",
        "rank_correlation": "ensemble_plain",
        "rank_correlation_plain": "plain_plain",
    }
    figures = {
        name: {table: round(line[column], 3) for table, line in results.items()}
        for name, column in columns.items()
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
