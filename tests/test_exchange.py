from __future__ import annotations

from dataclasses import replace

import pytest

from rddg_ray.exchange import CallId, Prompt, Usage

PROMPT = Prompt("be brief", "write rows", "generation", 0.5, 100)
CALL = CallId("sick", "rddg/g0", 3, 1)


def test_equal_prompts_have_equal_hashes() -> None:
    assert PROMPT.sha256 == replace(PROMPT).sha256
    assert len(PROMPT.sha256) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"system": ""},
        {"user": "write row"},
        {"phase": "relations"},
        {"temperature": None},
        {"max_completion_tokens": None},
        {"response_schema": "{}"},
    ],
)
def test_whatever_the_endpoint_is_told_changes_the_hash(change: dict[str, object]) -> None:
    assert replace(PROMPT, **change).sha256 != PROMPT.sha256  # type: ignore[arg-type]  # by name


def test_a_prompt_in_free_text_keeps_the_hash_by_which_earlier_runs_recorded_it() -> None:
    known = "10af903170863c727879453b0e7756c7db44ed4b6d08d91c2889af98343a8ca9"
    assert PROMPT.sha256 == known


def test_moving_text_between_messages_changes_the_hash() -> None:
    assert Prompt("ab", "c", "relations").sha256 != Prompt("a", "bc", "relations").sha256


def test_usage_adds_field_by_field() -> None:
    assert Usage(1, 10, 5, 2) + Usage(2, 1, 1, 0) == Usage(3, 11, 6, 2)


@pytest.mark.parametrize(
    "change", [{"dataset": "t"}, {"chain": "rddg/g1"}, {"round": 4}, {"index": 0}]
)
def test_two_calls_of_a_run_never_share_a_key(change: dict[str, object]) -> None:
    other = replace(CALL, **change)  # type: ignore[arg-type]  # by name
    assert other.key("run") != CALL.key("run")


def test_a_call_of_another_run_has_another_key() -> None:
    assert CALL.key("a") != CALL.key("b")
    assert CALL.key("a") == replace(CALL).key("a")
