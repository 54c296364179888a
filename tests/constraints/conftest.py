"""A table whose rules are known, because its rows are made by them."""

from __future__ import annotations

import pandas as pd
import pytest

from rddg_ray.table import Table, from_frame

N_ROWS = 40


@pytest.fixture
def orders() -> Table:
    """Return 40 orders: total = price * count, 4 without a rating, sent after they were made."""
    rows = [
        {
            "price": 1.5 + i % 7,
            "count": 1 + i % 5,
            "total": (1.5 + i % 7) * (1 + i % 5),
            "made": f"2024-03-{1 + i % 20:02d}",
            "sent": f"2024-03-{3 + i % 20 + i % 3:02d}",
            "land": ["FR", "DE", "DE", "AT"][i % 4],
            "town": ["Paris", "Berlin", "Bonn", "Wien"][i % 4],
            "rating": None if i % 10 == 9 else i % 6,
            "class": "back" if i % 4 == 3 else "kept",
        }
        for i in range(N_ROWS)
    ]
    return from_frame(pd.DataFrame(rows), "class", name="orders")
