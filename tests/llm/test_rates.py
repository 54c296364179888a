"""What headers say about limits."""

from __future__ import annotations

import pytest

from rddg_ray.exchange import RateHeaders
from rddg_ray.llm.rates import duration_s, per_minute, read_rates


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20ms", 0.02),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("2m59.56s", 179.56),
        ("1h0m1s", 3601.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("soon", None),
        ("5 s", None),
        ("nan", None),
        ("", None),
        (None, None),
    ],
)
def test_durations_are_read_as_servers_write_them(text, seconds):
    assert duration_s(text) == (None if seconds is None else pytest.approx(seconds))


def test_headers_become_numbers_and_nonsense_counts_as_absent():
    told = read_rates(
        {
            "x-ratelimit-limit-requests": "3000",
            "x-ratelimit-limit-tokens": "many",
            "x-ratelimit-remaining-tokens": "-5",
            "x-ratelimit-reset-requests": "20ms",
            "content-type": "text/html",
        }
    )
    assert told == RateHeaders(3000, None, None, -5, 0.02, None)
    assert read_rates({"content-type": "text/html"}) is None


def test_a_limit_whose_reset_is_over_a_minute_off_is_none_of_a_minute():
    # 14,400 requests a day: after 30 of them the reset is 179.56 s away.
    assert per_minute(14_400, 179.56) is None
    assert per_minute(3_000, 59.9) == 3_000
    assert per_minute(3_000, None) == 3_000
    assert per_minute(0, None) is None
