"""Rules of a recorded analysis of the authors' Sick split, re-asked in the grammar.

The reply is written by hand in our own words from the relations that the recorded prose names.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from rddg_ray.codes import Codes
from rddg_ray.constraints import Enforcer, Rules, Verdict
from rddg_ray.novelty import Row
from rddg_ray.parsing import ParsedReply, RowParser
from rddg_ray.rule_replies import RulesReader
from rddg_ray.sifting import Sieve
from rddg_ray.table import Table, from_frame

REPLY = Path(__file__).parent / "replies" / "sick.md"


@pytest.fixture(scope="module")
def sick(shared: Path) -> Table:
    folder = shared / "data" / "sick" / "authors_split"
    if not folder.is_dir() or not (shared / "recordings").is_dir():
        pytest.skip("no authors' Sick split or no recordings in the folder of real tables")
    parts = [pd.read_csv(folder / f"{part}_train.csv", dtype=str, keep_default_na=False)
             for part in ("X", "y")]  # fmt: skip
    frame = parts[0].merge(parts[1], on="index").drop(columns="index")
    return from_frame(frame, "Class", name="sick", missing_values=("",))


@pytest.fixture(scope="module")
def codes(shared: Path) -> Codes:
    text = (shared / "recordings" / "sick_codes.json").read_text(encoding="utf-8")
    return Codes(json.loads(text))


@pytest.fixture(scope="module")
def rules(sick: Table, codes: Codes) -> Rules:
    return RulesReader(sick, codes).read(REPLY.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def verdicts(rules: Rules) -> dict[str, Verdict]:
    return {verdict.rule.name: verdict for verdict in rules.verdicts}


@pytest.fixture(scope="module")
def recorded(shared: Path, sick: Table, codes: Codes) -> list[ParsedReply]:
    lines = (shared / "recordings" / "sick.jsonl").read_text(encoding="utf-8").splitlines()
    parser = RowParser(sick.prompt_columns, codes, sick.classes)
    replies = [json.loads(line) for line in lines]
    return [parser.parse(r["reply"]) for r in replies if r["phase"] == "generation"]


@pytest.mark.parametrize(
    ("name", "support", "violations"),
    [
        # The counts of the training file, by the flag columns.
        ("TSH fill", 258, 0),
        ("T3 fill", 581, 0),
        ("TT4 fill", 141, 0),
        ("T4U fill", 269, 0),
        ("FTI fill", 267, 0),
        ("measured together", 2699, 0),
        ("neither measured", 269, 2),
        ("TT4 first", 141, 3),
        ("T3 is measured in B", 185, 2),
        ("referral of B", 185, 0),
        ("referral", 2968, 0),
        ("sex", 2968, 0),
    ],
)
def test_flag_values_and_code_lists_are_verified_rules(
    verdicts: dict[str, Verdict], name: str, support: int, violations: int
) -> None:
    found = verdicts[name]
    allowed = "kept" if violations <= 0.02 * support else "violated"
    assert (found.support, found.violations, found.decision) == (support, violations, allowed)


def test_the_index_is_verified_with_the_difference_that_rounding_needs(
    verdicts: dict[str, Verdict],
) -> None:
    found = verdicts["index"]
    # As said, 182 of 2,697 measured rows (6.7%) break it, because T4U has two decimals.
    assert (found.support, found.decision, found.said_within) == (2697, "kept", (1.0, 0.0))
    assert 1.1 < found.rule.body.within < 1.4
    assert found.rate <= 0.02


def test_what_real_rows_contradict_is_dropped_with_its_figure(verdicts: dict[str, Verdict]) -> None:
    # 16 of 185 rare rows are younger than 35 or older than 90.
    assert (verdicts["age of B"].decision, verdicts["age of B"].violations) == ("violated", 16)
    assert verdicts["T3 of B"].decision == "violated"
    assert verdicts["pregnant"].decision == "violated"


def test_a_rule_about_a_column_that_is_not_there_is_listed_with_its_reason(rules: Rules) -> None:
    assert len(rules.unreadable) == 1
    assert "'TBG'" in rules.unreadable[0].reason
    assert '"ratio"' in rules.unreadable[0].text


def test_the_generator_is_shown_prose_verified_rules_and_what_is_not_so(rules: Rules) -> None:
    assert "json" not in rules.shown
    assert rules.shown.startswith("1. The flag of a measurement")
    line = 'Where "T3_measured" is "JYW": "T3" is 2.013504330446369 (holds in all of 581 real rows)'
    assert line in rules.shown
    wrong = rules.shown.partition("Real rows break these")[2]
    assert '"age" is between 35 and 90' in wrong
    assert "16 of 185 (8.6%)" in wrong


def test_rows_that_break_the_rules_are_refused_and_recorded_rows_are_not(
    sick: Table, rules: Rules, recorded: list[ParsedReply]
) -> None:
    held = Enforcer(sick.prompt_columns, [verdict.rule for verdict in rules.kept])
    rows: list[Row] = [row.values for reply in recorded for row in reply.rows]
    refused = [judged for judged in held.judge(rows) if judged.refused_by is not None]
    # The model that wrote these rows knew its own rules; few slip.
    assert len(refused) <= 0.05 * len(rows)
    good = next(j.row for j in held.judge(rows) if not j.broken)
    names = [column.name for column in sick.prompt_columns]
    cells = dict(zip(names, good, strict=True))
    assert cells["FTI_measured"] == "t"
    breaches = {
        "index": {"FTI": float(str(cells["FTI"])) + 30},
        "T3 fill": {"T3_measured": "f", "T3": 1.5},
        "TSH fill": {"TSH_measured": "f", "TSH": 2.2},
        "measured together": {"FTI_measured": "f", "FTI": 110.48071470761961},
    }
    for name, changes in breaches.items():
        row = tuple([(cells | changes)[column] for column in names])
        judged = held.judge([row])[0]
        assert judged.refused_by is not None
        assert judged.refused_by.name == name


def test_a_sieve_refuses_with_the_rule_s_name_columns_and_values(
    sick: Table, rules: Rules, recorded: list[ParsedReply]
) -> None:
    held = Enforcer(sick.prompt_columns, [verdict.rule for verdict in rules.kept])
    sieve = Sieve(sick.prompt_columns, {"negative": 500, "sick": 500}, None, set(),
                  allow_repeats=False, enforcer=held)  # fmt: skip
    sieve.sift(recorded, 0)
    assert sum(sieve.taken.values()) + sum(sieve.reasons.values()) == 240
    assert sieve.n_held == 240 - sieve.reasons.get("repeat", 0)
    assert sum(sieve.broken.values()) >= sieve.reasons.get("rule", 0)
