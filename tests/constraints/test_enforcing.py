from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rddg_ray.constraints import Enforcer, GrammarReader
from rddg_ray.constraints.enforcing import Row
from rddg_ray.table import Table, from_frame


def enforcer(table: Table, items: Sequence[dict[str, Any]]) -> Enforcer:
    reader = GrammarReader(table.prompt_columns, table.frame, source="user")
    rules = [reader.read(item, f"r{at}") for at, item in enumerate(items)]
    return Enforcer(table.prompt_columns, rules)


def row(table: Table, **cells: Any) -> Row:
    """Return the first real row with some cells changed."""
    first = table.frame.iloc[0]
    values = {name: None if pd.isna(first[name]) else first[name] for name in table.schema.names}
    for name, value in cells.items():
        column = table.schema[name]
        values[name] = column.decode(value) if column.kind == "datetime" and value else value
    return tuple([values[column.name] for column in table.prompt_columns])


RULES = [
    {"type": "range", "column": "price", "low": 1, "high": 8},
    {"type": "formula", "column": "total", "formula": "price * count", "within": 0.01},
    {"type": "order", "columns": ["made", "sent"]},
    {"type": "implication", "when": {"land": "FR"}, "then": {"column": "town", "is": "Paris"}},
]


def test_real_rows_break_nothing_and_each_breach_names_its_rule(orders: Table) -> None:
    held = enforcer(orders, RULES)
    real = [row(orders)]
    assert held.judge(real)[0].refused_by is None
    broken = [
        row(orders, price=9.0, total=9.0),
        row(orders, total=99.0),
        row(orders, sent="2024-01-01"),
        row(orders, land="FR", town="Bonn"),
    ]
    refused = [judged.refused_by for judged in held.judge(broken)]
    assert [rule.name if rule else None for rule in refused] == ["r0", "r1", "r2", "r3"]
    assert [marks.tolist() for marks in held.check(broken)] == [
        [at == place for at in range(4)] for place in range(4)
    ]


def test_a_missing_cell_breaks_no_rule_that_does_not_speak_of_missing(orders: Table) -> None:
    empty = row(orders, rating=None)
    held = enforcer(orders, [{"type": "range", "column": "rating", "low": 1, "high": 2}])
    assert held.judge([empty])[0].broken == ()
    held = enforcer(orders, [{"type": "implication", "when": {"land": "FR"},
                              "then": {"column": "rating", "missing": False}}])  # fmt: skip
    assert len(held.judge([empty])[0].broken) == 1


@pytest.mark.parametrize(
    ("item", "cells", "mended"),
    [
        ({"type": "range", "column": "price", "low": 2, "high": 8}, {"price": 1.5},
         {"price": 2.0}),
        ({"type": "range", "column": "price", "low": 2, "high": 8}, {"price": 99.0},
         {"price": 8.0}),
        # One decimal: the nearest values inside the bounds, and inside strict ones.
        ({"type": "range", "column": "price", "low": 2.04, "high": 8.26}, {"price": 1.5},
         {"price": 2.1}),
        ({"type": "range", "column": "price", "low": 2.04, "high": 8.26}, {"price": 9.0},
         {"price": 8.2}),
        ({"type": "range", "column": "price", "low": 2, "high": 8, "strict": True},
         {"price": 9.0}, {"price": 7.9}),
        ({"type": "range", "column": "made", "low": "2024-03-05"}, {"made": "2024-03-01"},
         {"made": "2024-03-05"}),
        ({"type": "formula", "column": "total", "formula": "price * count / 3", "within": 0.1},
         {"price": 2.5, "count": 2, "total": 9.0}, {"total": 1.7}),
        ({"type": "formula", "column": "sent", "formula": "made + 2 * count", "within": 0},
         {"made": "2024-02-28", "count": 2, "sent": "2024-03-20"}, {"sent": "2024-03-03"}),
        ({"type": "implication", "when": {"land": "FR"},
          "then": [{"column": "town", "is": "Paris"}, {"column": "rating", "missing": True}]},
         {"land": "FR", "town": "Bonn"}, {"town": "Paris", "rating": None}),
    ],
)  # fmt: skip
def test_a_repair_writes_the_nearest_value_that_keeps_the_rule(
    orders: Table, item: dict[str, Any], cells: dict[str, Any], mended: dict[str, Any]
) -> None:
    held = enforcer(orders, [{**item, "on_violation": "repair"}])
    judged = held.judge([row(orders, **cells)])[0]
    assert judged.refused_by is None
    assert [rule.name for rule in judged.broken] == ["r0"]
    assert judged.row == row(orders, **{**cells, **mended})
    assert enforcer(orders, [item]).judge([row(orders, **cells)])[0].refused_by is not None


