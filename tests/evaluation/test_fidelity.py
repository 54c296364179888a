from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rddg_ray.errors import DataError
from rddg_ray.evaluation.fidelity import (
    FLOOR,
    associations,
    column_figures,
    compare,
    correlations,
    floor,
    of_scope,
)
from rddg_ray.evaluation.fidelity_ceiling import fidelity_figures
from rddg_ray.evaluation.fidelity_columns import divergence, jensen_shannon
from rddg_ray.evaluation.fidelity_pairs import gaps
from rddg_ray.evaluation.readings import ALL, FIGURE_COLUMNS, METRICS, RARE
from rddg_ray.schema import Column
from rddg_ray.table import Table, conform, from_frame

NUMBER, WORD = Column("x", "numerical", decimals=3), Column("w", "categorical")


def test_divergence_is_the_sum_counted_by_hand() -> None:
    found = divergence(np.array([3.0, 1.0]), np.array([1.0, 1.0]))
    assert found == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5), abs=1e-5)


def test_divergence_of_equal_shares_is_zero_and_of_disjoint_ones_log_of_a_million() -> None:
    assert divergence(np.array([2.0, 2.0]), np.array([7.0, 7.0])) == pytest.approx(0, abs=1e-5)
    assert divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(np.log(1e6))


def test_jensen_shannon_is_the_sum_counted_by_hand_and_bounded_by_a_bit() -> None:
    # Half a row added: (3.5, 1.5) / 5 against (1.5, 3.5) / 5, whose middle is (0.5, 0.5).
    found = jensen_shannon(np.array([3.0, 1.0]), np.array([1.0, 3.0]))
    assert found == pytest.approx(1 + 0.7 * np.log2(0.7) + 0.3 * np.log2(0.3))
    assert jensen_shannon(np.array([5.0, 2.0]), np.array([5.0, 2.0])) == 0.0
    assert 0.99 < jensen_shannon(np.array([1e6, 0.0]), np.array([0.0, 1e6])) < 1.0


def test_one_row_out_of_reach_moves_the_papers_divergence_but_hardly_the_smooth_one() -> None:
    real, made = np.full(50, 2.0), np.full(50, 2.0)
    made[0] = 0.0
    assert divergence(real, made) > 0.15
    assert jensen_shannon(real, made) < 0.01


def test_numbers_shifted_by_one_real_deviation_show_that() -> None:
    real = pd.Series([0.0, 2.0] * 50)
    found = column_figures(NUMBER, real, real + 1.0)
    assert found["mean_difference"] == pytest.approx(1.0)
    assert found["std_ratio"] == pytest.approx(1.0)
    assert found["ks_complement"] == pytest.approx(0.5)
    assert found["missing_difference"] == 0.0


def test_the_kolmogorov_complement_is_that_of_scipy() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    real, made = pd.Series(rng.normal(size=83).round(1)), pd.Series(rng.normal(0.4, 1, 61).round(1))
    statistic = ks_2samp(real, made, method="asymp").statistic
    assert column_figures(NUMBER, real, made)["ks_complement"] == pytest.approx(1 - statistic)


def test_histogram_divergence_is_that_of_numpys_bins() -> None:
    rng = np.random.default_rng(1)
    real, made = rng.normal(size=200).round(2), rng.normal(0.5, 2, 100).round(2)
    edges = np.linspace(min(real.min(), made.min()), max(real.max(), made.max()), 51)
    expected = divergence(np.histogram(real, edges)[0], np.histogram(made, edges)[0])
    found = column_figures(NUMBER, pd.Series(real), pd.Series(made))
    assert found["kl"] == pytest.approx(expected)


def test_categories_differ_by_half_the_summed_shares() -> None:
    real, made = pd.Series(["a"] * 3 + ["b"]), pd.Series(["a", "b", "c", None], dtype="str")
    found = column_figures(WORD, real, made)
    assert found["tv_complement"] == pytest.approx(1 - (5 / 12 + 1 / 12 + 1 / 3) / 2)
    assert found["missing_difference"] == 0.25


