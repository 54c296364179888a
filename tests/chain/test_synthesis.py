from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rddg_ray.chain_state import RoundInfo, State
from rddg_ray.config import GenerationSettings
from rddg_ray.errors import ConfigError, DataError
from rddg_ray.exchange import Completion, Prompt, Usage
from rddg_ray.reply_length import ReplyLengths
from rddg_ray.study import Study
from rddg_ray.synthesis import Synthesis
from rddg_ray.table import Table, from_frame

_WANTED = re.compile(r'(\d+) new rows? of class [A-Z]+ \("(\w+)"\)')
LABELS = ("a", "b", "c")


def table(n_rows: int = 60) -> Table:
    """Return classes a (half of the rows), b (a third) and c (a sixth)."""
    labels = ["aaabbc"[i % 6] for i in range(n_rows)]
    frame = {
        "y": labels,
        "x": [(i * 7 % 90) / 10 for i in range(n_rows)],
        "n": [i * 3 % 50 for i in range(n_rows)],
        "w": ["pq"[i % 2] for i in range(n_rows)],
    }
    return from_frame(pd.DataFrame(frame), "y")


def chain(
    targets: Mapping[str, int],
    *,
    method: str = "rddg",
    random_state: int = 0,
    coreset: list[int] | None = None,
    number: int = 0,
    **options: Any,
) -> Synthesis:
    given_ = GenerationSettings(codes=False, **options)
    return Synthesis(table(), coreset, given_, method=method, random_state=random_state,
                     targets=targets, chain=number)  # fmt: skip


class Writer:
    """Answers as asked, every row a new one; counts what it was asked."""

    def __init__(self, row: Callable[[str, int], str] | None = None) -> None:
        self.n_rows = 0
        self.prompts: list[Prompt] = []
        self._row = row or (lambda label, at: f"{label},{1000 + at}.5,{at % 50},p")

    def __call__(self, prompt: Prompt) -> Completion:
        self.prompts.append(prompt)
        if prompt.phase != "generation":
            return Completion(f"the {prompt.phase}", "scripted", Usage(1, 10, 5))
        lines = []
        for count, label in _WANTED.findall(prompt.user):
            for _ in range(int(count)):
                lines.append(self._row(label, self.n_rows))
                self.n_rows += 1
        return Completion("\n".join(lines) + "\n", "scripted", Usage(1, 100, 50))


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


def test_a_synthesis_is_a_study() -> None:
    study: Study[State, Prompt, Completion, RoundInfo] = chain({"c": 3})
    assert study.start().phase == "relations"


def test_the_whole_chain_asks_for_relations_then_rules_then_rows_until_the_target() -> None:
    study, writer = chain({"b": 20, "c": 35}), Writer()
    state, infos, _ = run(study, writer)
    assert [info.phase for info in infos] == ["relations", "constraints"] + ["generation"] * 3
    assert study.ended_because(state) == "target"
    assert state.counts == {"a": 0, "b": 20, "c": 35}
    assert [info.requested for info in infos[2:]] == [
        {"b": 15, "c": 15}, {"b": 5, "c": 15}, {"c": 5},
    ]  # fmt: skip
    assert "## Relations\nthe relations\n" in writer.prompts[1].user
    assert all("## Rules\nthe constraints\n" in prompt.user for prompt in writer.prompts[2:])
    assert state.usage == Usage(5, 320, 160)
    assert (state.n_calls, state.round, state.model) == (5, 5, "scripted")
    assert study.ask(state) == []


def test_methods_are_settings_of_one_chain() -> None:
    said = {}
    for method in ("rddg", "epic", "rddg_no_feedback", "rddg_random_coreset"):
        writer = Writer()
        run(chain({"c": 40}, method=method), writer)
        said[method] = (
            [prompt.phase for prompt in writer.prompts][:2],
            any("## Rules" in prompt.user for prompt in writer.prompts),
            any("## Quality report" in prompt.user for prompt in writer.prompts),
        )
    whole = (["relations", "constraints"], True, True)
    assert said["rddg"] == said["rddg_random_coreset"] == whole
    assert said["epic"] == (["generation", "generation"], False, False)
    assert said["rddg_no_feedback"] == (["relations", "constraints"], True, False)


