"""Added rows that are test rows: what a method that saw the test rows would add."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rddg_ray.evaluation.encoding import Encoded

LEVEL = 0.01
"""Probability, over all methods of a table, of accusing one that saw no test row."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many added rows are test rows, beside what chance gives.

    Attributes:
        n_new: Different added rows that equal no training row. The others tell nothing: that a
            training row is in the test rows too is the split's doing.
        n_test_copies: Those of them that equal a test row, class included.
        natural_share: Share that real rows would have.
    """

    n_new: int = 0
    n_test_copies: int = 0
    natural_share: float = 0.0


def overlap(data: Encoded) -> Overlap:
    """Return how many added rows are test rows.

    The natural share of a class is the larger of two: that of its training rows which equal a
    test row (counted with one more on either side, so that it is never 0), and that of its test
    rows which equal another test row. The first is what an independent source of the same law
    gives; the second says how few different rows there are where a split kept equal rows
    together and the first says nothing. Classes are weighed by their new rows.

    Args:
        data: Real training rows, added rows and test rows, encoded alike.
    """
    real = _keys(data.X_train[: data.n_real], data.y_train[: data.n_real])
    added = _keys(data.X_train[data.n_real :], data.y_train[data.n_real :])
    held_out = _keys(data.X_test, data.y_test)
    new = set(added) - set(real)
    if not new:
        return Overlap()
    known = set(held_out)
    natural = sum(
        len([key for key in new if key[0] == code]) * _natural(code, real, held_out, known)
        for code in {key[0] for key in new}
    )
    return Overlap(len(new), len(new & known), natural / len(new))


_Key = tuple[int, bytes]


def _keys(X: np.ndarray, y: np.ndarray) -> list[_Key]:
    # Adding 0.0 makes -0.0 and 0.0 one.
    rows = np.ascontiguousarray(np.where(np.isnan(X), np.nan, X + 0.0))
    return [(int(code), row.tobytes()) for code, row in zip(y, rows, strict=True)]


def _natural(code: int, real: list[_Key], held_out: list[_Key], known: set[_Key]) -> float:
    mine = [key for key in real if key[0] == code]
    theirs = [key for key in held_out if key[0] == code]
    from_train = (sum(key in known for key in mine) + 1) / (len(mine) + 1)
    counts = pd.Series(theirs, dtype=object).value_counts()
    repeated = int(counts[counts > 1].sum())
    return max(from_train, repeated / len(theirs) if theirs else 0.0)


def leaks(fits: pd.DataFrame) -> pd.DataFrame:
    """Return what the fits of each method say of test rows among its rows.

    Args:
        fits: Rows of `fits.fit_cell`; those of an older version lack the counts.

    Returns:
        One row a dataset, method and generator state that added new rows: `n_new`,
        `n_test_copies`, `natural_share` (see `Overlap`), `p_value` (of so many or more by the
        binomial law) and `is_leak`: below `LEVEL`, shared among the table's rows by Bonferroni.
    """
    names = ["dataset", "method", "generator_state"]
    figures = ["n_new", "n_test_copies", "natural_share"]
    columns = [*names, *figures, "p_value", "is_leak"]
    if not len(fits) or not set(figures) <= set(fits.columns):
        return pd.DataFrame(columns=columns)
    from scipy.stats import binom

    found = fits[fits["n_new"] > 0].drop_duplicates(names)[[*names, *figures]]
    found = found.reset_index(drop=True)
    # sf(k - 1) is the probability of k or more.
    found["p_value"] = binom.sf(found["n_test_copies"] - 1, found["n_new"], found["natural_share"])
    tried = found.groupby("dataset")["method"].transform("size")
    found["is_leak"] = found["p_value"] < LEVEL / tried
    return found[columns]


def said_of_leaks(fits: pd.DataFrame) -> list[str]:
    """Return a sentence for each method whose rows hold test rows beyond chance."""
    found = leaks(fits)
    said = found[found["is_leak"].astype(bool)]
    return [
        f"{row['dataset']}: {row['n_test_copies']} of {row['n_new']} new rows of {row['method']} "
        f"(generator state {row['generator_state']}) are test rows, where "
        f"{row['natural_share']:.1%} would be by chance: it has seen the test rows, and its "
        "figures do not count."
        for row in said.to_dict("records")
    ]