def test_a_repair_follows_an_earlier_one_and_what_stays_broken_is_refused(orders: Table) -> None:
    items = [{**item, "on_violation": "repair"} for item in RULES[:2]]
    judged = enforcer(orders, items).judge([row(orders, price=99.0, total=5.0)])[0]
    assert judged.row == row(orders, price=8.0, total=8.0)
    # Clipping the price breaks a rule that cannot be repaired.
    items = [items[0], {"type": "order", "columns": ["total", "price"]}]
    judged = enforcer(orders, items).judge([row(orders, price=99.0, total=50.0)])[0]
    assert judged.refused_by is not None
    assert judged.refused_by.name == "r1"
    assert judged.row == row(orders, price=99.0, total=50.0)


def test_a_formula_without_a_value_is_not_repaired(orders: Table) -> None:
    held = enforcer(orders, [{"type": "formula", "column": "total", "formula": "1 / rating",
                              "within": 0, "on_violation": "repair"}])  # fmt: skip
    # A division by zero says nothing of the total.
    assert held.judge([row(orders, rating=0.0)])[0].broken == ()


def test_numbers_are_compared_as_they_are_written() -> None:
    frame = pd.DataFrame({"x": [0.1, 0.2] * 20, "y": [0.2, 0.1] * 20, "z": [0.3] * 20 + [0.4] * 20,
                          "class": ["a", "b"] * 20})  # fmt: skip
    table = from_frame(frame, "class")
    items = [
        {"type": "formula", "column": "z", "formula": "x + y", "within": 0},
        {"type": "membership", "column": "z", "values": [0.3, 0.4]},
    ]
    held = enforcer(table, items)
    # 0.1 + 0.2 is not 0.3 to a float.
    assert held.judge([("a", 0.1, 0.2, 0.3)])[0].broken == ()
    assert len(held.judge([("a", 0.1, 0.2, 0.5)])[0].broken) == 2


_TABLE = from_frame(
    pd.DataFrame(
        {
            "price": [1.5 + i % 7 for i in range(40)],
            "count": [1 + i % 5 for i in range(40)],
            "total": [(1.5 + i % 7) * (1 + i % 5) for i in range(40)],
            "made": [f"2024-03-{1 + i % 20:02d}" for i in range(40)],
            "sent": [f"2024-03-{3 + i % 20:02d}" for i in range(40)],
            "land": ["FR", "DE", "DE", "AT"] * 10,
            "town": ["Paris", "Berlin", "Bonn", "Wien"] * 10,
            "class": ["kept", "back"] * 20,
        }
    ),
    "class",
)


@given(
    price=st.floats(-20, 20),
    count=st.integers(-3, 9),
    total=st.floats(-50, 99),
    land=st.sampled_from(["DE", "FR", "AT"]),
    town=st.sampled_from(["Bonn", "Berlin", "Paris", "Wien"]),
    repairs=st.sets(st.sampled_from([0, 1, 3])),
)
def test_what_is_let_through_breaks_no_rule_and_what_is_refused_does(
    *, price: float, count: int, total: float, land: str, town: str, repairs: set[int]
) -> None:
    items = [
        {**item, **({"on_violation": "repair"} if at in repairs else {})}
        for at, item in enumerate(RULES)
    ]
    held = enforcer(_TABLE, items)
    came = row(_TABLE, price=round(price, 1), count=float(count), total=round(total, 1), land=land,
               town=town)  # fmt: skip
    judged = held.judge([came])[0]
    assert (judged.row == came) == (not judged.broken or judged.refused_by is not None)
    left = [marks[0] for marks in held.check([judged.row])]
    if judged.refused_by is None:
        assert not any(left)
    else:
        assert any(left)