def test_a_round_is_told_of_the_round_before_and_of_no_other() -> None:
    writer = Writer()
    _, infos, _ = run(chain({"b": 60}, method="rddg", batches_per_round=2), writer)
    rounds = infos[2:]
    assert [info.n_prompts for info in rounds] == [2, 2]
    assert rounds[0].feedback != rounds[1].feedback
    for prompt in writer.prompts[2:4]:
        assert "## Quality report" not in prompt.user
    for prompt in writer.prompts[4:]:
        assert f"wrote last\n{rounds[0].feedback}\n\n" in prompt.user
    # x lies at 1,000 in every written row, and below 9 in every real one.
    assert 'Class B ("b"):\n- Adjust mean values closer to: "x"' in rounds[0].feedback


def test_the_quality_of_a_round_pools_its_prompts_and_compares_requested_classes_only() -> None:
    _, infos, _ = run(chain({"c": 30}, batches_per_round=2), Writer())
    quality = infos[2].quality
    assert quality is not None
    assert [(part.label, part.n_synthetic) for part in quality.classes] == [("c", 30)]
    assert quality.overall is None
    # Ten rows of class c are in the table, and both prompts show all of them.
    assert quality.classes[0].n_real == 10


def test_every_refusal_has_its_reason() -> None:
    real = table().cells([0])[0]  # a row of class a
    known = ",".join(table().cells([5])[0])
    lines = [
        "c,1.5,1,p", "c,1.5,1,p", known, ",".join(real), "c,2.5,2,q", "c,3.5,3,q",
        "c,4.5,x,q", "c,4.5,4", "c,4.5,4,z", "c,,4,p", "zz,4.5,4,p", "c,9.5,9,p",
    ]  # fmt: skip
    study = chain({"c": 3}, method="epic")
    state, info = study.tell(study.start(), [Completion("\n".join(lines), "m", Usage(), "length")])
    frame = study.rejects_frame(state)
    assert frame[["rddg_position", "reason"]].values.tolist() == [
        [1, "repeat"],
        [2, "copy"],
        [3, "not_requested"],
        [6, "not_a_number"],
        [7, "column_count"],
        [8, "unknown_category"],
        [9, "missing_value"],
        [10, "out_of_class"],
        [11, "truncated"],
    ]
    assert frame["text"].tolist()[1] == known
    assert info.accepted == {"a": 0, "b": 0, "c": 3}
    assert info.rejected == dict.fromkeys(frame["reason"], 1)
    assert study.rows_frame(state)["x"].tolist() == [1.5, 2.5, 3.5]


def test_rows_beyond_the_target_are_surplus_and_counts_are_exact() -> None:
    study = chain({"c": 2}, method="epic")
    reply = Completion("\n".join(f"c,{i}.5,{i},p" for i in range(4)), "m")
    state, info = study.tell(study.start(), [reply])
    assert study.ended_because(state) == "target"
    assert (state.counts["c"], info.rejected) == (2, {"surplus": 2})


def test_a_row_of_another_class_that_lacks_rows_is_taken() -> None:
    study = chain({"b": 1, "c": 1}, method="epic")
    state, _ = study.tell(study.start(), [Completion("A.\nc,1.5,1,p\nb,2.5,2,p", "m")])
    assert study.shortfall(state) == {"a": 0, "b": 0, "c": 0}


def test_a_repeat_of_an_earlier_round_is_refused_unless_allowed() -> None:
    for allowed in (False, True):
        study = chain({"c": 9}, method="epic", allow_repeats=allowed)
        state = study.start()
        for _ in range(2):
            state, info = study.tell(state, [Completion("c,1.5,1,p", "m")])
        assert info.rejected == ({} if allowed else {"repeat": 1})
        # A chain that has no memory of its own decides the same.
        other = chain({"c": 9}, method="epic", allow_repeats=allowed)
        assert other.tell(state, [Completion("c,1.5,1,p", "m")])[1].rejected == info.rejected


