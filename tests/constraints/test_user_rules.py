from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from rddg_ray.constraints import RuleWords, read_rules_file, user_rules
from rddg_ray.errors import ConfigError
from rddg_ray.table import Table, from_frame


def load(table: Table, path: Path) -> list[str]:
    found = user_rules(read_rules_file(path), table.prompt_columns, table.frame, where=str(path))
    return [verdict.rule.name for verdict in found]


def write(folder: Path, text: str, name: str = "rules.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_rules_is_read_as_yaml_and_as_json(orders: Table, tmp_path: Path) -> None:
    yaml = """
    rules:
      - type: Inequality
        low_column_name: made
        high_column_name: sent
      - name: sum
        type: formula
        column: total
        formula: '"price" * "count"'
        within: 0.01
        on_violation: repair
      - {type: range, column: rating, low: 1, tolerance: 0.2}
    """
    assert load(orders, write(tmp_path, yaml)) == ["rule 1", "sum", "rule 3"]
    json = (
        '{"rules":\n\t[{"type": "range", "column": "price", "low": 1, "when": {"class": "back"}}]}'
    )
    # Of a user's rule few rows need to speak: the user knows.
    assert load(orders, write(tmp_path, json, "rules.json")) == ["rule 1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules: [{type: range, column: prize, low: 1}]",
         ["rule 1", "column = 'prize'", "did you mean 'price'"]),
        (("rules: [{type: order, columns: [made, sent]}, {type: range, name: dear, column: price,"
         " hihg: 3}]"), ["rule 2 ('dear')", "hihg = 3", "did you mean 'high'"]),
        ("rules: [{type: membership, column: land, values: [DE, XX]}]",
         ["rule 1", "values = 'XX'", "'land'", "values: ['DE', 'AT', 'FR']"]),
        # 5 of the 36 known ratings are 5.
        ("rules: [{type: range, name: low, column: rating, high: 4}]",
         ["rule 1 ('low')", "columns 'rating'", "5 (13.9%) break it", "tolerance 2%"]),
        ("rules: [{type: range, name: none, column: price, low: 1000}]",
         ["rule 1 ('none')", "'price'", "0 of the 40 real rows", "40 (100.0%) break it"]),
        ("rules: [{type: range, column: price, low: 0, when: {column: price, above: 100}}]",
         ["rule 1", "'price'", "0 real rows meet its condition"]),
        ("rules: [{type: range, column: price, low: 0}, {type: range, column: price, low: 0}]",
         ["rule 2", "an earlier rule says the same"]),
        (("rules: [{type: range, name: a, column: price, low: 0}, {type: range, name: a,"
         " column: price, low: 1}]"), ["rule 2", "name = 'a'", "rename one"]),
        ("rules: [3]", ["rule 1", "is an object"]),
        ("rules: []", ["rules = []", "at least one rule"]),
        ("rulse: []", ["rulse = []", "no such key"]),
        ("rules: [{type: range, type: order}]", ["the key 'type' is given twice"]),
        ("- 1", ["expected keys and values"]),
        ("rules: [}", ["cannot be read as YAML"]),
    ],
)  # fmt: skip
def test_an_error_names_the_file_the_rule_the_key_the_column_and_the_value(
    orders: Table, tmp_path: Path, text: str, words: list[str]
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(orders, path)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_yaml_s_own_dates_and_numbers_are_values_of_a_column(orders: Table, tmp_path: Path) -> None:
    text = """
    rules:
      - {type: range, column: made, low: 2024-03-01, high: 2024-03-20}
      - {type: range, column: price, low: 1e-3}
    """
    found = user_rules(read_rules_file(write(tmp_path, text)), orders.prompt_columns, orders.frame)
    words = RuleWords(orders.prompt_columns)
    assert [words.rule(verdict.rule) for verdict in found] == [
        '"made" is between 2024-03-01 and 2024-03-20',
        '"price" is at least 0.001',
    ]


def test_a_json_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for text, words in (
        ('{"rules": [}', "cannot be read as JSON"),
        ('{"rules": [{"type": "range", "type": "order"}]}', "'type' is given twice"),
        ("[1]", "expected keys and values"),
    ):
        path = write(tmp_path, text, "rules.json")
        with pytest.raises(ConfigError, match=words) as caught:
            read_rules_file(path)
        assert str(path) in str(caught.value)


def test_a_rule_that_a_class_breaks_names_the_class(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [*range(10, 1010), *[0] * 12, *range(10, 28)],
                          "class": ["common"] * 1000 + ["rare"] * 30})  # fmt: skip
    table = from_frame(frame, "class", metadata={"x": {"kind": "numerical"}})
    path = write(tmp_path, "rules: [{type: range, column: x, low: 10}]")
    with pytest.raises(ConfigError, match=r"18 of the 30 real rows of class 'rare'.*40\.0%"):
        load(table, path)
    said = "rules: [{type: range, column: x, low: 10, tolerance: 0.5}]"
    assert load(table, write(tmp_path, said)) == ["rule 1"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file of rules"):
        read_rules_file(tmp_path / "none.yaml")
