"""The few summaries that are spoken of, out of all that are off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from rddg_ray.calibration.checking import Bools
from rddg_ray.calibration.posterior import Posterior
from rddg_ray.calibration.summaries import Summaries
from rddg_ray.calibration.summary import Summary
from rddg_ray.config import CalibrationSettings
from rddg_ray.measuring import Ints


def worst(
    summaries: Summaries, beliefs: Posterior, fallen: Bools, settings: CalibrationSettings
) -> Ints:
    """Return the places of the summaries to speak of: of each class and kind the most biased.

    Args:
        summaries: All summaries.
        beliefs: What is believed of them.
        fallen: Those that are surely off.
        settings: How many are said.
    """
    size = np.where(fallen, np.abs(beliefs.bias) / summaries.unit, -1.0)
    chosen: list[int] = []
    for start, end in pairwise(summaries.starts):
        order = start + np.argsort(-size[start:end], kind="stable")
        chosen += _few([int(at) for at in order if fallen[at]], summaries.items, settings)
    return np.array(chosen, dtype=np.int64)


def _few(
    places: Sequence[int], items: Sequence[Summary], settings: CalibrationSettings
) -> list[int]:
    """Return the first of each kind, and of correlations no column twice.

    Whoever brings one correlation to a figure moves one of its columns, and with it all other
    correlations of that column.
    """
    n_said: Counter[str] = Counter()
    named: set[str] = set()
    few: list[int] = []
    for at in places:
        kind, names = items[at].kind, items[at].names
        is_pair = kind == "correlation"
        most = settings.max_correlations if is_pair else settings.max_items
        if n_said[kind] >= most or (is_pair and named.intersection(names)):
            continue
        n_said[kind] += 1
        named |= set(names) if is_pair else set()
        few.append(at)
    return few
