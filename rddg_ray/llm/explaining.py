"""The sentence with which a run that stopped takes its leave."""

from __future__ import annotations

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
from rddg_ray.llm.failures import OUTCOME_UNKNOWN, concerns_prompt, is_quota

_KEPT = "Every reply is kept; run again to go on from here."
_DEAD = (
    "It is a dead letter now: `rddg journal DIR` shows it, and `rddg retry-dead DIR` has it asked "
    "again."
)
_BY_STATUS = {
    401: "the endpoint refused the key",
    403: "the endpoint does not let this key make the call",
    404: "the endpoint does not know the model or the address",
}


def explain_failure(error: BaseException) -> str:
    """Return what failed, why, and what to do, for the summary at a run's end.

    The words follow from the error's class, status and code; its own message, which names
    address, key or file, follows them.
    """
    lead, advice = _words(error)
    told = str(error).strip().rstrip(".") or type(error).__name__
    if advice == _DEAD and "rddg retry-dead" in told:
        advice = ""  # A letter on record says it already, with the run's own directory.
    return f"{lead}: {told}. {advice}".strip()


def _words(error: BaseException) -> tuple[str, str]:
    if isinstance(error, PermanentLLMError):
        return _permanent(error)
    if isinstance(error, TransientLLMError):
        return _transient(error), _KEPT
    if isinstance(error, LLMError):
        return "a call to the endpoint failed", _KEPT
    if isinstance(error, RddgError):
        return next(words for kind, words in _BY_KIND if isinstance(error, kind))
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return "the run was interrupted", _KEPT
    return f"an error of the program itself ({type(error).__name__})", _KEPT


_BY_KIND: tuple[tuple[type[RddgError], tuple[str, str]], ...] = (
    (BudgetError, ("the budget is used up", "")),
    (StoreError, ("the run directory stopped the run", "")),
    (ConfigError, ("a setting must be changed", "")),
    (DataError, ("a table must be changed", "")),
    (RddgError, ("the run stopped", _KEPT)),
)


def _permanent(error: PermanentLLMError) -> tuple[str, str]:
    if error.code == OUTCOME_UNKNOWN:
        return "a call may have been paid for and is held", _DEAD
    if is_quota(error.status, error.code):
        return f"the endpoint's quota is used up{_shown(error)}", _KEPT
    if concerns_prompt(error):
        return f"the endpoint refused a prompt{_shown(error)}", _DEAD
    lead = _BY_STATUS.get(error.status or 0, "the endpoint refused a call")
    return f"{lead}{_shown(error)}", _KEPT


def _transient(error: TransientLLMError) -> str:
    if error.status == 429:
        return f"the endpoint kept refusing calls for its limits{_shown(error)}"
    if error.status == 200:
        return "the endpoint's answers could not be read"
    if error.status is not None:
        return f"the endpoint kept failing{_shown(error)}"
    if not error.reached:
        return "the endpoint could not be reached"
    return "the endpoint did not answer"


def _shown(error: LLMError) -> str:
    return "" if error.status is None else f" ({error.status})"
