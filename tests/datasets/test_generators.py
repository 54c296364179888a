"""The four generated sets hold what the paper says of them, seen from the rows alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from rddg_ray.datasets.generators import (
    Relation,
    consumer,
    consumer_behavior,
    estate,
    health,
    health_metrics,
    real_estate,
    social,
    social_network,
)
from rddg_ray.datasets.generators.classes import class_counts, classes_by_rank
from rddg_ray.errors import ConfigError


@dataclass(frozen=True)
class Expected:
    """Tables 9 and 10 of the paper, written out by hand."""

    generate: Callable[..., pd.DataFrame]
    target: str
    classes: dict[str, int]
    n_attributes: int
    relations: tuple[Relation, ...]


SETS = {
    "consumer": Expected(
        consumer_behavior, "product_category", {"Home": 518, "Food": 482}, 8, consumer.RELATIONS
    ),
    "health": Expected(
        health_metrics,
        "risk_level",
        {"low risk": 500, "medium risk": 300, "high risk": 200},
        8,
        health.RELATIONS,
    ),
    "estate": Expected(
        real_estate, "school_district", {"no": 788, "yes": 212}, 7, estate.RELATIONS
    ),
    "social": Expected(
        social_network,
        "influence_level",
        {"0": 789, "1": 86, "3": 70, "2": 55},
        8,
        social.RELATIONS,
    ),
}
EXACT = [
    (name, relation)
    for name, expected in SETS.items()
    for relation in expected.relations
    if relation.low == relation.high == 1.0
]


@pytest.fixture(params=SETS.values(), ids=SETS.keys())
def expected(request: pytest.FixtureRequest) -> Expected:
    return request.param


@pytest.mark.parametrize("random_state", [0, 1, 2])
def test_a_set_has_the_class_counts_and_attribute_count_of_table_9(
    expected: Expected, random_state: int
) -> None:
    frame = expected.generate(random_state=random_state)
    assert frame[expected.target].value_counts().to_dict() == expected.classes
    assert frame.shape == (1000, expected.n_attributes + 1)
    assert frame.columns[-1] == expected.target
    assert not frame.isna().any(axis=None)


@pytest.mark.parametrize("random_state", range(5))
def test_every_stated_relation_holds(expected: Expected, random_state: int) -> None:
    frame = expected.generate(random_state=random_state)
    broken = [relation.text for relation in expected.relations if not relation.holds(frame)]
    assert broken == []


@pytest.mark.parametrize(("name", "relation"), EXACT, ids=lambda value: str(value)[:40])
def test_an_exact_relation_holds_in_every_one_of_20000_rows(name: str, relation: Relation) -> None:
    assert relation.measure(SETS[name].generate(20_000, random_state=99)) == 1.0


def test_a_relation_is_broken_by_shuffling_each_column(expected: Expected) -> None:
    frame = expected.generate()
    rng = np.random.default_rng(0)
    shuffled = pd.DataFrame({name: rng.permutation(frame[name]) for name in frame.columns})
    kept = [relation.text for relation in expected.relations if relation.holds(shuffled)]
    assert kept == []


def test_equal_random_states_give_equal_rows_and_others_do_not(expected: Expected) -> None:
    first, again, other = (expected.generate(random_state=state) for state in (3, 3, 4))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


def test_the_class_follows_from_the_attributes_but_not_fully(expected: Expected) -> None:
    # The hidden noise must leave the set learnable (above chance) and imperfect (below 1).
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import train_test_split

    frame = expected.generate(4_000)
    y = frame.pop(expected.target)
    X = frame.apply(
        lambda column: column if pd.api.types.is_numeric_dtype(column) else pd.factorize(column)[0]
    )
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=0
    )
    model = GradientBoostingClassifier(n_estimators=40, random_state=0).fit(X_train, y_train)
    score = balanced_accuracy_score(y_test, model.predict(X_test))
    assert 0.70 < score < 0.99


def test_the_price_is_the_formula_of_the_paper() -> None:
    frame = real_estate(random_state=11)
    price_per_m2 = {"rural": 3000, "suburb": 5000, "city": 8000, "downtown": 12000}
    level = {"none": 0.9, "basic": 1.0, "refined": 1.15, "luxury": 1.35}
    for row in frame.itertuples():
        worth = price_per_m2[row.location] * row.area * level[row.renovation_level]
        assert abs(row.price - (worth - 30 * row.area * row.age)) <= 50 + 1e-6
    assert (frame["price"] % 100 == 0).all()


def test_the_price_of_a_hand_counted_home() -> None:
    home = pd.DataFrame(
        {"location": ["city"], "area": [100], "renovation_level": ["refined"], "age": [10]}
    )
    # 8,000 x 100 x 1.15 - 30 x 100 x 10 = 920,000 - 30,000
    assert estate.expected_price(home).iloc[0] == pytest.approx(890_000)


def test_other_sizes_keep_the_proportions_by_largest_remainder() -> None:
    # Hand count for 30 rows of 500/300/200 per mille: 15, 9, 6. For 11: 5.5, 3.3, 2.2 -> 6, 3, 2.
    shares = {"low risk": 500, "medium risk": 300, "high risk": 200}
    assert class_counts(shares, 30) == {"low risk": 15, "medium risk": 9, "high risk": 6}
    assert class_counts(shares, 11) == {"low risk": 6, "medium risk": 3, "high risk": 2}
    assert health_metrics(11)["risk_level"].value_counts().to_dict() == class_counts(shares, 11)


@pytest.mark.parametrize("n_rows", [37, 50, 101, 999, 12_345])
def test_class_counts_sum_to_the_rows_and_miss_the_quota_by_less_than_one(n_rows: int) -> None:
    shares = {"0": 789, "1": 86, "2": 55, "3": 70}
    counts = class_counts(shares, n_rows)
    assert sum(counts.values()) == n_rows
    assert all(abs(counts[name] - n_rows * shares[name] / 1000) < 1 for name in shares)


def test_too_few_rows_name_how_many_are_enough() -> None:
    with pytest.raises(ConfigError, match="ask for 37 rows or more"):
        social_network(20)
    assert social_network(37)["influence_level"].value_counts().min() >= 2


@pytest.mark.parametrize("n_rows", [0, -5, 10.5, True])
def test_a_size_that_is_no_number_of_rows_is_refused(n_rows: object) -> None:
    with pytest.raises(ConfigError, match="n_rows"):
        real_estate(n_rows)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("random_state", [-1, None, 0.5])
def test_a_random_state_that_cannot_be_repeated_is_refused(random_state: object) -> None:
    with pytest.raises(ConfigError, match="random_state"):
        real_estate(random_state=random_state)  # type: ignore[arg-type]  # wrong on purpose


def test_the_highest_scores_get_the_last_class() -> None:
    classes = classes_by_rank(np.array([0.3, -1.0, 9.0, 0.2]), {"low": 3, "high": 1})
    assert classes.tolist() == ["low", "low", "high", "low"]
