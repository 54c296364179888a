"""The sentence at a run's end."""

from __future__ import annotations

import pytest

from rddg_ray.errors import (
    BudgetError,
    ConfigError,
    DataError,
    PermanentLLMError,
    RddgError,
    StoreError,
    TransientLLMError,
)
from rddg_ray.llm import explain_failure


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermanentLLMError("at h: bad", 401), "the endpoint refused the key (401): at h: bad."),
        (PermanentLLMError("m", 403), "does not let this key make the call (403)"),
        (PermanentLLMError("m", 404), "does not know the model or the address (404)"),
        (PermanentLLMError("m", 402), "quota is used up (402)"),
        (PermanentLLMError("m", 429, "insufficient_quota"), "quota is used up (429)"),
        (PermanentLLMError("m", 400, "content_filter"), "rddg retry-dead DIR"),
        (PermanentLLMError("m", None, "outcome_unknown"), "may have been paid for and is held"),
        (PermanentLLMError("m", None, "not_recorded"), "the endpoint refused a call: m"),
        (TransientLLMError("m", 429), "kept refusing calls for its limits (429)"),
        (TransientLLMError("m", 503), "kept failing (503): m. Every reply is kept; run again"),
        (TransientLLMError("m", 200), "could not be read"),
        (TransientLLMError("m", reached=False), "could not be reached"),
        (TransientLLMError("m"), "did not answer"),
        (BudgetError("5 US$ do not suffice"), "the budget is used up: 5 US$ do not suffice"),
        (StoreError("d: gone"), "the run directory stopped the run: d: gone"),
        (ConfigError("f: k"), "a setting must be changed: f: k"),
        (DataError("c"), "a table must be changed: c"),
        (RddgError("m"), "the run stopped: m"),
        (KeyboardInterrupt(), "interrupted"),
        (KeyError("a"), "an error of the program itself (KeyError): 'a'"),
    ],
)
def test_a_failure_is_told_by_its_kind(error, words):
    assert words in explain_failure(error)


def test_advice_that_an_error_gives_itself_is_not_repeated():
    error = PermanentLLMError("no; `rddg retry-dead runs/a` has it asked again", 400)
    assert explain_failure(error).count("retry-dead") == 1


def test_the_errors_own_words_are_kept_and_a_full_stop_is_not_doubled():
    assert ". ." not in explain_failure(TransientLLMError("busy.", 503))
    assert ".." not in explain_failure(TransientLLMError("busy.", 503))
