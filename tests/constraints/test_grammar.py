from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rddg_ray.codes import Codes
from rddg_ray.constraints import GrammarReader, RuleError, Rules, RuleWords, Verdict
from rddg_ray.rule_replies import RulesReader
from rddg_ray.table import Table, from_frame


def words(table: Table, item: dict[str, Any], source: Any = "model") -> str:
    reader = GrammarReader(table.prompt_columns, table.frame, source=source)
    return RuleWords(table.prompt_columns).rule(reader.read(item, "r"))


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"type": "range", "column": "price", "low": 1, "high": 9.5},
         '"price" is between 1 and 9.5'),
        ({"type": "range", "column": "made", "low": "2024-03-01"},
         '"made" is at least 2024-03-01'),
        ({"type": "membership", "column": "land", "values": ["DE", "AT"]},
         '"land" is one of "DE", "AT"'),
        ({"type": "order", "columns": ["made", "sent"], "strict": True}, '"made" < "sent"'),
        ({"type": "formula", "column": "total", "formula": '"price" * "count"', "within": 0.01},
         '"total" = "price" * "count" (within 0.01)'),
        ({"type": "formula", "formula": "total = price * count", "within_relative": "2%"},
         '"total" = "price" * "count" (within 2%)'),
        ({"type": "implication", "when": [{"column": "land", "is": "FR"}],
          "then": [{"column": "town", "is": "Paris"}, {"column": "count", "at_most": 5}]},
         'Where "land" is "FR": "town" is "Paris" and "count" is at most 5'),
        ({"type": "range", "column": "price", "low": 0, "when": {"class": "back",
                                                                "rating": None}},
         'Where "class" is "back" and "rating" is empty: "price" is at least 0'),
        ({"type": "implication", "when": [{"column": "rating", "missing": True}],
          "then": [{"column": "count", "above": 1, "below": 6}]},
         'Where "rating" is empty: "count" is above 1 and "count" is below 6'),
    ],
)  # fmt: skip
def test_every_kind_of_rule_reads_as_one_clear_line(
    orders: Table, item: dict[str, Any], said: str
) -> None:
    for source in ("model", "user"):
        assert words(orders, item, source) == said


@pytest.mark.parametrize(
    ("kind", "parameters", "said"),
    [
        ("Inequality", {"low_column_name": "made", "high_column_name": "sent"},
         '"made" <= "sent"'),
        ("Range", {"low_column_name": "count", "middle_column_name": "price",
                   "high_column_name": "total", "strict_boundaries": False},
         '"count" <= "price" <= "total"'),
        ("ScalarRange", {"column_name": "price", "low_value": 1, "high_value": 9,
                         "strict_boundaries": True}, '"price" is strictly between 1 and 9'),
        ("ScalarInequality", {"column_name": "price", "relation": ">", "value": 1},
         '"price" is above 1'),
        ("Positive", {"column_name": "price", "strict_boundaries": True}, '"price" is above 0'),
        ("Negative", {"column_name": "price"}, '"price" is at most 0'),
        ("FixedCombinations", {"column_names": ["land", "town"]},
         ('"land" and "town" come together only as "AT" with "Wien"; "DE" with "Berlin"; '
         '"DE" with "Bonn"; "FR" with "Paris"')),
    ],
)  # fmt: skip
def test_rules_written_for_sdv_are_understood(
    orders: Table, kind: str, parameters: dict[str, Any], said: str
) -> None:
    flat = {"type": kind, **parameters}
    nested = {"constraint_class": kind, "constraint_parameters": parameters}
    assert words(orders, flat, "user") == words(orders, nested, "user") == said