def test_a_column_that_is_all_missing_has_no_distance() -> None:
    found = column_figures(NUMBER, pd.Series([1.0, 2.0]), pd.Series([np.nan, np.nan]))
    assert found == {"missing_difference": 1.0}
    with pytest.raises(DataError, match="no rows to compare"):
        column_figures(NUMBER, pd.Series([1.0]), pd.Series([], dtype="float64"))


def test_correlations_agree_with_numpy_and_a_flat_column_has_none(train: Table) -> None:
    flat = train.with_frame(train.frame.assign(weight=0.1))
    real, made = correlations(train, flat)
    codes = train.frame[["bought", "size", "weight"]].assign(
        bought=(train.frame["bought"] == "yes").astype(float)
    )
    assert np.allclose(real[:3, :3], np.corrcoef(codes.to_numpy().T))
    assert made[2].tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]


def _eight_rows() -> Table:
    # u and v follow one another but for one row in four; n is 0 or 2 by u, and 1 more by the row.
    return from_frame(
        pd.DataFrame({
            "u": ["a"] * 4 + ["b"] * 4, "v": ["p", "p", "p", "q", "q", "q", "q", "p"],
            "n": [0.5, 1.5, 0.5, 1.5, 2.5, 3.5, 2.5, 3.5], "y": ["s", "t"] * 4,
        }),
        "y",
    )  # fmt: skip


def test_associations_are_those_counted_by_hand() -> None:
    table = _eight_rows()
    found, _ = associations(table, table)
    names = [column.name for column in table.prompt_columns]
    u, v, n = (names.index(name) for name in "uvn")
    # Squared contingency (9 + 1 + 1 + 9) / 16 - 1 = 1/4, less (1 * 1) / 7; two levels count as
    # 2 - 1/7, so the room is 6/7.
    assert found[u, v] == pytest.approx(np.sqrt((1 / 4 - 1 / 7) / (6 / 7)))
    # Between the two means of n lie 8 * 1^2 of the 8 * (1 + 0.25) squares.
    assert found[u, n] == found[n, u] == pytest.approx(np.sqrt(8 / 10))
    assert np.diag(found).tolist() == [1.0] * 4


def test_gaps_of_two_matrices_are_those_counted_by_hand() -> None:
    first = np.eye(3)
    second = np.array([[1, 0.3, 0], [0.3, 1, -0.4], [0, -0.4, 1]])
    found = gaps("g", first, second)
    assert found == pytest.approx({
        "g_frobenius": np.sqrt(0.5), "g_rmse": np.sqrt(0.5) / 3, "g_mae": 0.7 / 3, "g_max": 0.4
    })  # fmt: skip


def test_real_rows_compared_with_themselves_have_no_difference(train: Table) -> None:
    found = pd.DataFrame(compare(train, train, method="same", generator_state=0))
    whole = found[found["column"] == ALL].set_index("metric")["value"]
    ideal = pd.Series({name: METRICS[name].ideal for name in whole.index}, dtype="float64")
    assert (whole - ideal).abs().max() < 1e-4
    assert set(found["column"]) == {ALL, "size", "weight", "colour", "owned"}


def test_a_scope_compares_the_rows_of_the_rare_class(train: Table) -> None:
    common = train.take(np.flatnonzero(train.labels == "no"))
    assert set(of_scope(train, train, RARE).labels) == {"yes"}
    found = compare(train, of_scope(train, train, RARE), method="m", generator_state=0, scope=RARE)
    assert min(row["value"] for row in found if row["metric"].endswith("complement")) == 1.0
    assert compare(train, common, method="m", generator_state=0, scope=RARE) == []
    with pytest.raises(DataError, match="scope: 'yes' is not one of"):
        of_scope(train, train, "yes")


