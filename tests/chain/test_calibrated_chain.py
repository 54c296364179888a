"""The calibrated chain: copies, classes that are not believable, what is said, what is asked."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rddg_ray.calibration.rates import AcceptanceRate
from rddg_ray.chain_state import RoundInfo, State
from rddg_ray.config import GENERATIVE_METHODS, EmbeddedSettings, GenerationSettings
from rddg_ray.exchange import Completion, Prompt, Usage
from rddg_ray.llm.embedded.replying import reply
from rddg_ray.method_parts import METHOD_PARTS
from rddg_ray.synthesis import Synthesis
from rddg_ray.table import Table, from_frame
from rddg_ray.table_models import TableModels

_WANTED = re.compile(r'(\d+) new rows? of class [A-Z]+ \("(\w+)"\)')
# Class, its share, mean of x; y is noise, w a letter more frequent in class b.
CLASSES = {"a": (0.7, 0.0), "b": (0.3, 6.0)}


def draw(label: str, n_rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return rows of a class: x with standard deviation 1, y with 10, w."""
    return pd.DataFrame({
        "label": label,
        "x": rng.normal(CLASSES[label][1], 1.0, n_rows).round(3),
        "y": rng.normal(50.0, 10.0, n_rows).round(2),
        "w": rng.choice(["p", "q"], n_rows, p=[0.5, 0.5] if label == "a" else [0.2, 0.8]),
    })  # fmt: skip


def table(n_rows: int = 300) -> Table:
    rng = np.random.default_rng(1)
    parts = [draw(label, int(n_rows * share), rng) for label, (share, _) in CLASSES.items()]
    return from_frame(pd.concat(parts, ignore_index=True), "label", name="two")


def chain(rows: Table, method: str = "rddg_calibrated", n_rows: int = 60,
          models: TableModels | None = None, **options: Any) -> Synthesis:  # fmt: skip
    given = GenerationSettings(**{"codes": False, "max_rounds": 30, **options})
    targets = dict.fromkeys(rows.classes, n_rows)
    return Synthesis(rows, None, given, method=method, random_state=0, targets=targets,
                     models=models)  # fmt: skip


def lines(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, header=False)


class Writer:
    """Answers with fresh rows of the classes' own law, changed by a function."""

    def __init__(self, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows) -> None:
        self._rng = np.random.default_rng(2)
        self._change = change

    def __call__(self, prompt: Prompt) -> Completion:
        if prompt.phase != "generation":
            return Completion(f"the {prompt.phase}", "scripted", Usage(1))
        found = [draw(label, int(count), self._rng)
                 for count, label in _WANTED.findall(prompt.user)]  # fmt: skip
        return Completion(lines(self._change(pd.concat(found))), "scripted", Usage(1))


def embedded(**flaws: Any) -> Callable[[Prompt], Completion]:
    settings = EmbeddedSettings(**flaws)

    def answer(prompt: Prompt) -> Completion:
        text = reply([("system", prompt.system), ("user", prompt.user)], settings)
        return Completion(text, "embedded-sampler", Usage(1))

    return answer


def run(
    study: Synthesis, answer: Callable[[Prompt], Completion]
) -> tuple[State, list[RoundInfo], list[list[Completion]]]:
    state, infos, told = study.start(), [], []
    while not study.is_done(state):
        answers = [answer(prompt) for prompt in study.ask(state)]
        state, info = study.tell(state, answers)
        infos.append(info)
        told.append(answers)
    return state, infos, told


def n_near_copies(made: pd.DataFrame, real: pd.DataFrame) -> int:
    """Count rows with a real row's words and every number within half a spacing, one by one."""
    half = {name: np.median(np.diff(np.unique(real[name]))) / 2 for name in ("x", "y")}
    return sum(
        bool(((real["label"] == row.label) & (real["w"] == row.w)
              & ((real["x"] - row.x).abs() <= half["x"] * (1 + 1e-9))
              & ((real["y"] - row.y).abs() <= half["y"] * (1 + 1e-9))).any())
        for row in made.itertuples()
    )  # fmt: skip


