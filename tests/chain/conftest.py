"""A small multi-class table with names and cells that break careless code."""

from __future__ import annotations

import pandas as pd
import pytest

from rddg_ray.table import Table, from_frame

NAMES = ['price, "net" {EUR}', "größe\n(cm)", "bought on", "note", "class"]


def hostile_frame() -> pd.DataFrame:
    notes = ["{{ x }}", "a, b", 'say "hi"', "```", "two\nlines", "ünï", "{% if %}", "| pipe |"]
    labels = ["low", "1. mid", "-high", "low"]
    rows = [
        (None if i % 5 == 4 else i + 0.25, 150 + 7 * i % 40, f"2024-0{1 + i % 9}-1{i % 7}",
         None if i % 8 == 7 else notes[i % 8], labels[i % 4])
        for i in range(48)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=NAMES)


@pytest.fixture
def hostile() -> Table:
    return from_frame(hostile_frame(), "class", name='host "ile"',
                      descriptions={"note": "free {{ text }}\nin two lines"})  # fmt: skip