def test_the_floor_is_near_zero_and_repeats_with_its_random_state(train: Table) -> None:
    found = pd.DataFrame(floor(train, 2000, random_state=1))
    assert set(found["method"]) == {FLOOR}
    # 2,000 draws of a discrete law: the Kolmogorov statistic exceeds 0.05 with probability
    # 2 exp(-2 * 2000 * 0.05^2) < 1e-4 (Dvoretzky-Kiefer-Wolfowitz).
    assert found.loc[found["metric"] == "ks_complement", "value"].min() > 0.95
    pd.testing.assert_frame_equal(found, pd.DataFrame(floor(train, 2000, random_state=1)))


def test_shared_schema_makes_missing_categories_comparable() -> None:
    frame = pd.DataFrame({"c": ["u", None, "v", "u"] * 5, "y": ["a", "b"] * 10})
    table = from_frame(frame, "y")
    assert len(compare(table, table.take(range(6)), method="m", generator_state=0)) > 0


def test_a_category_of_many_values_is_measured_in_little_room() -> None:
    names = [f"n{place}" for place in range(300)]
    frame = pd.DataFrame({"c": names * 2, "d": names[:150] * 4, "y": ["a", "b"] * 300})
    table = from_frame(frame, "y", metadata={"c": {"kind": "categorical"},
                                             "d": {"kind": "categorical"}})  # fmt: skip
    found = {row["metric"]: row["value"] for row in compare(table, table, method="m",
             generator_state=0) if row["column"] == ALL}  # fmt: skip
    assert found["tv_complement"] == found["contingency_similarity"] == 1.0


def _shuffled(table: Table, random_state: int) -> Table:
    rng = np.random.default_rng(random_state)
    frame = table.frame.copy()
    for name in frame.columns:
        frame[name] = frame[name].iloc[rng.permutation(len(frame))].array
    return table.with_frame(frame)