@pytest.mark.parametrize("method", ["rddg_calibrated", "epic"])
def test_of_an_endpoint_that_copies_half_its_rows_none_comes_through(method: str) -> None:
    rows = table()
    study = chain(rows, method)
    state, infos, _ = run(study, embedded(copy_share=0.5, malformed_share=0.0))
    made = study.rows_frame(state)
    assert study.ended_because(state) == "target"
    assert len(made) == 120
    assert set(map(tuple, made[["label", "x", "y", "w"]].to_numpy())).isdisjoint(
        map(tuple, rows.frame[["label", "x", "y", "w"]].to_numpy())
    )
    assert n_near_copies(made, rows.frame) == 0
    rejects = study.rejects_frame(state)
    copies = rejects[rejects["reason"].isin(["copy", "near_copy"])]
    # Nine standard deviations below half of the rows is a fifth.
    assert len(copies) > (len(made) + len(rejects)) / 5
    # The endpoint knows no real rows but those it was shown.
    assert copies["detail"][copies["reason"] == "copy"].str.endswith("the prompt showed").all()
    assert (
        sum(info.n_prompt_copies for info in infos)
        == copies["detail"].str.endswith("that the prompt showed").sum()
    )


def test_a_copy_of_a_row_that_the_prompt_did_not_show_is_told_from_one_that_it_did() -> None:
    rows = table()
    study = chain(rows, "epic", reference_rows_per_class=2)
    prompt = study.ask(study.start())[0].user
    cells = [",".join(row) for row in rows.cells()]
    shown, hidden = (next(line for line in cells if (line in prompt) == is_in)
                     for is_in in (True, False))  # fmt: skip
    state, info = study.tell(study.start(), [Completion(f"{hidden}\n{shown}\n", "m")])
    assert study.rejects_frame(state)["detail"].tolist() == [
        "equals a real training row that the prompt did not show",
        "equals a real training row that the prompt showed",
    ]
    assert (info.rejected, info.n_prompt_copies) == ({"copy": 2}, 1)


def test_a_number_within_half_a_spacing_makes_a_near_copy_unless_that_is_allowed() -> None:
    frame = pd.DataFrame({"label": ["a", "b"] * 20, "x": [10.0 * i + 0.5 for i in range(40)]})
    rows = from_frame(frame, "label")  # spacing 10
    written = "a,4.0\na,6.0\na,0.5\n"

    def reasons(**options: Any) -> list[str]:
        study = chain(rows, "epic", **options)
        state, _ = study.tell(study.start(), [Completion(written, "m")])
        return study.rejects_frame(state)["reason"].tolist()

    # 0.5 belongs to class a; 4.0 is 3.5 from it and 6.0 is 5.5, 10.5 belongs to class b.
    assert reasons() == ["near_copy", "copy"]
    assert reasons(near_copy_tolerance=0) == ["copy"]
    assert reasons(near_copy_tolerance=0.6) == ["near_copy", "near_copy", "copy"]
    assert reasons(allow_copies=True) == []


def test_rows_with_flipped_classes_are_refused_and_the_others_kept() -> None:
    flips = itertools.count()

    def flip(rows: pd.DataFrame) -> pd.DataFrame:
        """Give every third row the other class."""
        other = rows["label"].map({"a": "b", "b": "a"})
        return rows.assign(label=rows["label"].where([next(flips) % 3 > 0 for _ in rows.index],
                                                     other))  # fmt: skip

    study = chain(table(), n_rows=200)
    state, infos, _ = run(study, Writer(flip))
    assert study.ended_because(state) == "target"
    made, rejects = study.rows_frame(state), study.rejects_frame(state)
    # The classes' means lie six standard deviations apart: 3 parts them but for 1 row in 740.
    wrong = made["x"].between(3, 99) != (made["label"] == "b")
    refused = rejects[rejects["reason"] == "implausible"]
    cells = refused["text"].str.split(",", expand=True)
    flipped = (cells[1].astype(float) > 3) != (cells[0] == "b")
    assert flipped.sum() >= 0.9 * (flipped.sum() + wrong.sum())
    assert (~flipped).sum() <= 0.05 * (~wrong).sum()
    assert re.fullmatch(
        r"to models of the real rows class '[ab]' has P = 0\.\d\d here, below 0\.\d\d",
        refused["detail"].iloc[0],
    )
    told = infos[2].feedback.partition("Classes:\n")[2].splitlines()
    assert len(told) == 2
    assert re.fullmatch(
        r'- \d+ of \d+ rows of class A \("a"\) read like rows of class B \("b"\) and were refused: '
        "keep to what sets the class apart.",
        told[0],
    )
    assert [line.partition(":")[0] for line in study.judge_lines()] == ["class 'a'", "class 'b'"]


