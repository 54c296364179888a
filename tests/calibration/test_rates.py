from __future__ import annotations

import pytest

from rddg_ray.calibration import AcceptanceRate


def test_the_mean_rate_is_that_of_a_beta_posterior() -> None:
    assert AcceptanceRate().mean == pytest.approx(0.8)
    assert AcceptanceRate(accepted=6, refused=4).mean == pytest.approx(10 / 15)


def test_more_rows_are_asked_for_the_more_are_refused() -> None:
    rates = [AcceptanceRate(200, 0), AcceptanceRate(160, 40), AcceptanceRate(100, 100)]
    asked = [rate.request(40) for rate in rates]
    assert asked[0] == 40
    # At a rate of 0.8 known to 0.03, half of the requests of 50 bring 40.
    assert asked[1] == pytest.approx(50, abs=1)
    assert asked[2] == pytest.approx(80, abs=2)


def test_a_request_is_bounded_and_confidence_costs_rows() -> None:
    hopeless = AcceptanceRate(0, 500)
    assert hopeless.request(10) == 20
    assert hopeless.request(10, most=15) == 15
    rate = AcceptanceRate(80, 20)
    assert rate.request(10, confidence=0.9) > rate.request(10, confidence=0.5) >= 10
    assert rate.request(0) == 0


def test_an_interval_narrows_with_rows() -> None:
    few, many = AcceptanceRate(8, 2).interval(), AcceptanceRate(800, 200).interval()
    assert few[0] < many[0] < 0.8 < many[1] < few[1]
