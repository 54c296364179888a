"""Tokens of a call before it is made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rddg_ray.exchange import Completion, Prompt, Usage
from rddg_ray.llm.bounds import completion_bound, prompt_tokens_bound
from rddg_ray.llm.estimates import TokenEstimator

PROMPT = Prompt("s" * 100, "u" * 300, "generation")
CAPPED = Prompt("s" * 100, "u" * 300, "generation", max_completion_tokens=200)


def seen(prompt_tokens: int, completion_tokens: int) -> Completion:
    return Completion("", "m", Usage(1, prompt_tokens, completion_tokens))


def test_before_the_first_reply_it_is_a_quarter_of_the_characters_and_500():
    assert TokenEstimator().estimate(PROMPT, reserves=False) == 100 + 500
    assert TokenEstimator().estimate(CAPPED, reserves=False) == 100 + 200


def test_where_the_cap_is_charged_the_cap_is_the_estimate_whatever_was_seen():
    estimator = TokenEstimator()
    estimator.see(PROMPT, seen(100, 40))
    assert estimator.estimate(CAPPED, reserves=True) == 100 + 200
    assert estimator.estimate(CAPPED, reserves=False) == 100 + 40
    assert estimator.estimate(PROMPT, reserves=True) == 100 + 40


def test_the_first_reply_of_a_phase_counts_whole_and_teaches_no_other_phase():
    estimator = TokenEstimator()
    estimator.see(PROMPT, seen(200, 40))  # a token for each two characters
    assert estimator.estimate(PROMPT, reserves=False) == 200 + 40
    other = Prompt(PROMPT.system, PROMPT.user, "relations")
    assert estimator.estimate(other, reserves=False) == 600


def test_the_estimate_settles_at_the_mean_and_follows_a_change():
    estimator = TokenEstimator()
    for tokens in [90, 110] * 50:
        estimator.see(PROMPT, seen(100, tokens))
    assert estimator.estimate(PROMPT, reserves=False) == pytest.approx(200, abs=12)
    for _ in range(50):  # what is left of the past is 0.9**50 = 0.5 %
        estimator.see(PROMPT, seen(100, 1_000))
    assert estimator.estimate(PROMPT, reserves=False) == pytest.approx(1_100, abs=6)


def test_a_reply_without_counts_teaches_nothing_and_no_estimate_is_below_one():
    estimator = TokenEstimator()
    estimator.see(PROMPT, Completion("", "m"))
    assert estimator.estimate(PROMPT, reserves=False) == 600
    estimator.see(PROMPT, seen(1, 0))
    assert estimator.estimate(Prompt("", "", "generation"), reserves=False) == 1


def test_the_schema_of_a_reply_counts_with_the_prompt_that_carries_it():
    plain = Prompt("s" * 100, "u" * 300, "generation")
    structured = replace(plain, response_schema="x" * 200)
    assert TokenEstimator().estimate(structured, reserves=False) == 50 + TokenEstimator().estimate(
        plain, reserves=False
    )
    assert prompt_tokens_bound(structured) == prompt_tokens_bound(plain) + 200


def test_a_cap_bounds_what_a_call_may_take():
    capped = replace(CAPPED, max_completion_tokens=77)
    assert completion_bound(capped) == 77
    assert TokenEstimator().estimate(capped, reserves=True) == 100 + 77
