"""Near copies by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rddg_ray.measuring import Gauge
from rddg_ray.near_copies import NearCopies
from rddg_ray.table import from_frame


@pytest.fixture
def copies():
    # Spacings: dose 0.2 (gaps 0.2, 0.2, 9.6), age 1 (gaps 1, 1, 1).
    frame = pd.DataFrame(
        {
            "dose": [0.0, 0.2, 0.4, 10.0, None],
            "age": [20, 21, 22, 23, 20],
            "site": ["Oslo", "Rome", "Oslo", "Oslo", "Oslo"],
            "state": ["ill", "ill", "well", "well", "ill"],
        }
    )
    table = from_frame(frame, "state")
    gauge = Gauge(table.features, table.classes)
    return NearCopies(gauge, gauge.of_frame(table.frame, list(table.labels)))


@pytest.mark.parametrize(
    ("row", "place"),
    [
        (("ill", 0.0, 20.0, "Oslo"), 0),  # a copy
        (("ill", 0.1, 20.0, "Oslo"), 0),  # half a spacing away
        (("ill", 0.11, 20.0, "Oslo"), None),  # a little more
        (("ill", 0.0, 21.0, "Oslo"), None),  # a whole year is a spacing
        (("ill", 0.0, 20.0, "Rome"), None),  # another word
        (("well", 0.0, 20.0, "Oslo"), None),  # another class
        (("ill", None, 20.0, "Oslo"), 4),  # missing cells are equal
        (("well", None, 23.0, "Oslo"), None),
        (("ill", 0.0, 20.0, None), None),
    ],
)
def test_a_near_copy_shares_words_and_all_but_shares_numbers(copies, row, place):
    assert copies.of_rows([row]) == [place]


def test_no_tolerance_finds_exact_copies_alone():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"dose": rng.normal(size=50), "state": ["ill", "well"] * 25})
    table = from_frame(frame, "state")
    gauge = Gauge(table.features, table.classes)
    real = gauge.of_frame(table.frame, list(table.labels))
    copies = NearCopies(gauge, real, tolerance=0.0)
    rows = [(str(table.labels[at]), float(real.numbers[at, 0])) for at in range(50)]
    assert copies.of_rows(rows) == list(range(50))
    assert copies.of_rows([(label, value + 1e-6) for label, value in rows]) == [None] * 50


def test_natural_rates_count_rows_that_have_another_like_them():
    # Rows 0 and 1 are equal, 2 lies half a spacing (0.5) from both, 3 alone, 4 of another class.
    frame = pd.DataFrame(
        {
            "dose": [1.0, 1.0, 1.5, 4.0, 1.0, 2.5, 3.5],
            "state": ["ill", "ill", "ill", "ill", "well", "well", "well"],
        }
    )
    table = from_frame(frame, "state")
    gauge = Gauge(table.features, table.classes)
    # Distinct values 1, 1.5, 2.5, 3.5, 4: gaps 0.5, 1, 1, 0.5, median 0.75; tolerance 0.375.
    tight = NearCopies(gauge, gauge.of_frame(table.frame, list(table.labels)))
    assert tight.natural_rates().exact == tight.natural_rates().near == pytest.approx(2 / 7)
    wide = NearCopies(
        gauge, gauge.of_frame(table.frame, list(table.labels)), tolerance=0.7
    ).natural_rates()
    assert (wide.exact, wide.near) == (pytest.approx(2 / 7), pytest.approx(3 / 7))


def test_rows_without_numbers_are_near_where_their_words_are_equal():
    frame = pd.DataFrame(
        {"site": ["Oslo", "Rome", "Oslo", "Bonn"], "state": ["ill", "well", "ill", "well"]}
    )
    table = from_frame(frame, "state")
    gauge = Gauge(table.features, table.classes)
    copies = NearCopies(gauge, gauge.of_frame(table.frame, list(table.labels)))
    found = copies.of_rows([("ill", "Oslo"), ("ill", "Rome"), ("well", "Rome")])
    assert found[0] in (0, 2)
    assert found[1:] == [None, 1]
    assert copies.natural_rates().exact == pytest.approx(1 / 2)


def test_no_number_of_a_reply_is_too_large_to_be_compared():
    frame = pd.DataFrame(
        {
            "k": [0.0, None, 0.0, 0.0],
            "dose": [0.1, 0.2, 0.3, 0.5],
            "state": ["ill", "well", "ill", "well"],
        }
    )
    table = from_frame(frame, "state")
    gauge = Gauge(table.features, table.classes)
    copies = NearCopies(gauge, gauge.of_frame(table.frame, list(table.labels)))
    rows = [("ill", 3e9, 0.1), ("ill", 1e308, -1e308), ("ill", 0.0, 0.1)]
    assert copies.of_rows(rows) == [None, None, 0]
