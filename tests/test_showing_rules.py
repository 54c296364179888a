from __future__ import annotations

import json

import pandas as pd
import pytest

from rddg_ray.codes import Codes
from rddg_ray.constraints import Rules, RuleWords
from rddg_ray.errors import StoreError
from rddg_ray.rule_replies import RulesReader
from rddg_ray.runtime.rule_records import RuleLine, TableRules, load_rules, table_rules
from rddg_ray.showing_rules import rules_json, show_rules
from rddg_ray.table import Table, from_frame

REPLY = """Rules.
[{"type": "range", "column": "x", "low": 0}, {"type": "range", "column": "x", "low": 30},
 {"type": "membership", "column": "w", "values": ["p"], "when": {"y": "a"}},
 {"type": "range", "column": "v", "low": 0}]"""
KEPT = '"x" is at least 0'


def table() -> Table:
    rows = {"y": ["a", "b"] * 30, "x": [i % 37 for i in range(60)], "w": ["p", "q"] * 30}
    return from_frame(pd.DataFrame(rows), "y", name="t")


def content(rules: Rules, rows: Table) -> str:
    words = RuleWords(rows.prompt_columns)
    said = [words.rule(verdict.rule) for verdict in rules.verdicts]
    return json.dumps({"record": rules.to_record(), "words": said})


def of_chains(**chains: str) -> TableRules:
    """Return the rules of chains that replied with these texts."""
    rows = table()
    records = pd.DataFrame(
        {
            "rddg_chain": list(chains),
            "rules": [content(RulesReader(rows, Codes()).read(text), rows)
                      for text in chains.values()],
        }
    )  # fmt: skip
    return table_rules(records, "t", "rddg_calibrated", "runs/x")


def seen(rules: TableRules) -> list[tuple[str, str, str]]:
    return [(line.state, line.rule, line.figure) for line in rules.lines]


def test_rules_are_listed_with_their_figures_and_in_the_values_of_the_table() -> None:
    assert seen(of_chains(one=REPLY)) == [
        ("kept", KEPT, "holds in all of 60 real rows, at most 4.9% of rows break it (95%)"),
        ("kept", 'Where "y" is "a": "w" is "p"',
         "holds in all of 30 real rows, at most 9.5% of rows break it (95%)"),
        ("dropped", '"x" is at least 30', "real rows break it: 53 of 60 (88.3%)"),
        ("not read", '{"type": "range", "column": "v", "low": 0}',
         "column = 'v': there is no such column; known: y, x, w"),
    ]  # fmt: skip


def test_a_rule_of_several_chains_is_one_and_what_most_chains_say_comes_first() -> None:
    rules = of_chains(
        one='[{"type": "membership", "column": "w", "values": ["p"], "when": {"y": "a"}}]',
        two='[{"type": "range", "column": "x", "low": 0}]',
        three='[{"type": "range", "column": "x", "low": 0.0}]',
        none="Nothing to say.",
    )
    assert rules.n_chains == 4
    chains = {line.rule: line.chains for line in rules.lines}
    assert list(chains.values()) == [("two", "three"), ("one",)]
    assert chains[KEPT] == ("two", "three")
    assert rules.texts["none"] == "Nothing to say."


def test_every_rule_is_printed_with_how_many_chains_have_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_rules([of_chains(one=REPLY, two=REPLY)])
    out = capsys.readouterr().out
    assert "Rules for t by rddg_calibrated, 2 chains: 2 kept, 1 dropped, 1 not read" in out
    assert '"x" is at least 30' in out
    assert "88.3%" in out
    [line] = [line for line in out.splitlines() if KEPT in line]
    assert [cell.strip() for cell in line.split("│")][3:5] == ["model", "2"]


def test_dropped_rules_can_be_looked_at_alone_and_prose_can_follow(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_rules([of_chains(one=REPLY)], dropped_only=True, has_prose=True)
    out = capsys.readouterr().out
    assert KEPT not in out
    assert '"x" is at least 30' in out
    assert "In the words of the model, chain one:\nRules." in out
    show_rules([TableRules("t", "epic", 1, (), {})], dropped_only=True)
    assert "Rules for t by epic, 1 chain: 0 kept, 0 dropped, 0 not read" in capsys.readouterr().out


def test_rules_as_json_hold_their_definition_and_figures() -> None:
    entries = json.loads(rules_json([of_chains(one=REPLY)]))
    assert [entry["state"] for entry in entries] == ["kept", "kept", "dropped", "not read"]
    first = entries[0]
    assert (first["table"], first["method"], first["chains"]) == ("t", "rddg_calibrated", ["one"])
    assert (first["verdict"]["support"], first["verdict"]["violations"]) == (60, 0)
    assert first["verdict"]["rule"]["body"]["column"] == "x"
    assert entries[-1]["verdict"] is None
    lost = json.loads(rules_json([of_chains(one=REPLY)], dropped_only=True))
    assert [entry["state"] for entry in lost] == ["dropped", "not read"]


def test_a_rule_line_of_hostile_markup_is_printed_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = RuleLine("not read", "[red]x[/red] [/]", "why [bold]", "model", ("one",))
    show_rules([TableRules("[red]t", "m", 1, (line,), {})])
    out = capsys.readouterr().out
    assert "[red]x[/red] [/]" in out
    assert "Rules for [red]t by m" in out


def test_a_record_that_holds_no_rules_is_named() -> None:
    for record in ({}, {"text": 1, "verdicts": [{}], "unreadable": [], "shown": ""}):
        with pytest.raises(StoreError, match=r"runs/x/rules\.json: this is no record of rules"):
            load_rules(record, "runs/x/rules.json")


@pytest.mark.parametrize("text", ["", "[]", '{"words": []}', '{"record": 1, "words": []}'])
def test_a_record_that_cannot_be_read_names_the_chain(text: str) -> None:
    records = pd.DataFrame({"rddg_chain": ["one"], "rules": [text]})
    with pytest.raises(StoreError, match=r"runs/x: records of t/m, chain one: this is no record"):
        table_rules(records, "t", "m", "runs/x")


def test_words_that_do_not_match_their_rules_are_refused() -> None:
    rows = table()
    record = json.loads(content(RulesReader(rows, Codes()).read(REPLY), rows))
    records = pd.DataFrame({"rddg_chain": ["one"],
                            "rules": [json.dumps(record | {"words": ["x"]})]})  # fmt: skip
    with pytest.raises(StoreError, match="1 rules in words, 3 checked"):
        table_rules(records, "t", "m", "runs/x")
