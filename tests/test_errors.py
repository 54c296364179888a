from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from rddg_ray.errors import (
    BudgetError,
    ConfigError,
    DataError,
    LLMError,
    PermanentLLMError,
    RddgError,
    StoreError,
    TransientLLMError,
)

ERRORS = [
    RddgError("base"),
    ConfigError("run.yaml: coreset.epochs = 3"),
    DataError("column 'age', row 3: 'x' is not a number"),
    LLMError("refused", 500),
    TransientLLMError("slow down", 429, retry_after_s=2.5),
    PermanentLLMError("no such key", 401, code="invalid_api_key"),
    BudgetError("10 of 10 calls made"),
    StoreError("no manifest"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_keeps_its_fields_through_pickle(error: RddgError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.args, vars(copy)) == (type(error), error.args, vars(error))
    assert str(copy) == str(error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_can_be_made_from_its_message_alone(error: RddgError) -> None:
    assert str(type(error)("only this")) == "only this"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_is_caught_as_the_base(error: RddgError) -> None:
    assert isinstance(error, RddgError)
    assert type(error).__doc__


@pytest.mark.parametrize("subclass", [TransientLLMError, PermanentLLMError])
def test_a_failed_call_is_caught_as_one_kind(subclass: type[LLMError]) -> None:
    assert issubclass(subclass, LLMError)


_RAISES = """
from rddg_ray.errors import TransientLLMError
raise TransientLLMError("slow down", 429, retry_after_s=2.5)
"""


def test_an_error_keeps_its_fields_across_a_process_border() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        # As source, because the worker cannot import a function of this file.
        future = pool.submit(exec, _RAISES)
        with pytest.raises(TransientLLMError, match="slow down") as caught:
            future.result()
    assert (caught.value.status, caught.value.retry_after_s) == (429, 2.5)
