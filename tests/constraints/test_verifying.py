from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rddg_ray.constraints import Cells, GrammarReader, RuleWords, Verdict, verify
from rddg_ray.constraints.verifying import CONFIDENCE, MAX_BOUND, upper_bound
from rddg_ray.constraints.wording import holds_in, why_dropped
from rddg_ray.table import Table, from_frame


def verdict(table: Table, item: dict[str, Any], source: Any = "model") -> Verdict:
    reader = GrammarReader(table.prompt_columns, table.frame, source=source)
    cells = Cells.of_frame(table.prompt_columns, table.frame)
    return verify([reader.read(item, "r")], cells, table.target)[0]


def counts(table: Table, item: dict[str, Any]) -> tuple[int, int, str]:
    found = verdict(table, item)
    return found.support, found.violations, found.decision


RATED = {"column": "rating", "missing": False}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        # Of 40 orders every fourth comes back, every tenth lacks a rating.
        ({"type": "range", "column": "price", "low": 1.5, "high": 7.5}, (40, 0, "kept")),
        ({"type": "range", "column": "price", "low": 1.5, "high": 7.5, "strict": True},
         (40, 11, "violated")),
        ({"type": "range", "column": "rating", "low": 0, "high": 5}, (36, 0, "kept")),
        ({"type": "range", "column": "rating", "low": 1}, (36, 7, "violated")),
        ({"type": "range", "column": "price", "low": 0, "when": {"class": "back"}},
         (10, 0, "too_rare")),
        ({"type": "membership", "column": "land", "values": ["DE", "FR"],
          "when": {"class": "kept"}}, (30, 0, "kept")),
        ({"type": "membership", "column": "land", "values": ["DE"]}, (40, 20, "violated")),
        ({"type": "order", "columns": ["made", "sent"], "strict": True}, (40, 0, "kept")),
        ({"type": "order", "columns": ["sent", "made"]}, (40, 40, "violated")),
        ({"type": "order", "columns": ["count", "total"]}, (40, 0, "kept")),
        ({"type": "formula", "column": "total", "formula": "price * count", "within": 0},
         (40, 0, "kept")),
        # Rating and count agree in orders 25 to 28 alone (29 has no rating).
        ({"type": "formula", "column": "total", "formula": "price * rating", "within": 0},
         (36, 32, "violated")),
        ({"type": "implication", "when": {"land": "DE"}, "then": {"column": "town",
                                                                   "in": ["Bonn", "Berlin"]}},
         (20, 0, "kept")),
        ({"type": "implication", "when": {"land": "DE"}, "then": {"column": "town",
                                                                   "is": "Bonn"}},
         (20, 10, "violated")),
        # All rows without a rating are those whose number ends in 9: odd, so never "FR".
        ({"type": "implication", "when": {"land": "FR"}, "then": RATED}, (10, 0, "too_rare")),
        ({"type": "implication", "when": {"rating": None}, "then": {"column": "land", "not": "FR"}},
         (4, 0, "too_rare")),
        ({"type": "implication", "when": {"column": "price", "above": 100},
          "then": {"column": "land", "is": "FR"}}, (0, 0, "never_met")),
        ({"type": "implication", "when": {"land": "DE"}, "then": {"column": "land", "is": "DE"}},
         (20, 0, "trivial")),
        ({"type": "combinations", "columns": ["land", "town"]}, (40, 0, "kept")),
        ({"type": "combinations", "columns": ["land", "town"],
          "combinations": [["DE", "Bonn"], ["DE", "Berlin"], ["FR", "Paris"]]},
         (40, 10, "violated")),
    ],
)  # fmt: skip
def test_support_and_violations_are_those_of_a_hand_count(
    orders: Table, item: dict[str, Any], expected: tuple[int, int, str]
) -> None:
    assert counts(orders, item) == expected


def test_combinations_learned_from_rows_are_held_against_rows_seen_once() -> None:
    # 30 rows of one pair, 2 of another, and 8 pairs that one row each has.
    pairs = [("a", "x")] * 30 + [("b", "y")] * 2 + [(f"c{i}", "z") for i in range(8)]
    frame = pd.DataFrame(pairs, columns=["left", "right"])
    frame["class"] = ["p", "q"] * 20
    found = verdict(from_frame(frame, "class"),
                    {"type": "FixedCombinations", "columns": ["left", "right"]})  # fmt: skip
    assert (found.support, found.violations, found.decision) == (40, 8, "violated")


def test_the_bound_is_that_of_the_binomial_law() -> None:
    # Without violations the law is (1 - p)**n = 0.05.
    for n in (1, 10, 19, 149, 5000):
        assert upper_bound(0, n) == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-9)
    # In general P(X <= violations) = 0.05 at the bound.
    for violations, n in ((1, 20), (3, 200), (55, 2697)):
        p = upper_bound(violations, n)
        tail = sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(violations + 1))
        assert tail == pytest.approx(1 - CONFIDENCE, rel=1e-6)
    assert upper_bound(5, 5) == upper_bound(0, 0) == 1.0