def test_judging_can_be_switched_off_and_is_no_part_of_the_paper_s_methods() -> None:
    def flip(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(label=rows["label"].map({"a": "b", "b": "a"}))

    rows = table()
    models = TableModels(rows, GenerationSettings())
    for options in ({"method": "rddg"}, {"plausibility": {"enabled": False}}):
        study = chain(rows, n_rows=15, models=models, **options)
        state, _, _ = run(study, Writer(flip))
        assert "implausible" not in set(study.rejects_frame(state)["reason"])
        assert study.judge_lines() == []


def test_a_rare_class_of_noise_is_not_judged_and_says_so() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({
        "label": ["common"] * 200 + ["rare"] * 20,
        "x": rng.normal(size=220).round(3),
        "y": rng.normal(size=220).round(3),
    })  # fmt: skip
    study = chain(from_frame(frame, "label"), n_rows=15)
    line = study.judge_lines()[1]
    assert line.startswith("class 'rare': not judged, its rows cannot be told from the others'")
    text = "".join(f"rare,{3 + i}.5,{i}.25\n" for i in range(15))
    state, infos, _ = run(study, lambda prompt: Completion(text, "m"))
    assert state.counts["rare"] == 15
    assert all("implausible" not in info.rejected for info in infos)


def test_only_what_is_off_is_spoken_of() -> None:
    def shifted(rows: pd.DataFrame) -> pd.DataFrame:
        """Move y in class b by 1.5 of its standard deviations."""
        return rows.assign(y=(rows["y"] + 15.0 * (rows["label"] == "b")).round(2))

    study = chain(table(), n_rows=60)
    state, infos, _ = run(study, Writer(shifted))
    told = [info for info in infos if info.phase == "generation"]
    assert all('Class B ("b"):' in info.feedback for info in told[:-1])
    assert all("Class A" not in info.feedback for info in told)
    means = [re.findall(r'closer to: "y" ([\d.]+) \(was ([\d.]+)\)', i.feedback) for i in told[:-1]]
    controls = [float(control) for ((control, _),) in means]
    # The endpoint does not listen, so that each round asks for a step more.
    assert controls == sorted(controls, reverse=True)
    assert controls[-1] < 50
    assert all(controls[0] < float(seen) < 80 for ((_, seen),) in means)
    records = [info.calibration for info in told]
    assert all(record is not None and record.text in info.feedback
               for record, info in zip(records, told, strict=True))  # fmt: skip
    # The last round has nobody to tell.
    assert told[-1].feedback == ""
    assert state.calibration is not None


def test_a_faithful_endpoint_is_left_alone() -> None:
    study = chain(table(), n_rows=150)
    _, infos, _ = run(study, Writer())
    told = [info.calibration for info in infos if info.calibration is not None]
    n_summaries = len(told[0].bias)
    assert sum(record.n_said for record in told) <= 0.1 * n_summaries * len(told)


def test_a_replay_of_the_replies_gives_the_same_state_and_asks_the_same() -> None:
    rows = table()
    first = chain(rows)
    state, infos, answers = run(first, embedded(bias=0.8, malformed_share=0.1))
    again, other = chain(rows), chain(rows).start()
    for told, info in zip(answers, infos, strict=True):
        assert [prompt.sha256 for prompt in again.ask(other)] == [
            prompt.sha256 for prompt in chain(rows).ask(other)
        ]
        other, same = again.tell(other, told)
        assert (same.feedback, same.rejected) == (info.feedback, info.rejected)
    assert other == state
    assert state.calibration is not None
    assert other.calibration is not None
    assert other.calibration.to_record() == state.calibration.to_record()
    assert any(info.feedback for info in infos)


def test_rows_are_asked_for_by_the_posterior_of_what_was_taken() -> None:
    kept = itertools.count()

    def spoilt(rows: pd.DataFrame) -> pd.DataFrame:
        """Write a word for a number in every third row."""
        bad = np.array([next(kept) % 3 == 0 for _ in rows.index])
        return rows.assign(x=rows["x"].astype(str).where(~bad, "high"))

    study = chain(table(), n_rows=25, plausibility={"enabled": False})
    state, infos, _ = run(study, Writer(spoilt))
    told = [info for info in infos if info.phase == "generation"]
    assert told[0].requested == {"a": 15, "b": 15}
    asked = taken = 0
    for before, info in itertools.pairwise(told):
        asked, taken = asked + before.requested["a"], taken + before.accepted["a"]
        rate = AcceptanceRate(taken, asked - taken)
        if taken < 25:
            assert info.requested["a"] == rate.request(25 - taken, most=15)
            assert 25 - taken <= info.requested["a"] <= 2 * (25 - taken)
    assert state.counts == {"a": 25, "b": 25}


def test_rows_that_merely_came_too_many_lower_no_acceptance_rate() -> None:
    def twice(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([rows, rows.assign(y=rows["y"] + 0.01)])

    study = chain(table(), n_rows=20, plausibility={"enabled": False})
    state, _, _ = run(study, Writer(twice))
    n_surplus = (study.rejects_frame(state)["reason"] == "surplus").sum()
    assert sum(state.surplus.values()) == n_surplus > 0


def test_a_verified_rule_tightens_the_prior_of_what_it_speaks_of() -> None:
    def prior(answer: str) -> tuple[dict[tuple[str, ...], float], set[str]]:
        study = chain(table(), n_rows=30)
        state = study.start()
        for text in ("relations", answer, lines(draw("a", 15, np.random.default_rng(5)))):
            state, _ = study.tell(state, [Completion(text, "m")])
        assert state.calibration is not None
        summaries = TableModels(table(), GenerationSettings()).summaries
        ratio = state.calibration.prior_sd / summaries.unit
        return {(s.label, s.kind, *s.names): float(r)
                for s, r in zip(summaries.items, ratio, strict=True)
                if np.isfinite(r)}, {verdict.rule.name for verdict in state.rules.kept}  # fmt: skip

    when = [{"column": "label", "is": "b"}]
    rule = json.dumps([{"type": "range", "name": "r", "column": "x", "low": 2, "when": when}])
    found, kept = prior(f"```json\n{rule}\n```")
    assert kept == {"r"}
    assert found["b", "mean", "x"] == found["b", "std", "x"] == pytest.approx(0.2)
    assert found["a", "mean", "x"] == found["b", "mean", "y"] == pytest.approx(0.5)
    assert found["b", "correlation", "x", "y"] == pytest.approx(0.5)


def test_without_relations_there_are_no_rules_and_the_report_is_algorithm_1_s() -> None:
    def shifted(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(y=rows["y"] + 30)

    study = chain(table(), "rddg_no_relations", n_rows=30)
    _, infos, _ = run(study, Writer(shifted))
    assert {info.phase for info in infos} == {"generation"}
    assert "Overall:" in infos[0].feedback
    assert infos[0].calibration is None


def test_every_method_has_its_parts_and_a_stream_of_random_numbers_that_stays() -> None:
    assert set(METHOD_PARTS) == set(GENERATIVE_METHODS)
    # Runs begun under these numbers go on under them.
    assert {name: parts.stream for name, parts in METHOD_PARTS.items()} == {
        "rddg": 0, "epic": 1, "rddg_no_feedback": 2, "rddg_random_coreset": 3,
        "rddg_calibrated": 4, "rddg_no_relations": 5,
    }  # fmt: skip


def test_chains_that_share_models_do_as_chains_with_their_own() -> None:
    rows = table()
    models = TableModels(rows, GenerationSettings())
    for _ in range(2):
        own, _, _ = run(chain(rows, n_rows=20), embedded())
        shared, _, _ = run(chain(rows, n_rows=20, models=models), embedded())
        assert own == shared


def test_the_records_of_a_chain_are_there_before_it_has_begun() -> None:
    study = chain(table())
    assert study.rules_record(study.start()) == {
        "text": "", "shown": "", "verdicts": [], "unreadable": [],
    }  # fmt: skip
    assert len(study.judge_lines()) == 2
    assert study.natural_copies().exact == 0.0