def test_copies_are_taken_where_they_are_allowed() -> None:
    known = ",".join(table().cells([5])[0])
    study = chain({"c": 1}, method="epic", allow_copies=True)
    state, _ = study.tell(study.start(), [Completion(known, "m")])
    assert state.counts["c"] == 1


def test_a_chain_ends_at_its_limits_with_an_honest_shortfall() -> None:
    numbers = itertools.count(1000)

    def one_row(_: Prompt) -> Completion:
        return Completion(f"c,{next(numbers)}.5,1,p", "m")

    cases: list[tuple[dict[str, Any], Callable[[Prompt], Completion], str, int, int]] = [
        ({"max_rounds": 3}, one_row, "rounds", 3, 97),
        ({"max_empty_rounds": 2}, lambda _: Completion("sorry", "m"), "empty_rounds", 2, 100),
        ({"max_calls": 5, "batches_per_round": 2}, one_row, "budget", 2, 96),
    ]
    for options, answer, reason, n_rounds, lacking in cases:
        study = chain({"c": 100}, method="epic", **options)
        state, infos, _ = run(study, answer)
        assert study.ended_because(state) == reason
        assert (len(infos), study.shortfall(state)["c"]) == (n_rounds, lacking)


def test_no_more_calls_are_asked_than_allowed_and_a_round_is_asked_whole() -> None:
    for max_calls in range(1, 9):
        writer = Writer()
        state, _, _ = run(chain({"b": 90}, batches_per_round=3, max_calls=max_calls), writer)
        # Relations and rules take a call each, a round three.
        whole = min(max_calls, 2) + max(max_calls - 2, 0) // 3 * 3
        assert len(writer.prompts) == state.n_calls == whole


def test_a_limit_changes_no_prompt_before_it_is_reached() -> None:
    free, limited = Writer(), Writer()
    run(chain({"b": 90}, batches_per_round=3), free)
    run(chain({"b": 90}, batches_per_round=3, max_calls=6, max_rounds=9), limited)
    assert 0 < len(limited.prompts) < len(free.prompts)
    assert limited.prompts == free.prompts[: len(limited.prompts)]


def test_the_default_round_limit_leaves_room_for_any_target() -> None:
    numbers = itertools.count(1000)

    def five_rows(_: Prompt) -> Completion:
        return Completion("\n".join(f"c,{next(numbers)}.5,1,p" for _ in range(5)), "m")

    # A third of what is asked for comes back: 15 rows are asked for, 5 accepted.
    study = chain({"c": 4000}, method="epic")
    state, infos, _ = run(study, five_rows)
    assert study.ended_because(state) == "target"
    assert len(infos) == 800


def test_rounds_before_generation_do_not_count_against_its_limit() -> None:
    _, infos, _ = run(chain({"c": 100}, max_rounds=2), Writer())
    assert [info.phase for info in infos][2:] == ["generation"] * 2


def test_nothing_is_asked_where_nothing_is_lacking() -> None:
    study = chain({"a": 0})
    assert study.ended_because(study.start()) == "target"
    assert study.ask(study.start()) == []


def test_a_chain_goes_on_without_an_empty_analysis_or_empty_rules() -> None:
    study = chain({"c": 2})
    state, info = study.tell(study.start(), [Completion(" \n", "m")])
    assert info.notes == ("the reply on relations is empty; the chain goes on without",)
    assert "## Relations" not in study.ask(state)[0].user
    state, info = study.tell(state, [Completion("", "m")])
    assert info.notes == ("the reply on constraints is empty; the chain goes on without",)
    assert "## Rules" not in study.ask(state)[0].user
    _, info = study.tell(state, [Completion("", "m", Usage(), "content_filter")])
    assert info.notes == ("prompt 0: the reply is empty (finish reason 'content_filter')",)


