"""Which category shares of a class are compared."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from rddg_ray.calibration.summary import Summary
from rddg_ray.measuring import Gauge, Ints, Measured
from rddg_ray.relations import is_number


def share_members(
    gauge: Gauge, label: str, mine: Measured, rare_share: float
) -> tuple[list[tuple[int, Ints]], list[Summary]]:
    """Return group and slots of each share, and what it is; the largest follows from the rest."""
    members: list[tuple[int, Ints]] = []
    summaries: list[Summary] = []
    for group, (start, end) in enumerate(pairwise([*gauge.starts, len(gauge.slots)])):
        slots = np.arange(start, end, dtype=np.int64)
        shares = np.array([np.mean(mine.slots[:, group] == slot) if len(mine) else 0.0
                           for slot in slots])  # fmt: skip
        if is_number(gauge.groups[group]):
            # The missing cell is a share of its own, however rare.
            parts = [slots[-1:]]
        else:
            order = slots[np.argsort(-shares, kind="stable")]
            common = [slot for slot in order[1:] if shares[slot - start] >= rare_share]
            rare = [slot for slot in order[1:] if shares[slot - start] < rare_share]
            parts = [np.array([slot], dtype=np.int64) for slot in common]
            parts += [np.array(rare, dtype=np.int64)] if rare else []
        for part in parts:
            members.append((group, part))
            values = tuple(gauge.slots[slot][1] for slot in part)
            summaries.append(Summary(label, "share", (gauge.groups[group].name,), values))
    return members, summaries
