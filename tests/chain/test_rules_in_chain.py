"""Rules in the chain: asked for, checked, shown, enforced, and told again where they are broken."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from rddg_ray.chain_state import RoundInfo, State
from rddg_ray.config import GenerationSettings
from rddg_ray.constraints import Rules, user_rules
from rddg_ray.exchange import Completion, Prompt
from rddg_ray.synthesis import Synthesis
from rddg_ray.table import Table, from_frame

SUM = {"name": "sum", "type": "formula", "column": "z", "formula": "x + n", "within": 0.05}
FALSE = {"name": "false", "type": "range", "column": "n", "low": 20}
UNKNOWN = {"name": "unknown", "type": "range", "column": "m", "low": 20}
ANSWER = f"1. z is x + n.\n```json\n{json.dumps([SUM, FALSE, UNKNOWN])}\n```\n"


def table() -> Table:
    """Return 60 rows with z = x + n."""
    x = [(i * 7 % 90) / 10 for i in range(60)]
    n = [i * 3 % 50 for i in range(60)]
    frame = {"y": ["aab"[i % 3] for i in range(60)], "x": x, "n": n,
             "z": [round(a + b, 1) for a, b in zip(x, n, strict=True)]}  # fmt: skip
    return from_frame(pd.DataFrame(frame), "y")


def chain(
    method: str = "rddg_calibrated", n_rows: int = 6, user: Any = (), **options: Any
) -> Synthesis:
    rows = table()
    given = user_rules(user, rows.prompt_columns, rows.frame) if user else ()
    settings = GenerationSettings(codes=False, **options)
    return Synthesis(rows, None, settings, method=method, random_state=0, targets={"b": n_rows},
                     user_rules=given)  # fmt: skip


def run(
    study: Synthesis, rows: Callable[[int], str], rules: str = ANSWER
) -> tuple[State, list[RoundInfo], list[Prompt]]:
    """Answer every generation prompt with six rows."""
    numbers = itertools.count()
    state, infos, prompts = study.start(), [], []
    while not study.is_done(state):
        (prompt,) = study.ask(state)
        prompts.append(prompt)
        words = {"relations": "z rises with x.", "constraints": rules}
        text = words.get(prompt.phase) or "\n".join(rows(next(numbers)) for _ in range(6))
        state, info = study.tell(state, [Completion(text, "m")])
        infos.append(info)
    return state, infos, prompts


def half_right(at: int) -> str:
    """Return a row whose sum is off by 10 in every second case."""
    return f"b,{at}.5,30,{at + 30 + 10 * (at % 2)}.5"


def test_verified_rules_are_shown_and_the_others_are_listed_with_their_reason() -> None:
    state, infos, prompts = run(chain(), half_right)
    rules = state.rules
    assert [verdict.rule.name for verdict in rules.kept] == ["sum"]
    # n is below 20 in 26 of 60 rows.
    n_low = sum(i * 3 % 50 < 20 for i in range(60))
    assert [(v.rule.name, v.violations, v.support) for v in rules.dropped] == [("false", n_low, 60)]
    assert len(rules.unreadable) == 1
    assert infos[1].notes == (
        "2 of the model's 3 rules are not used: 1 for what the real rows say, 1 cannot be read",
    )
    shown = prompts[2].user.partition("## Rules\n")[2].partition("\n\n## Format")[0]
    assert shown == rules.shown
    assert shown.startswith("1. z is x + n.\n\nThese rules were checked")
    assert '- "z" = "x" + "n" (within 0.05) (holds in all of 60 real rows).' in shown
    assert f"real rows break it: {n_low} of 60" in shown
    assert "json" not in shown


def test_a_row_that_breaks_a_verified_rule_is_refused_by_its_name() -> None:
    study = chain()
    state, infos, _ = run(study, half_right)
    assert infos[2].accepted == {"a": 0, "b": 3}
    assert infos[2].rejected == {"rule": 3}
    frame = study.rejects_frame(state)
    assert set(frame["reason"]) == {"rule"}
    assert frame["detail"][0] == (
        'rule \'sum\': "z" = "x" + "n" (within 0.05); here "z" is 41.5, "x" is 1.5, "n" is 30'
    )
    rows = study.rows_frame(state)
    assert (rows["z"] - rows["x"] - rows["n"]).abs().max() < 0.05
    assert len(rows) == 6


def test_the_next_prompt_is_told_how_many_rows_broke_which_rule() -> None:
    line = '- 3 of 6 rows broke the rule: "z" = "x" + "n" (within 0.05).'
    _, infos, prompts = run(chain(), half_right)
    assert infos[2].feedback.endswith(f"Rules:\n{line}")
    report = prompts[3].user.partition("## Quality report")[2].partition("## Rows")[0]
    assert line in report


@pytest.mark.parametrize("method", ["rddg", "rddg_random_coreset", "rddg_no_feedback"])
def test_the_paper_s_methods_show_the_rules_as_words_and_hold_no_row_to_them(method: str) -> None:
    state, infos, prompts = run(chain(method), half_right, rules="1. z is x + n.")
    assert "JSON" not in prompts[1].user
    assert state.rules == Rules(text="1. z is x + n.", shown="1. z is x + n.")
    assert "## Rules\n1. z is x + n.\n" in prompts[2].user
    assert infos[2].rejected == {}
    assert "Rules:" not in infos[2].feedback
    # A user's own rule is another matter.
    user = [{"type": "range", "name": "mine", "column": "x", "high": 9}]
    study = chain(method, user=user, max_rounds=3)
    _, infos, _ = run(study, lambda at: half_right(at + 5), rules="1. z is x + n.")
    # x is 5.5, 6.5, ... 10.5.
    assert infos[2].rejected == {"rule": 2}


def test_a_rule_that_repairs_loses_no_row() -> None:
    repair = json.dumps([{**SUM, "on_violation": "repair"}])
    study = chain()
    state, infos, _ = run(study, half_right, rules=repair)
    assert (len(infos), infos[2].rejected) == (3, {})
    rows = study.rows_frame(state)
    assert rows["z"].tolist() == [round(x + 30, 1) for x in rows["x"]]
    # The model is told all the same.
    assert infos[2].feedback.endswith("within 0.05).")


def test_a_row_that_a_repair_makes_a_copy_is_refused_as_one() -> None:
    real = ",".join(table().cells([2])[0])
    cells = real.split(",")
    spoilt = ",".join([*cells[:3], "999.0"])
    repair = json.dumps([{**SUM, "on_violation": "repair"}])
    study = chain(max_rounds=1)
    state, infos, _ = run(study, lambda _: spoilt, rules=repair)
    assert infos[2].rejected == {"copy": 6}
    assert state.counts["b"] == 0


def test_a_user_s_rules_count_for_every_method_and_come_first() -> None:
    user = [{"type": "range", "name": "mine", "column": "x", "high": 9}]
    study = chain(method="epic", user=user)
    assert [verdict.rule.name for verdict in study.start().rules.kept] == ["mine"]
    state, _, prompts = run(study, lambda at: f"b,{at}.5,30,{at + 30}.5")
    assert '- "x" is at most 9 (holds in all of 60 real rows).' in prompts[0].user
    assert study.rows_frame(state)["x"].max() <= 9
    state, _, _ = run(chain(user=user), half_right)
    assert [(v.rule.name, v.rule.source) for v in state.rules.kept] == [
        ("mine", "user"),
        ("sum", "model"),
    ]


def test_prose_without_a_rule_to_check_is_shown_as_it_is() -> None:
    state, infos, prompts = run(chain(), half_right, rules="be good {brace} [1]")
    assert state.rules == Rules(text="be good {brace} [1]", shown="be good {brace} [1]")
    assert "## Rules\nbe good {brace} [1]\n" in prompts[2].user
    assert infos[1].notes == ()
    assert len(infos) == 3


def test_an_answer_in_one_fence_is_read() -> None:
    for text in (f"```json\n{json.dumps([SUM])}\n```", f"```\n{ANSWER.replace('```', '')}\n```"):
        state, _, _ = run(chain(), half_right, rules=text)
        assert [verdict.rule.name for verdict in state.rules.kept] == ["sum"]
