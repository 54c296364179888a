from __future__ import annotations

import numpy as np
import pytest

from rddg_ray.calibration.moments import (
    number_summaries,
    number_totals,
    share_null,
    share_summaries,
)
from rddg_ray.calibration.summaries import Summaries
from rddg_ray.measuring import Floats, Gauge, Measured
from rddg_ray.schema import Column

PAIRS = (np.array([0]), np.array([1]))


def of(values: list[list[float]]) -> tuple[Floats, Floats]:
    return number_summaries(number_totals(np.array(values, dtype=np.float64).reshape(-1, 2)), PAIRS)


def place(summaries: Summaries, label: str, kind: str, *names: str) -> int:
    return next(at for at, item in enumerate(summaries.items)
                if (item.label, item.kind, item.names) == (label, kind, names))  # fmt: skip


def test_summaries_of_a_few_rows_are_those_of_a_hand_count() -> None:
    # First column 1, 2, 3: mean 2, variance 1. Second 2, 2, 5: mean 3, variance 3.
    found, counts = of([[1, 2], [2, 2], [3, 5]])
    r = (1 * 1 + 0 * 1 + 1 * 2) / np.sqrt(2 * 6)
    np.testing.assert_allclose(found, [2, 3, 0, 0.5 * np.log(3), np.arctanh(r)], atol=1e-12)
    assert counts.tolist() == [3, 3, 3, 3, 3]


def test_missing_cells_are_left_out_and_pairs_use_rows_that_have_both() -> None:
    found, counts = of([[1, 2], [2, 2], [3, 5], [np.nan, 9], [40, np.nan]])
    assert counts.tolist() == [4, 4, 4, 4, 3]
    np.testing.assert_allclose(found[:2], [46 / 4, 18 / 4])
    np.testing.assert_allclose(found[4], of([[1, 2], [2, 2], [3, 5]])[0][4])


def test_what_too_few_rows_cannot_tell_is_nan() -> None:
    assert np.isnan(of([])[0]).tolist() == [True] * 5
    assert np.isnan(of([[1, 2]])[0]).tolist() == [False, False, True, True, True]
    assert np.isnan(of([[1, 2], [2, 2]])[0]).tolist() == [False, False, False, False, True]


def test_totals_of_batches_add_up_to_those_of_all_rows(
    gauge: Gauge, real: Measured, summaries: Summaries
) -> None:
    parts = [real.take(np.arange(start, 500, 2)) for start in (0, 1)]
    whole = sum(summaries.totals(part) for part in parts)
    np.testing.assert_allclose(whole, summaries.totals(real), atol=1e-9)


def test_shares_are_anscombe_s_form_with_an_exact_law() -> None:
    assert share_summaries(np.array([3.0]), 9)[0] == pytest.approx(np.arcsin(np.sqrt(3.375 / 9.75)))
    rng = np.random.default_rng(0)
    shares = np.array([0.02, 0.2, 0.5])
    mean, variance = share_null(shares, 15)
    drawn = share_summaries(rng.binomial(15, shares, size=(200_000, 3)), 15)
    # A standard error of at most 0.13 / sqrt(200,000) = 0.0003.
    np.testing.assert_allclose(mean, drawn.mean(axis=0), atol=0.0012)
    assert variance[0] == 1 / 62  # the floor: a share below 1 / n is a rare jump
    np.testing.assert_allclose(variance[1:], drawn.var(axis=0)[1:], rtol=0.02)


def test_real_rows_deviate_from_themselves_by_rounding_only(
    real: Measured, summaries: Summaries
) -> None:
    found = summaries.observe(summaries.totals(real))
    known = np.isfinite(found.variance)
    is_share = np.array([item.kind == "share" for item in summaries.items])
    # The law's means are drawn to 1/40 of a batch's deviation; the half row that shares are
    # smoothed by moves those of 0 and 1 by at most 1 / (2 sqrt(200)) / 2 on their scale.
    z = np.abs(found.deviation[known & ~is_share] / np.sqrt(found.variance[known & ~is_share]))
    assert z.max() < 0.2
    assert np.abs(found.deviation[known & is_share]).max() < 0.02