def _linked(n_rows: int, random_state: int) -> pd.DataFrame:
    """Rows of a law with strong links: b follows a, the word follows a's sign, the class too."""
    rng = np.random.default_rng(random_state)
    a = rng.normal(size=n_rows)
    return pd.DataFrame({
        "a": a.round(3), "b": (a + 0.5 * rng.normal(size=n_rows)).round(3),
        "w": np.where(a + 0.5 * rng.normal(size=n_rows) > 0, "up", "down"),
        "y": np.where(a > 0.8, "rare", "common"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def linked() -> tuple[Table, Table, pd.DataFrame]:
    train = from_frame(_linked(1200, 0), "y", name="linked")
    test = conform(_linked(400, 1), train, name="test")
    again = conform(_linked(700, 2), train, name="again")
    made = {("again", 0): again, ("shuffled", 0): _shuffled(again, 3), ("copies", 0): train}
    return train, test, fidelity_figures(train, test, made, n_draws=8)


def _whole(figures: pd.DataFrame, method: str, scope: str = ALL) -> pd.DataFrame:
    chosen = (figures["method"] == method) & (figures["scope"] == scope)
    return figures[chosen & (figures["column"] == ALL)].set_index("metric")


def test_a_second_real_sample_scores_at_the_ceiling(linked) -> None:
    found = _whole(linked[2], "again")
    assert set(found["n_matched"]) == {400}
    gap = (found["matched"] - found["ceiling"]).astype("float64")
    # Two samples of n = 400 against a third, all of one law. A Kolmogorov statistic of two such
    # samples exceeds c sqrt(2 / n) with probability 2 exp(-2 c^2): 0.15 at 1e-4 or less, and so
    # does half the summed difference of two shares (Hoeffding).
    assert abs(gap["ks_complement"]) < 0.15
    assert abs(gap["tv_complement"]) < 0.15
    # A Pearson coefficient near 0.9 has a standard deviation under (1 - r^2) / sqrt(n) < 0.05,
    # weaker ones of under 1 / sqrt(n) = 0.05, and a difference of two 0.071: six pairs of which
    # each weighs 1/6 in the mean stay within four of these.
    for metric in ("correlation_mae", "association_mae"):
        assert abs(gap[metric]) < 4 * 0.071
    assert abs(gap["js"]) < 0.05
    assert (found["matched"] >= 0).all()


def test_shuffled_columns_keep_their_distributions_and_lose_their_links(linked) -> None:
    again, shuffled = (_whole(linked[2], method)["value"] for method in ("again", "shuffled"))
    for metric in ("kl", "js", "ks_complement", "tv_complement", "column_similarity"):
        assert shuffled[metric] == pytest.approx(again[metric], abs=1e-12)
    # Cor(a, b) = 1 / sqrt(1.25) = 0.894 falls to 0 within 4 / sqrt(700) = 0.15.
    assert shuffled["correlation_max"] > 0.894 - 0.15 - 4 * 0.2 / np.sqrt(1200)
    assert shuffled["association_max"] > 0.894 - 0.15 - 4 * 0.2 / np.sqrt(1200)
    assert again["association_max"] < 0.2
    # One pair of numbers: half of 0.894 is lost, but for half of the same allowance.
    assert shuffled["correlation_similarity"] < 1 - 0.894 / 2 + 0.1
    assert again["correlation_similarity"] > 0.95


def test_figures_are_long_and_say_how_to_read_them(linked) -> None:
    figures = linked[2]
    assert tuple(figures.columns) == FIGURE_COLUMNS
    assert set(figures["scope"]) == {ALL, RARE}
    assert set(figures["metric"]) <= METRICS.keys()
    assert figures[["ceiling", "floor", "matched"]].notna().all().all()
    rare = _whole(figures, "copies", RARE)
    assert not rare.loc["kl", "higher_is_better"]
    assert rare.loc["ks_complement", "higher_is_better"]
    assert rare.loc["ks_complement", "value"] == 1.0


def test_the_ceiling_is_that_of_fewer_rows_where_there_are_fewer(linked) -> None:
    train, test, _ = linked
    few = fidelity_figures(train, test, {("m", 0): train.take(range(40))}, n_draws=4)
    found = _whole(few, "m")
    assert set(found["n_matched"]) == {40}
    ceilings = _whole(linked[2], "again")["ceiling"]
    # Real rows differ the more from one another the fewer they are.
    assert found.loc["column_similarity", "ceiling"] < ceilings["column_similarity"]
    assert found.loc["kl", "ceiling"] > ceilings["kl"]


def test_without_held_out_rows_there_is_no_ceiling_and_without_made_rows_no_figure(linked) -> None:
    train = linked[0]
    found = fidelity_figures(train, train.take([]), {("m", 0): train.take(range(50))}, n_draws=1)
    assert found["ceiling"].isna().all()
    assert found["floor"].notna().any()
    assert len(fidelity_figures(train, train, {("m", 0): train.take([0])})) == 0


def _shared_metrics_tables() -> tuple[Table, Table]:
    real = pd.DataFrame({
        "x": [1.0, 2.0, 3.0, 4.0, None, 6.0], "z": [2.0, 1.0, 4.0, 3.0, 9.0, 6.0],
        "w": ["a", "a", "b", None, "b", "a"], "v": ["p", "q", "p", "q", "q", "q"],
        "y": ["s", "s", "s", "t", "t", "s"],
    })  # fmt: skip
    made = pd.DataFrame({
        "x": [1.0, 1.0, 5.0, 6.0], "z": [1.0, 2.0, 2.0, 1.0], "w": ["a", "b", "c", None],
        "v": ["p", "p", "p", "q"], "y": ["s", "t", "t", "s"],
    })  # fmt: skip
    kinds = {name: {"kind": "categorical"} for name in "wv"}
    kinds |= {name: {"kind": "numerical"} for name in "xz"}
    table = from_frame(real, "y", metadata=kinds)
    cells = made.astype({"w": "str", "v": "str", "y": "str"})
    return table, table.with_frame(cells[list(table.frame.columns)])


def test_metrics_shared_with_sdmetrics_have_the_values_counted_by_hand() -> None:
    real, made = _shared_metrics_tables()
    found = {(row["column"], row["metric"]): row["value"]
             for row in compare(real, made, method="m", generator_state=0)}  # fmt: skip
    # x: at 1 shares 1/5 and 1/2; at 4 shares 4/5 and 1/2. z: at 2 shares 2/6 and 1.
    assert found["x", "ks_complement"] == pytest.approx(0.7)
    assert found["z", "ks_complement"] == pytest.approx(1 / 3)
    # w, known cells: 3/5, 2/5, 0 against 1/3 each. v: 2/6, 4/6 against 3/4, 1/4.
    assert found["w", "tv_complement"] == pytest.approx(1 - (4 / 15 + 1 / 15 + 1 / 3) / 2)
    assert found["v", "tv_complement"] == pytest.approx(1 - 5 / 12)
    # Over the five rows that have both, x - 3.2 = (-2.2, -1.2, -0.2, 0.8, 2.8) and z - 3.2 =
    # (-1.2, -2.2, 0.8, -0.2, 2.8): products 12.8, squares 14.8 each.
    r = 12.8 / 14.8
    # x - 3.25 = (-2.25, -2.25, 1.75, 2.75), z - 1.5 = (-0.5, 0.5, 0.5, -0.5): -0.5 over
    # sqrt(20.75 * 1).
    s = -0.5 / np.sqrt(20.75)
    assert found[ALL, "correlation_similarity"] == pytest.approx(1 - abs(r - s) / 2)


def test_contingency_likeness_is_one_minus_the_total_variation_of_pairs() -> None:
    real = from_frame(pd.DataFrame({"u": list("aabb"), "y": list("stst")}), "y")
    made = real.with_frame(pd.DataFrame({"u": list("aabb"), "y": list("sstt")}))
    found = {row["metric"]: row["value"]
             for row in compare(real, made, method="m", generator_state=0)}  # fmt: skip
    # Four pairs of 1/4 each against two of 1/2: half of 4 * 1/4.
    assert found["contingency_similarity"] == pytest.approx(0.5)


def test_metrics_shared_with_sdmetrics_agree_with_it() -> None:
    pytest.importorskip("sdmetrics", reason="SDMetrics is not a dependency")
    from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
    from sdmetrics.single_column import KSComplement, TVComplement

    for real, made in (_shared_metrics_tables(), _random_pair()):
        found = {(row["column"], row["metric"]): row["value"]
                 for row in compare(real, made, method="m", generator_state=0)}  # fmt: skip
        a, b = real.frame, made.frame
        for name in "xz":
            assert found[name, "ks_complement"] == pytest.approx(
                KSComplement.compute(a[name], b[name])
            )
        for name in "wv":
            assert found[name, "tv_complement"] == pytest.approx(
                TVComplement.compute(a[name], b[name])
            )
        pairs = [["x", "z"]]
        assert found[ALL, "correlation_similarity"] == pytest.approx(
            np.mean([CorrelationSimilarity.compute(a[p], b[p]) for p in pairs])
        )
        pairs = [["y", "w"], ["y", "v"], ["w", "v"]]
        assert found[ALL, "contingency_similarity"] == pytest.approx(
            np.mean([ContingencySimilarity.compute(a[p], b[p]) for p in pairs])
        )


def _random_pair() -> tuple[Table, Table]:
    def rows(n_rows: int, random_state: int, shift: float) -> pd.DataFrame:
        rng = np.random.default_rng(random_state)
        x = rng.normal(shift, 1.0, n_rows).round(2)
        return pd.DataFrame({
            "x": np.where(rng.random(n_rows) < 0.1, np.nan, x), "z": x + rng.normal(size=n_rows),
            "w": rng.choice(["a", "b", "c"], n_rows), "v": np.where(x > 0, "p", "q"),
            "y": rng.choice(["s", "t"], n_rows, p=[0.3, 0.7]),
        })  # fmt: skip

    table = from_frame(rows(300, 0, 0.0), "y")
    return table, conform(rows(200, 1, 0.5), table, name="made")
