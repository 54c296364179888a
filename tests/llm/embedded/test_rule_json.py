"""The sampler's rules in JSON: read by the same reader as a model's, checked on the same rows."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from rddg_ray.codes import Codes
from rddg_ray.config import EmbeddedSettings
from rddg_ray.constraints import split_reply
from rddg_ray.llm.embedded.replying import reply
from rddg_ray.prompts import PromptWriter
from rddg_ray.rule_replies import RulesReader
from rddg_ray.table import Table, from_frame


def measured(n_rows: int = 200) -> Table:
    """Return rows with ratio = top / bottom, but for a tenth in which all three are filled in."""
    rng = np.random.default_rng(3)
    top = rng.integers(60, 140, n_rows).astype(float)
    bottom = np.round(rng.uniform(0.7, 1.3, n_rows), 2)
    ratio = np.round(top / bottom, 1)
    is_filled = np.arange(n_rows) % 10 == 0
    filled = {"top": 101.555123, "bottom": 0.994912, "ratio": 110.480719}
    columns = {"top": top, "bottom": bottom, "ratio": ratio}
    frame = pd.DataFrame({k: np.where(is_filled, filled[k], v) for k, v in columns.items()})
    frame["flag"] = np.where(is_filled, "no", "yes")
    frame["label"] = np.where(np.arange(n_rows) % 4 == 0, "few", "many")
    frame["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n_rows) % 50, "D")
    return from_frame(frame, "label")


def answer(prompt: str) -> str:
    return reply([("user", prompt)], EmbeddedSettings())


def rows_of(table: Table, size: int) -> dict[str, Sequence[int]]:
    return {label: np.flatnonzero(table.labels == label)[:size].tolist()
            for label in table.classes}  # fmt: skip


@pytest.mark.parametrize("with_codes", [True, False])
def test_what_the_sampler_sees_comes_out_as_verified_rules(with_codes: bool) -> None:
    table = measured()
    codes = Codes.draw(table.prompt_columns, 0) if with_codes else Codes()
    writer = PromptWriter(table, codes)
    analysis = answer(writer.relations(rows_of(table, 20)).user)
    rules = RulesReader(table, codes).read(answer(writer.constraints(analysis).user))
    assert rules.unreadable == ()
    kept = {(type(v.rule.body).__name__, v.rule.body.columns[0]): v for v in rules.kept}
    formula = kept["Formula", "ratio"]
    # The rows that are filled in are told apart by their flag.
    assert (formula.support, formula.rule.when[0].column) == (180, "flag")
    assert {columns for kind, columns in kept if kind == "Implication"} >= {"top", "ratio"}
    # Ranges of the whole table hold in all of it.
    for name in ("top", "bottom", "ratio", "day"):
        assert kept["Range", name].violations == 0
    assert rules.text.startswith("1. ")
    assert "```" not in rules.text


def test_json_is_written_only_where_it_is_asked_for() -> None:
    table = measured()
    prompt = PromptWriter(table, Codes()).constraints("nothing").user
    assert len(split_reply(answer(prompt)).items) == 4
    before, _, _ = prompt.partition("Then repeat")
    assert split_reply(answer(before)).items == ()
    assert "```" not in answer(before)


def test_an_analysis_that_asks_for_json_is_not_the_task() -> None:
    table = measured()
    prompt = PromptWriter(table, Codes()).constraints("a block of JSON").user
    before, _, _ = prompt.partition("Then repeat")
    assert "```" not in answer(before)


def test_a_block_is_json_to_any_reader() -> None:
    table = measured()
    text = answer(PromptWriter(table, Codes()).constraints("x").user)
    inner = text.partition("```json\n")[2].partition("\n```")[0]
    assert all(rule["type"] == "range" for rule in json.loads(inner))