def test_relations_show_coreset_rows_of_every_class() -> None:
    coreset = [0, 0, 6, 5, 11, 11]  # rows 0 and 6 of class a, 5 and 11 of c, none of b
    shown = chain({"c": 1}, coreset=coreset, relation_rows_per_class=3)
    block = shown.ask(shown.start())[0].user.partition("## Rows\n")[2].partition("\n\n##")[0]
    lines = block.split("\n")
    expected = {",".join(cells) for cells in table().cells([0, 6, 5, 11])}
    assert expected <= set(lines)
    assert sum(line.startswith("a,") for line in lines) == 2
    assert sum(line.startswith("b,") for line in lines) == 3


def test_the_same_state_asks_the_same() -> None:
    one, other = chain({"b": 30, "c": 30}), chain({"b": 30, "c": 30})
    state, _, _ = run(chain({"b": 30, "c": 30}, max_rounds=2), Writer())
    for start in (one.start(), state):
        assert one.ask(start) == one.ask(start) == other.ask(start)


def test_chains_and_random_states_show_different_rows() -> None:
    users = {
        chain({"c": 3}, method="epic", random_state=state, number=number)
        .ask(chain({"c": 3}, method="epic").start())[0]
        .user
        for state, number in ((0, 0), (0, 1), (1, 0))
    }
    assert len(users) == 3


REPLIES = st.lists(
    st.sampled_from([
        "a,1.5,1,p", "b,2.5,2,q", "c,3.5,3,p", "c,4.25,4,q", "c,5,5,p", "c,x,5,p", "B.", "chat, so",
        "c,6,6", "zz,1,1,p", "", "```", 'c,"7",7,"p"', "b,0.0,0,p", "c,8,8,p", "b,9,9,q",
    ]),
    max_size=12,
).map("\n".join)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(["rddg", "epic"]), st.integers(1, 3))
def test_a_replayed_chain_reaches_the_same_state(
    data: st.DataObject, method: str, batches: int
) -> None:
    def make() -> Synthesis:
        return chain({"b": 4, "c": 9}, method=method, batches_per_round=batches, max_rounds=4,
                     request_rows_per_class=3)  # fmt: skip

    def answer(_: Prompt) -> Completion:
        return Completion(data.draw(REPLIES), "m", Usage(1), data.draw(st.sampled_from(
            ["stop", "length"])))  # fmt: skip

    state, infos, told = run(make(), answer)
    again = make()
    replayed = again.start()
    for answers, info in zip(told, infos, strict=True):
        assert len(again.ask(replayed)) == len(answers)
        replayed, same = again.tell(replayed, answers)
        assert (same.accepted, same.feedback) == (info.accepted, info.feedback)
    assert replayed == state
    taken = again.rows_frame(state)["y"].value_counts().to_dict()
    assert taken == {label: n for label, n in state.counts.items() if n}
    assert state.counts["b"] <= 4
    assert state.counts["c"] <= 9
    assert state.counts["a"] == 0


def test_rows_come_out_in_the_table_s_order_with_where_they_came_from() -> None:
    study = chain({"b": 2, "c": 1}, method="epic", batches_per_round=2, request_rows_per_class=1)
    replies = [Completion("chat\nb,1.5,1,p\nc,2.5,2,q", "m"), Completion("c,x,1,p\nb,3.5,3,p", "m")]
    state, _ = study.tell(study.start(), replies)
    frame = study.rows_frame(state)
    assert frame.columns.tolist() == [
        "y", "x", "n", "w", "rddg_round", "rddg_index", "rddg_position",
    ]  # fmt: skip
    assert frame.values.tolist() == [
        ["b", 1.5, 1.0, "p", 0, 0, 0],
        ["c", 2.5, 2.0, "q", 0, 0, 1],
        ["b", 3.5, 3.0, "p", 0, 1, 1],
    ]
    empty = study.rows_frame(study.start())
    assert empty.dtypes.to_dict() == frame.dtypes.to_dict()
    assert study.rejects_frame(study.start()).empty