@pytest.mark.parametrize(
    ("item", "key", "told"),
    [
        ({"type": "rnge", "column": "price"}, "type", "'rnge' is no kind of rule; did you mean"),
        ({"column": "price"}, "type", "there is no 'type'"),
        ({"type": "range", "column": "prize", "low": 1}, "column", "did you mean 'price'"),
        ({"type": "range", "column": "land", "low": 1}, "column", "'land' is a categorical"),
        ({"type": "range", "column": "price", "low": "cheap"}, "low", "'cheap' is no number"),
        ({"type": "range", "column": "price", "low": 5, "high": 1}, "low", "above high = 1"),
        ({"type": "range", "column": "price"}, "low", "neither 'low' nor 'high'"),
        ({"type": "range", "column": "made", "low": "March"}, "low", "'March' is no value"),
        ({"type": "range", "column": "price", "low": 1, "hihg": 2}, "hihg", "did you mean 'high'"),
        ({"type": "membership", "column": "land", "values": ["DE", "XX"]}, "values",
         "'XX' is no value of column 'land'"),
        ({"type": "membership", "column": "land"}, "values", "there is no 'values'"),
        ({"type": "order", "columns": ["made", "price"]}, "columns", "no common order"),
        ({"type": "order", "columns": "made"}, "columns", "must list"),
        ({"type": "formula", "column": "total", "formula": "price * cuont"}, "formula",
         "did you mean 'count'"),
        ({"type": "formula", "column": "total", "formula": "total * 1"}, "formula", "from itself"),
        ({"type": "formula", "column": "total", "formula": "land * 1"}, "formula", "categorical"),
        ({"type": "formula", "column": "total", "formula": "price", "within": -1}, "within",
         "-1 must be a number from 0"),
        ({"type": "formula", "column": "total", "formula": "price", "tolerance": 0.5},
         "tolerance", "share of real rows"),
        ({"type": "implication", "then": [{"column": "town", "is": "Bonn"}]}, "when", "'when'"),
        ({"type": "implication", "when": {"land": "DE"}, "then": [{"column": "town"}]}, "then",
         "nothing is said"),
        ({"type": "implication", "when": {"land": "DE"}, "then": {"column": "town", "si": "Bonn"}},
         "then", "'si' is no relation; known: is, in"),
        ({"type": "implication", "when": {"land": "DE"}, "then": {"column": "town", "above": "A"}},
         "then", "has no order"),
        ({"type": "range", "column": "price", "low": 1, "on_violation": "fix"}, "on_violation",
         "'fix' must be"),
        ({"type": "order", "columns": ["made", "sent"], "on_violation": "repair"}, "on_violation",
         "needs a range"),
        ({"type": "implication", "when": {"land": "DE"}, "then": {"class": "kept"},
          "on_violation": "repair"}, "on_violation", "never changes the class"),
        ({"type": "range", "column": "price", "low": 1, "tolerance": 2}, "tolerance", "from 0 to"),
        ("a rule", "", "is an object"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_key_and_value(
    orders: Table, item: Any, key: str, told: str
) -> None:
    reader = GrammarReader(orders.prompt_columns, orders.frame, source="user")
    with pytest.raises(RuleError) as caught:
        reader.read(item, "r")
    assert caught.value.key == key
    assert told in str(caught.value)


def test_a_model_is_understood_where_a_user_is_corrected(orders: Table) -> None:
    item = {"kind": "bounds", "column": "PRICE", "min": "1", "max": 9, "why": "seen"}
    assert words(orders, item) == '"price" is between 1 and 9'
    with pytest.raises(RuleError):
        words(orders, item, "user")


def test_codes_and_class_letters_stand_for_values(orders: Table) -> None:
    codes = Codes.draw(orders.prompt_columns, 0)
    reader = RulesReader(orders, codes)
    code = codes.encode("land", "FR")
    for land in (code, code.lower(), f"`{code}`", "FR"):
        for label in ("B", codes.encode("class", "back"), "back"):
            when = [{"column": "class", "is": label}]
            item = {"type": "membership", "column": "land", "values": [land], "when": when}
            rules = reader.read(json.dumps([item]))
            if label == "back":
                # What a model cannot know is no value of the class.
                assert (rules.verdicts, len(rules.unreadable)) == ((), 1)
                continue
            rule = rules.verdicts[0].rule
            assert RuleWords(orders.prompt_columns).rule(rule) == (
                'Where "class" is "back": "land" is "FR"'
            )
            assert "FR" not in rules.shown


def test_rules_come_back_from_their_record(orders: Table) -> None:
    reader = RulesReader(orders, Codes())
    rules = reader.read(
        """Some words.
        [{"type": "range", "column": "made", "low": "2024-03-01", "strict": true},
         {"type": "order", "columns": ["made", "sent"]},
         {"type": "formula", "formula": "total = -(price + -2^2) * max(count, 1e-9)"},
         {"type": "implication", "when": {"rating": null}, "then": {"column": "count", "not": 3}},
         {"type": "combinations", "columns": ["land", "town"]},
         {"type": "membership", "column": "count", "values": [1, 2]}, {"type": "nothing"}]"""
    )
    assert len(rules.verdicts) == 6
    assert len(rules.unreadable) == 1
    record = json.loads(json.dumps(rules.to_record()))
    assert Rules.from_record(record) == rules
    assert all(isinstance(verdict, Verdict) for verdict in Rules.from_record(record).kept)


keys = st.sampled_from(["type", "column", "columns", "low", "high", "values", "when", "then",
                        "formula", "within", "tolerance", "relation", "value", "is", "class",
                        "missing", "strict", "combinations", "low_column_name"])  # fmt: skip
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats()
    | st.sampled_from(["range", "order", "formula", "membership", "implication", "combinations",
                       "price", "made", "land", "class", "DE", "A", "price*2", "<", ""])
    | st.text(max_size=6)
)  # fmt: skip
items = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=300)
@given(item=st.dictionaries(keys, items, max_size=7))
def test_any_object_is_a_rule_or_an_error_in_words(item: dict[str, Any]) -> None:
    table = _TABLE
    for source in ("model", "user"):
        reader = GrammarReader(table.prompt_columns, table.frame, source=source)
        try:
            rule = reader.read(item, "r")
        except RuleError:
            continue
        assert RuleWords(table.prompt_columns).rule(rule)


def _table() -> Table:
    frame = pd.DataFrame(
        {
            "price": [1.5, 2.5, 3.0, 9.0],
            "made": ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"],
            "land": ["DE", "FR", "DE", "FR"],
            "class": ["a", "b", "a", "b"],
        }
    )
    return from_frame(frame, "class")


_TABLE = _table()