def test_nineteen_unbroken_rows_are_the_fewest_that_speak_for_a_rule() -> None:
    assert upper_bound(0, 18) > MAX_BOUND >= upper_bound(0, 19)


def numbers(errors: np.ndarray) -> Table:
    """Return rows with z = x + y + error."""
    x = np.arange(len(errors)) * 1.0
    y = (x * 7) % 90
    frame = pd.DataFrame({"x": x, "y": y, "z": x + y + errors, "class": ["a", "b"] * (len(x) // 2)})
    return from_frame(frame, "class", metadata={"x": {"kind": "numerical"}})


def test_a_formula_s_difference_is_widened_to_what_real_rows_show_and_no_further() -> None:
    item = {"type": "formula", "column": "z", "formula": "x + y", "within": 1}
    # 10 of 200 rows are off by 1.5, 4 by 50: at 1 the share broken is 7%, at 1.5 it is 2%.
    errors = np.zeros(200)
    errors[:10], errors[10:14] = 1.5, 50
    found = verdict(numbers(errors), item)
    assert (found.decision, found.violations, found.said_within) == ("kept", 4, (1.0, 0.0))
    assert found.rule.body.within == 1.5
    # A user says what is meant.
    assert verdict(numbers(errors), item, "user").decision == "violated"
    # Four times the difference that was said is another rule.
    errors[:10] = 4
    assert verdict(numbers(errors), item).decision == "violated"


def test_a_rule_said_twice_counts_once(orders: Table) -> None:
    item = {"type": "range", "column": "price", "low": 1}
    reader = GrammarReader(orders.prompt_columns, orders.frame)
    rules = [reader.read(item, "one"), reader.read({**item, "why": "again"}, "two")]
    found = verify(rules, Cells.of_frame(orders.prompt_columns, orders.frame), "class")
    assert [v.decision for v in found] == ["kept", "repeated"]


def test_figures_are_said_in_words(orders: Table) -> None:
    broken = verdict(orders, {"type": "range", "column": "rating", "low": 1})
    assert why_dropped(broken) == "real rows break it: 7 of 36 (19.4%)"
    rare = verdict(orders, {"type": "range", "column": "price", "low": 0, "when": {"land": "FR"}})
    assert why_dropped(rare) == (
        "too few real rows speak for it: 0 of 10 break it, so that up to 26% may"
    )
    kept = verdict(orders, {"type": "range", "column": "price", "low": 0})
    assert RuleWords(orders.prompt_columns).verified(kept) == (
        '"price" is at least 0 (holds in all of 40 real rows)'
    )
    most = Verdict(kept.rule, 2731, 6, upper_bound(6, 2731), "kept")
    assert holds_in(most) == "holds in 99.8% of 2,731 real rows"


def rare(n_common: int, n_rare: int, low_common: int, low_rare: int) -> Table:
    """Return rows whose x is 0 in some of each class and from 10 on in the others."""
    x = [0] * low_common + list(range(10, 10 + n_common - low_common))
    x += [0] * low_rare + list(range(10, 10 + n_rare - low_rare))
    labels = ["common"] * n_common + ["rare"] * n_rare
    return from_frame(pd.DataFrame({"x": x, "class": labels}), "class",
                      metadata={"x": {"kind": "numerical"}})  # fmt: skip


def test_what_breaks_a_rare_class_is_no_rule_though_few_rows_of_all_break_it() -> None:
    item = {"type": "range", "column": "x", "low": 10}
    found = verdict(rare(1000, 30, 0, 12), item)
    assert (found.rate < 0.02, found.decision) == (True, "violated")
    assert found.by_class == ("rare", 30, 12)
    assert why_dropped(found) == 'real rows break it: 12 of 30 of class "rare" (40.0%)'
    # One of 30 is what chance gives.
    assert verdict(rare(1000, 30, 0, 1), item).decision == "kept"


def test_rules_that_are_cheap_one_by_one_are_dropped_where_they_cost_too_much_together() -> None:
    # Ten columns, each broken by five other rows of 250: 2% each.
    x = np.tile(np.arange(10, 60), 5)
    columns = {}
    for place in range(10):
        columns[f"x{place}"] = x.copy()
        columns[f"x{place}"][place * 5 : place * 5 + 5] = 0
    columns["class"] = np.tile(["a", "b"], 125)
    table = from_frame(pd.DataFrame(columns), "class")
    items = [{"type": "range", "column": f"x{place}", "low": 10} for place in range(10)]
    cells = Cells.of_frame(table.prompt_columns, table.frame)
    for source, n_kept in (("model", 2), ("user", 10)):
        reader = GrammarReader(table.prompt_columns, table.frame, source=source)
        rules = [reader.read(item, f"r{at}") for at, item in enumerate(items)]
        found = verify(rules, cells, "class")
        assert {v.violations for v in found} == {5}
        # 5% of a class are 6 rows; two rules refuse 5 of each, three 7 or 8.
        assert [v.decision for v in found] == ["kept"] * n_kept + ["too_costly"] * (10 - n_kept)
