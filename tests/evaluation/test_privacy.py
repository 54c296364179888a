from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rddg_ray.evaluation.privacy import privacy_figures
from rddg_ray.evaluation.privacy_attack import attack, leak_of, low_rate, wilson
from rddg_ray.evaluation.privacy_distance import Points, Space, distances, scan
from rddg_ray.evaluation.privacy_words import NO_PROOF, said_of_privacy
from rddg_ray.evaluation.readings import ALL, FIGURE_COLUMNS, RARE
from rddg_ray.reading import read_frame
from rddg_ray.table import Table, conform, from_frame


def population(n_rows: int, random_state: int) -> pd.DataFrame:
    rng = np.random.default_rng(random_state)
    rare = rng.random(n_rows) < 0.3
    return pd.DataFrame({
        "a": rng.normal(rare * 1.0, 1.0).round(3), "b": rng.gamma(2.0, 3.0, n_rows).round(3),
        "c": np.where(rng.random(n_rows) < 0.1, np.nan, rng.normal(size=n_rows).round(3)),
        "w": rng.choice(["p", "q", "r"], n_rows), "y": np.where(rare, "yes", "no"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def train() -> Table:
    return from_frame(population(300, 0), "y", name="people")


@pytest.fixture(scope="module")
def held_out(train: Table) -> Table:
    return conform(population(200, 1), train, name="test")


@pytest.fixture(scope="module")
def figures(train: Table, held_out: Table) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    copied = train.take(rng.integers(len(train), size=300))
    nudged = copied.with_frame(
        copied.frame.assign(a=copied.frame["a"] + rng.normal(0.0, 0.02, 300))
    )
    made = {
        ("again", 0): conform(population(300, 2), train, name="again"),
        ("copies", 0): copied,
        ("nudged", 0): nudged,
    }
    shown = {("copies", 0): train.take(range(100))}
    return privacy_figures(train, held_out, made, shown=shown)


def of_method(figures: pd.DataFrame, method: str, scope: str = ALL) -> pd.DataFrame:
    chosen = (figures["method"] == method) & (figures["scope"] == scope)
    return figures[chosen].set_index("metric")


def test_distances_of_mixed_rows_are_those_counted_by_hand() -> None:
    frame = pd.DataFrame({
        "x": [10.0, 20.0, 20.0, None, 1000.0], "w": ["p", "q", None, None, "p"],
        "y": list("stsst"),
    })  # fmt: skip
    kinds = {"x": {"kind": "numerical"}, "w": {"kind": "categorical"}}
    table = from_frame(frame, "y", metadata=kinds)
    points = Space([table]).points(table)
    # Middle ranks of 10, 20, 20, 1000 are 0.5, 2, 2, 3.5, scaled to 0, 1/2, 1/2, 1.
    expected = np.array([
        [0.0, 0.75, 0.75, 1.0, 0.5],
        [0.75, 0.0, 0.5, 1.0, 0.75],
        [0.75, 0.5, 0.0, 0.5, 0.75],
        [1.0, 1.0, 0.5, 0.0, 1.0],
        [0.5, 0.75, 0.75, 1.0, 0.0],
    ])  # fmt: skip
    assert distances(points, points) == pytest.approx(expected)


def test_units_and_tails_do_not_change_a_distance(train: Table) -> None:
    bent = train.with_frame(train.frame.assign(b=np.exp(train.frame["b"]) * 1000))
    first, second = (Space([t]).points(t) for t in (train, bent))
    assert distances(first, first) == pytest.approx(distances(second, second))


def points_of(values: np.ndarray) -> Points:
    return Points(values.reshape(len(values), -1), np.empty((len(values), 0)), 1)


def test_a_scan_finds_the_two_nearest_and_what_lies_nearer_than_asked() -> None:
    rows, reference = points_of(np.array([0.0, 1.0])), points_of(np.array([0.1, 0.3, 0.9]))
    found = scan(rows, reference, np.array([0.3, 0.05]))
    assert found.distance == pytest.approx([0.1, 0.1])
    assert found.second == pytest.approx([0.3, 0.7])
    assert found.place.tolist() == [0, 2]
    assert (found.nearer.tolist(), found.as_near.tolist()) == ([1.0, 0.0], [2.0, 0.0])
    assert found.reverse == pytest.approx([0.1, 0.3, 0.1])


@pytest.mark.parametrize(("n_members", "n_strangers"), [(6, 3), (3, 6), (4, 4)])
def test_the_share_is_the_mean_over_every_subsample_of_equal_size(
    n_members: int, n_strangers: int
) -> None:
    rng = np.random.default_rng(n_members)
    release, members, strangers = (rng.integers(0, 8, n) / 8 for n in (5, n_members, n_strangers))
    few = min(n_members, n_strangers)
    wins = []
    for mine in itertools.combinations(members, few):
        for others in itertools.combinations(strangers, few):
            to_mine, to_others = (
                np.abs(release[:, None] - np.array(side)).min(axis=1) for side in (mine, others)
            )
            wins.append(((to_mine < to_others) + (to_mine == to_others) / 2).mean())
    leak = leak_of(points_of(release), points_of(members), points_of(strangers), rate=0.1)
    assert leak.share.value == pytest.approx(np.mean(wins))


def test_the_area_is_the_share_of_pairs_that_the_attack_orders_rightly() -> None:
    members, strangers = np.array([0.0, 0.1, 0.2, 0.2]), np.array([0.1, 0.3, 0.4])
    auc, found = attack(members, strangers, rate=0.1, random_state=0)
    # Of 12 pairs the strangers at 0.3 and 0.4 win 8; the one at 0.1 beats one, ties one.
    assert auc.value == pytest.approx((8 + 1 + 0.5) / 12)
    # Nearest: one member; then one member with one stranger, of which 0.3 may be accused.
    assert found.value == pytest.approx((1 + 0.3) / 4)
    assert auc.low <= auc.value <= auc.high
    assert found.low <= found.value <= found.high


def test_guessing_finds_as_many_members_as_it_accuses_strangers() -> None:
    same = np.zeros(50)
    auc, found = attack(same, same, rate=0.05, random_state=0)
    assert (auc.value, found.value) == pytest.approx((0.5, 0.05))


def test_few_held_out_rows_allow_a_higher_rate_of_wrong_accusations() -> None:
    assert [low_rate(n) for n in (20, 100, 500, 1000, 9000)] == [0.1, 0.1, 0.02, 0.01, 0.01]


def test_wilsons_interval_is_that_of_its_closed_form() -> None:
    # 8 of 10: the interval of Wilson (1927) is 0.4902 to 0.9433.
    found = wilson(0.8, 10)
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(1.0, 5).high == 1.0


def test_intervals_cover_a_half_where_nothing_leaks() -> None:
    n_runs, covered = 120, np.zeros(2)
    for run in range(n_runs):
        rng = np.random.default_rng(run)
        release, members, strangers = (
            Points(rng.random((n, 3)), np.empty((n, 0)), 3) for n in (80, 90, 40)
        )
        leak = leak_of(release, members, strangers, rate=0.1)
        covered += [side.low <= 0.5 <= side.high for side in (leak.share, leak.auc)]
    # 95% intervals: fewer than 105 of 120 hits have probability below 0.001 (binomial).
    assert covered.min() >= 105


def test_copies_are_found_by_every_figure(figures: pd.DataFrame) -> None:
    for scope in (ALL, RARE):
        found = of_method(figures, "copies", scope)
        assert found.loc["copy_share", "value"] == found.loc["near_copy_share", "value"] == 1.0
        assert found.loc["copy_share", "ceiling"] == 0.0
        assert found.loc["dcr_median", "value"] == found.loc["nndr_median", "value"] == 0.0
        assert found.loc["dcr_share", "low"] > 0.5
        assert found.loc["attack_auc", "low"] > 0.7
        assert found.loc["attack_tpr", "low"] > found.loc["attack_tpr", "ceiling"]


def test_a_tenth_of_a_row_changed_a_little_is_still_given_away(figures: pd.DataFrame) -> None:
    found = of_method(figures, "nudged")
    assert found.loc["copy_share", "value"] < 0.2
    assert found.loc["dcr_share", "low"] > 0.5
    assert found.loc["attack_auc", "low"] > 0.7


def test_a_second_real_sample_gives_nobody_away(figures: pd.DataFrame) -> None:
    found = of_method(figures, "again")
    assert found.loc["near_copy_share", "value"] == 0.0
    for metric in ("dcr_share", "attack_auc"):
        row = found.loc[metric]
        assert row["low"] <= 0.5 <= row["high"]
        # Six halves of 100 held-out rows each: a mean that leaves 0.5 +- 4 * 0.5 / sqrt(100)
        # would be a bias.
        assert row["ceiling"] == pytest.approx(0.5, abs=0.2)
    assert found.loc["dcr_median", "value"] == pytest.approx(
        found.loc["dcr_median", "ceiling"], rel=0.25
    )


def test_the_floor_is_what_plain_copies_score(figures: pd.DataFrame) -> None:
    floor, copies = of_method(figures, "again")["floor"], of_method(figures, "copies")["value"]
    for metric in ("copy_share", "dcr_median", "nndr_median"):
        assert floor[metric] == copies[metric]
    # Another bootstrap of as many rows as the one that plays the copies.
    assert floor["attack_auc"] == pytest.approx(copies["attack_auc"], abs=0.1)


def test_rows_that_prompts_showed_are_counted_where_they_are_known(figures: pd.DataFrame) -> None:
    found = of_method(figures, "copies")
    # The first hundred of 300 rows, each drawn with probability 1/3: within 4 deviations.
    assert found.loc["prompt_copy_share", "value"] == pytest.approx(
        1 / 3, abs=4 * 0.4714 / 300**0.5
    )
    assert "prompt_copy_share" not in of_method(figures, "again").index


def test_figures_are_long_and_repeat_with_their_random_state(
    train: Table, held_out: Table, figures: pd.DataFrame
) -> None:
    assert tuple(figures.columns) == FIGURE_COLUMNS
    assert set(figures["scope"]) == {ALL, RARE}
    made = {("m", 0): train.take(range(20))}
    first, second = (privacy_figures(train, held_out, made, random_state=3) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_too_few_rows_leave_copies_alone(train: Table, held_out: Table) -> None:
    found = privacy_figures(train, held_out.take(range(5)), {("m", 0): train.take(range(20))})
    assert set(found["metric"]) == {"copy_share", "near_copy_share"}
    assert len(privacy_figures(train, held_out, {("m", 0): train.take([])})) == 0


def test_a_table_of_words_alone_is_measured() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.choice(list("abcdef"), 200) for name in ("u", "v", "y")})
    frame["y"] = frame["y"].map(lambda letter: "s" if letter < "c" else "t")
    table = from_frame(frame, "y")
    found = of_method(
        privacy_figures(table.take(range(120)), table.take(range(120, 200)),
                        {("m", 0): table.take(range(50))}), "m"
    )  # fmt: skip
    # Nearly every pair of words is everywhere: ties, and so a half.
    assert found.loc["dcr_share", "value"] == pytest.approx(0.5, abs=0.05)


def test_words_say_what_the_figures_mean(figures: pd.DataFrame) -> None:
    said = " ".join(said_of_privacy(figures, "copies"))
    for words in ("100.0% of the rows of copies are training rows again",
                  "repeats real people more often than chance",
                  "lean on the training rows", "give members away, clearly",
                  "rows that its prompts showed"):  # fmt: skip
        assert words in said
    plain = said_of_privacy(figures, "again")
    assert "no more often than chance" in plain[0]
    assert "does not show that they lean" in plain[1]
    assert "no better than guessing" in plain[2]
    assert plain[-1] == NO_PROOF
    assert said_of_privacy(figures, "unknown") == []


def test_published_sick_rows_give_the_rare_class_away(shared: Path, join) -> None:
    folder = shared / "data" / "sick"
    train = from_frame(join(folder / "authors_split", "train"), "Class", name="sick")
    test = conform(join(folder / "authors_split", "test"), train, name="test")
    rows = conform(read_frame(folder / "published_synthetic" / "rddg.csv"), train, name="rddg")
    found = of_method(
        privacy_figures(train, test, {("rddg", 0): rows.take(range(1000))}), "rddg", RARE
    )
    assert found.loc["near_copy_share", "value"] > 0.5
    assert found.loc["near_copy_share", "ceiling"] == 0.0
    assert found.loc["attack_auc", "low"] > 0.8
