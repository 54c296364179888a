from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rddg_ray.batches import ReferenceBatches, requests, targets
from rddg_ray.errors import ConfigError

POSITIONS = {"no": np.arange(100, 137), "yes": np.arange(4)}


def batches(random_state: int = 0, chain: int = 0) -> ReferenceBatches:
    return ReferenceBatches(POSITIONS, 15, random_state=random_state, chain=chain)


def test_a_batch_is_a_function_of_its_number() -> None:
    one, other = batches(), batches()
    forward = [one.batch(number)["no"].tolist() for number in range(8)]
    backward = [other.batch(number)["no"].tolist() for number in reversed(range(8))]
    assert forward == backward[::-1]


def test_every_row_is_shown_in_every_cycle_and_none_twice_in_a_batch() -> None:
    dealt = batches()
    for cycle in range(3):  # 37 rows make 3 batches of 15
        shown = [dealt.batch(3 * cycle + group)["no"] for group in range(3)]
        assert all(len(set(rows.tolist())) == 15 for rows in shown)
        assert set(np.concatenate(shown).tolist()) == set(range(100, 137))


def test_cycles_chains_and_random_states_have_orders_of_their_own() -> None:
    firsts = {
        tuple(batches(state, chain).batch(number)["no"].tolist())
        for state, chain, number in ((0, 0, 0), (0, 0, 3), (0, 1, 0), (1, 0, 0))
    }
    assert len(firsts) == 4


def test_a_small_class_shows_all_its_rows_in_every_batch() -> None:
    assert all(sorted(batches().batch(number)["yes"]) == [0, 1, 2, 3] for number in range(5))


def ask(
    needs: dict[str, int], accepted: int = 0, asked: int = 0, n_prompts: int = 1
) -> list[dict[str, int]]:
    return requests(
        needs,
        n_prompts=n_prompts,
        rows_per_class=15,
        accepted={"a": accepted},
        asked={"a": asked},
    )


def test_a_request_is_what_is_lacking_up_to_the_cap() -> None:
    assert ask({"a": 4, "b": 40}) == [{"a": 4, "b": 15}]


def test_a_class_without_need_is_not_asked_for() -> None:
    assert ask({"a": 0, "b": 3}) == [{"b": 3}]
    assert ask({"a": 0}) == []


def test_more_is_asked_for_where_few_were_accepted_but_at_most_twice_as_much() -> None:
    assert ask({"a": 6}, accepted=15, asked=15) == [{"a": 6}]
    assert ask({"a": 6}, accepted=11, asked=15) == [{"a": 8}]  # rate 12 / 16
    assert ask({"a": 6}, accepted=0, asked=60) == [{"a": 12}]


def test_the_prompts_of_a_round_split_the_need() -> None:
    assert ask({"a": 31, "b": 2}, n_prompts=4) == [{"a": 11, "b": 1}, {"a": 10, "b": 1}, {"a": 10}]
    assert ask({"a": 9}, n_prompts=4) == [{"a": 9}]
    assert ask({"a": 900}, n_prompts=2) == [{"a": 15}, {"a": 15}]


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 200)),
    st.integers(1, 6),
    st.integers(0, 100),
)
def test_requests_stay_within_cap_and_need(
    needs: dict[str, int], n_prompts: int, asked: int
) -> None:
    found = ask(needs, accepted=asked // 3, asked=asked, n_prompts=n_prompts)
    assert len(found) <= n_prompts
    for label, need in needs.items():
        total = sum(request.get(label, 0) for request in found)
        assert min(need, n_prompts * 15) <= total <= 2 * need
    assert all(1 <= rows <= 15 for request in found for rows in request.values())


COUNTS = {"big": 50, "mid": 30, "small": 10}


@pytest.mark.parametrize(
    ("strategy", "added"),
    [
        ("auto", [0, 20, 40]),
        ("not majority", [0, 20, 40]),
        ("minority", [0, 0, 40]),
        ("not minority", [0, 20, 0]),
        ("all", [0, 20, 40]),
        ({"small": 25, "big": 50}, [0, 0, 15]),
    ],
)
def test_a_sampling_strategy_has_imbalanced_learns_meaning(
    strategy: str | dict[str, int], added: list[int]
) -> None:
    assert targets(COUNTS, strategy) == dict(zip(COUNTS, added, strict=True))


def test_a_ratio_is_rarest_over_largest() -> None:
    assert targets({"no": 100, "yes": 10}, 0.5) == {"no": 0, "yes": 40}
    assert targets({"no": 100, "yes": 10}, 1.0) == {"no": 0, "yes": 90}
    assert targets({"no": 7, "yes": 7}, 1.0) == {"no": 0, "yes": 0}


def test_rows_per_class_are_added_whatever_the_strategy() -> None:
    assert targets(COUNTS, "minority", 5) == {"big": 5, "mid": 5, "small": 5}
    assert targets(COUNTS, "auto", {"mid": 3}) == {"big": 0, "mid": 3, "small": 0}


@pytest.mark.parametrize(
    ("strategy", "rows", "words"),
    [
        ("most", None, "'most'"),
        ({"tiny": 5}, None, "no class 'tiny'"),
        ({"mid": 29}, None, "'mid' has 30 rows already"),
        (0.5, None, "two classes only"),
        (1.5, None, "1.5"),
        (True, None, "True"),
        ("auto", {"tiny": 5}, "rows_per_class: there is no class 'tiny'"),
        ("auto", {"mid": -1}, "-1"),
        ("auto", -1, "-1"),
    ],
)
def test_a_wrong_target_is_named(strategy: object, rows: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        targets(COUNTS, strategy, rows)  # type: ignore[arg-type]  # wrong on purpose


def test_a_ratio_below_the_present_one_is_refused_with_the_present_one() -> None:
    with pytest.raises(ConfigError, match=r"0\.400 already"):
        targets({"no": 10, "yes": 4}, 0.3)


TIED = {"a": 10, "b": 10, "c": 30}


@pytest.mark.parametrize(
    ("counts", "strategy", "rare", "added"),
    [
        (TIED, "minority", None, [20, 0, 0]),
        (TIED, "minority", "b", [0, 20, 0]),
        (TIED, "not minority", "b", [20, 0, 0]),
        (TIED, "auto", "b", [20, 20, 0]),
        ({"a": 10, "b": 10}, "minority", "a", [0, 0]),
        ({"a": 20, "b": 10}, 0.75, "b", [0, 5]),
        ({"a": 10, "b": 10}, 1.0, "a", [0, 0]),
    ],
)
def test_the_minority_is_the_tables_own_rare_class_where_it_is_named(
    counts: dict[str, int], strategy: str | float, rare: str | None, added: list[int]
) -> None:
    found = targets(counts, strategy, rare_class=rare)
    assert found == dict(zip(counts, added, strict=True))


def test_a_ratio_of_a_rare_class_that_is_the_larger_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the ratio of 'a' to 'b' is 2\.000 already"):
        targets({"a": 20, "b": 10}, 0.5, rare_class="a")


def test_an_unknown_rare_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="rare_class: there is no class 'z'"):
        targets(TIED, "minority", rare_class="z")