def test_variances_are_those_of_batches_of_real_rows(real: Measured, summaries: Summaries) -> None:
    rng = np.random.default_rng(8)
    of_a = np.flatnonzero(real.labels == 0)
    found = [summaries.observe(summaries.totals(real.take(rng.choice(of_a, 12))))
             for _ in range(1_500)]  # fmt: skip
    # Shares are left out: rare ones have a floor. Missing cells make sizes vary: averages.
    mine = np.array([i.label == "a" and i.kind != "share" for i in summaries.items])
    mine &= np.isfinite(found[0].variance)
    scaled = np.array([one.deviation / np.sqrt(one.variance) for one in found])[:, mine]
    varies = scaled.std(axis=0) > 0  # a constant column never does
    # 1,500 draws here and 1,600 there: a mean to 0.037; a variance, with kurtosis up to 5, to 7%.
    np.testing.assert_allclose(scaled[:, varies].mean(axis=0), 0, atol=0.13)
    np.testing.assert_allclose(scaled[:, varies].var(axis=0), 1, atol=0.25)


def test_a_heavy_tail_widens_the_law_of_its_spread() -> None:
    rng = np.random.default_rng(4)
    gauge = Gauge([Column("x", "numerical"), Column("y", "numerical")], ("a",))
    cells = np.stack([rng.standard_normal(2_000), np.exp(1.5 * rng.standard_normal(2_000))], axis=1)
    real = Measured(np.zeros(2_000, dtype=np.int64), cells, np.zeros((2_000, 0), dtype=np.int64))
    units = Summaries(gauge, real).unit[2:4]
    # Of a normal column the unit is about sqrt(1/2 n / (n - 1)); the kurtosis of 2,000 draws, and
    # 1,600 batches, blur it by some 5%.
    assert units[0] == pytest.approx(np.sqrt(0.5 * 15 / 14), rel=0.1)
    assert units[1] > 2.5 * units[0]


def test_nothing_undefined_ever_becomes_a_number_or_nan(
    gauge: Gauge, real: Measured, summaries: Summaries
) -> None:
    for n_rows in (0, 1, 2, 3):
        found = summaries.observe(summaries.totals(real.take(np.arange(n_rows))))
        assert np.isfinite(found.deviation).all()
        assert not np.isnan(found.variance).any()
        assert (found.deviation[np.isinf(found.variance)] == 0).all()
        assert np.isinf(found.variance[summaries.starts[1] :]).all()  # class b has no rows
    empty = summaries.observe(summaries.totals(real.take(np.arange(0))))
    assert np.isinf(empty.variance).all()


def test_constant_and_all_missing_columns_are_not_spoken_of_except_a_constant_s_mean(
    summaries: Summaries,
) -> None:
    assert summaries.speakable[place(summaries, "a", "mean", "fixed")]
    assert not summaries.speakable[place(summaries, "a", "std", "fixed")]
    assert not summaries.speakable[place(summaries, "a", "correlation", "age", "fixed")]
    assert not summaries.speakable[place(summaries, "a", "mean", "gone")]
    assert np.isfinite(summaries.unit).all()


def test_a_number_whose_square_is_no_float_stays_at_the_edge(
    gauge: Gauge, real: Measured, summaries: Summaries
) -> None:
    batch = real.take(np.arange(15))
    numbers = batch.numbers.copy()
    numbers[0, 0] = 1e300
    wild = Measured(batch.labels, numbers, batch.slots)
    found = summaries.observe(summaries.totals(wild))
    assert np.isfinite(found.deviation).all()
    # Real ages span some 6 deviations; the cell counts as at most twice that, over 15 rows.
    assert abs(found.deviation[place(summaries, "a", "mean", "age")]) < 1.5


def test_rare_categories_are_pooled_and_the_largest_is_left_out(summaries: Summaries) -> None:
    shares = [item for item in summaries.items if item.kind == "share" and item.label == "a"]
    wards = {frozenset(item.values) for item in shares if item.names == ("ward",)}
    assert wards == {frozenset({"S"}), frozenset({"E", "W", None})}
    pooled = next(at for at, item in enumerate(summaries.items) if len(item.values) > 1)
    assert not summaries.speakable[pooled]
    assert [item.values for item in shares if item.names == ("dose",)] == [(None,)]