def test_a_table_of_hostile_names_and_cells_goes_through_the_chain(hostile: Table) -> None:
    for codes in (True, False):
        study = Synthesis(hostile, None, GenerationSettings(codes=codes), method="rddg",
                          random_state=3, targets={"1. mid": 5, "-high": 4})  # fmt: skip
        writer = Writer()
        state = study.start()
        for _ in range(2):
            state, _ = study.tell(state, [writer(prompt) for prompt in study.ask(state)])
        prompt = study.ask(state)[0].user
        block = prompt.rpartition("## Rows\n")[2].partition("\n\n## Task")[0]
        # The reference rows, each with another price: new rows of the right form.
        reply = re.sub(r"(?m)^([^,\n]+|\"[^\"]+\"),(\d+\.25)?,", r"\1,77.75,", block)
        state, info = study.tell(state, [Completion(reply, "m")])
        assert state.counts == {"low": 0, "1. mid": 5, "-high": 4}
        assert set(info.rejected) <= {"not_requested", "surplus", "repeat"}
        out = hostile.to_output(study.rows_frame(state))
        assert out.columns.tolist()[:5] == list(hostile.schema.names)
        assert out["bought on"].str.fullmatch(r"2024-\d\d-\d\d").all()


def test_a_class_smaller_than_the_batch_is_shown_whole() -> None:
    study = chain({"c": 3}, method="epic", reference_rows_per_class=15)
    user = study.ask(study.start())[0].user
    assert len(re.findall(r"^c,", user, re.MULTILINE)) == 10


def test_six_classes_go_through_the_chain() -> None:
    labels = [f"k{i % 6}" for i in range(72)]
    frame = pd.DataFrame({"v": [i % 11 for i in range(72)], "y": labels})
    wanted = {f"k{i}": i for i in range(6)}
    study = Synthesis(from_frame(frame, "y"), None, GenerationSettings(codes=False), method="rddg",
                      random_state=0, targets=wanted)  # fmt: skip
    state, _, _ = run(study, Writer(lambda label, at: f"{label},{100 + at}"))
    assert state.counts == wanted


def common_start(one: str, other: str) -> str:
    differing = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return one[: next(differing, min(len(one), len(other)))]


@pytest.mark.parametrize("reply_format", ["csv", "json_schema"])
def test_prompts_of_a_chain_share_all_that_comes_before_the_report_and_the_rows(
    reply_format: str,
) -> None:
    writer = Writer()
    run(chain({"b": 60, "c": 60}, reply_format=reply_format), writer)
    words, generation = writer.prompts[:2], writer.prompts[2:]
    assert len(generation) >= 4
    for one, other in itertools.pairwise(generation):
        same = common_start(one.user, other.user)
        assert one.system == other.system
        assert one.response_schema == other.response_schema
        changing = other.user.find("## Quality report")
        assert len(same) >= (changing if changing >= 0 else other.user.index("## Rows"))
        # What stays is the table, the rules and the format.
        assert "## Rules\nthe constraints\n" in same
        assert "Write new rows, never copies" in same
    # The table comes first in every phase.
    table_part = generation[0].user.partition("## Rules")[0]
    assert all(prompt.user.startswith(table_part) for prompt in words)


def caps(prompts: list[Prompt]) -> list[int | None]:
    return [prompt.max_completion_tokens for prompt in prompts]


def test_a_learned_cap_is_twice_the_longest_reply_from_the_sixth_round_on() -> None:
    writer, plain = Writer(), Writer()
    run(chain({"b": 120}, max_completion_tokens="auto"), writer)
    run(chain({"b": 120}), plain)
    # Replies are counted as 50 tokens each, and no cap is below 256.
    assert caps(writer.prompts) == [None] * 7 + [256] * (len(writer.prompts) - 7)
    assert len(writer.prompts) > 7
    # A cap that cuts nothing changes no word.
    assert [p.user for p in writer.prompts] == [p.user for p in plain.prompts]


def test_a_number_caps_every_reply_and_nothing_is_learned() -> None:
    for setting in (900, None):
        writer = Writer()
        state, _, _ = run(chain({"b": 120}, max_completion_tokens=setting), writer)
        assert caps(writer.prompts) == [setting] * len(writer.prompts)
        assert state.lengths == ReplyLengths()


def test_a_cap_that_cut_a_reply_is_doubled_for_the_next() -> None:
    writer = Writer()

    def answer(prompt: Prompt) -> Completion:
        reply = writer(prompt)
        cap = prompt.max_completion_tokens
        if cap is not None and cap < 1500:
            return Completion(reply.text[:-9], "m", Usage(1, 100, cap), "length")
        return Completion(reply.text, "m", Usage(1, 100, 400))

    state, _, told = run(chain({"b": 200}, max_completion_tokens="auto", max_rounds=11), answer)
    assert caps(writer.prompts)[7:] == [800, 1600, 1600, 1600, 1600, 1600]
    # The chain that is told the same asks the same: nothing else decides.
    again = chain({"b": 200}, max_completion_tokens="auto", max_rounds=11)
    replayed, asked = again.start(), []
    for answers in told:
        asked += again.ask(replayed)
        replayed, _ = again.tell(replayed, answers)
    assert asked == writer.prompts
    assert replayed == state


def test_an_endpoint_that_counts_no_tokens_is_never_capped() -> None:
    writer = Writer()

    def answer(prompt: Prompt) -> Completion:
        return replace(writer(prompt), usage=Usage(1))

    run(chain({"b": 150}, max_completion_tokens="auto"), answer)
    assert caps(writer.prompts) == [None] * len(writer.prompts)


def test_a_chain_reads_rows_in_json_with_the_same_reasons() -> None:
    study = chain({"c": 3}, method="epic", reply_format="json_schema")
    real = dict(zip("yxnw", table().cells([5])[0], strict=True))
    rows = [
        {"y": "c", "x": 1.5, "n": 1, "w": "p"}, {"y": "c", "x": 1.5, "n": 1, "w": "p"}, real,
        {"y": "c", "x": "?", "n": 1, "w": "p"}, {"y": "c", "x": 2.5, "n": 1},
        {"y": "c", "x": 2.5, "n": 2, "w": "q"},
    ]  # fmt: skip
    text = json.dumps({"rows": rows})[:-2] + ', {"y": "c", "x": 3.5, "n": 3'
    state, info = study.tell(study.start(), [Completion(text, "m", Usage(), "length")])
    assert info.accepted["c"] == 2
    assert study.rejects_frame(state)[["rddg_position", "reason"]].values.tolist() == [
        [1, "repeat"], [2, "copy"], [3, "missing_value"], [4, "column_count"], [6, "truncated"],
    ]  # fmt: skip


def test_wrong_use_is_named() -> None:
    with pytest.raises(ConfigError, match="'gan' is not one of"):
        chain({"c": 1}, method="gan")
    with pytest.raises(ConfigError, match="no class 'd'"):
        chain({"d": 1})
    with pytest.raises(ConfigError, match="-1 is below 0"):
        chain({"c": 1}, random_state=-1)
    with pytest.raises(ValueError, match="2 answers to 1 prompts of round 0"):
        chain({"c": 1}).tell(chain({"c": 1}).start(), [Completion("", "m")] * 2)
    frame = pd.DataFrame({"rddg_round": [1, 2, 3, 4, 4], "y": list("aabba")})
    with pytest.raises(DataError, match="'rddg_round' has the name"):
        Synthesis(from_frame(frame, "y"), None, GenerationSettings(), method="epic",
                  random_state=0, targets={})  # fmt: skip
