"""What a chain's failure means for the rest of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rddg_ray.errors import BudgetError, LLMError, PermanentLLMError, RddgError
from rddg_ray.llm.explaining import explain_failure
from rddg_ray.llm.failures import concerns_prompt
from rddg_ray.runtime.chains import ChainOutcome
from rddg_ray.runtime.executor import ChainFailure, LostChainError

_MOST_NAMES = 3


def stops_run(error: Exception) -> bool:
    """Return whether no other chain can do better, so that all should stop.

    A refused prompt (content filter, context length) is its chain's own affair, and what passes
    may have passed for the next chain. A key, a quota, a budget, a run directory that another
    driver took over and a mistake in the program are the same for all.
    """
    if isinstance(error, PermanentLLMError):
        return not concerns_prompt(error)
    return not isinstance(error, (LLMError, LostChainError))


def is_doubtful(error: Exception) -> bool:
    """Return whether after this nothing of the run may be published.

    The endpoint and the budget say nothing against what is on record. A run directory that
    broke, or a mistake in the program, may.
    """
    return not isinstance(error, (LLMError, BudgetError, LostChainError))


def worst(failures: Sequence[ChainFailure]) -> Exception:
    """Return the failure that the user must act on: what waiting does not cure comes first."""
    return min((failure.error for failure in failures), key=_rank)


def _rank(error: Exception) -> int:
    if not isinstance(error, RddgError):
        return 0  # A mistake of ours, which must not hide behind a busy endpoint.
    if is_doubtful(error):
        return 1
    if isinstance(error, PermanentLLMError):
        return 3 if concerns_prompt(error) else 2
    return 4 if isinstance(error, BudgetError) else 5


def told(error: Exception, lines: Sequence[str]) -> Exception:
    """Return the error with lines (`__notes__`) that the command line shows in its place."""
    for line in lines:
        error.add_note(line)
    return error


def failure_lines(failures: Sequence[ChainFailure], n_chains: int) -> list[str]:
    """Return a sentence for each reason for which chains failed, the worst first.

    Args:
        failures: Chains that failed and why.
        n_chains: Chains that were run.

    Returns:
        For each reason: how many chains, the first few by name, what happened, what to do.
    """
    reasons: dict[tuple[object, ...], list[ChainFailure]] = {}
    for failure in sorted(failures, key=lambda failure: _rank(failure.error)):
        reasons.setdefault(_reason(failure.error), []).append(failure)
    return [_line(members, n_chains) for members in reasons.values()]


def _line(members: Sequence[ChainFailure], n_chains: int) -> str:
    of_chains = f"{len(members)} of {n_chains} {_chains(n_chains)}"
    error = members[0].error
    if isinstance(error, LostChainError):
        return (
            f"the machines that ran {of_chains} were lost ({_names(members)}): {error}. Every "
            "reply is kept; run again to go on from here."
        )
    return f"{of_chains} failed ({_names(members)}): {explain_failure(error)}"


def _reason(error: Exception) -> tuple[object, ...]:
    # Messages differ in what a person need not read twice: ids of requests, seconds, chains.
    return type(error), getattr(error, "status", None), getattr(error, "code", None)


def _chains(n_chains: int) -> str:
    return "chain" if n_chains == 1 else "chains"


def _names(failures: Sequence[ChainFailure]) -> str:
    names = [f"{failure.spec.dataset}/{failure.spec.name}" for failure in failures]
    more = [f"and {len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    return ", ".join(names[:_MOST_NAMES] + more)


def published_line(outcomes: Sequence[ChainOutcome]) -> str:
    """Return a sentence that says which rows of a run that stopped are published.

    Args:
        outcomes: Of every published chain.
    """
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts.update(outcome.accepted)
    if not counts.total():
        return "No rows are published yet"
    by_class = ", ".join(f"{label} {count:,}" for label, count in counts.items() if count)
    return (
        f"{counts.total():,} rows of {len(outcomes)} {_chains(len(outcomes))} are published: "
        f"{by_class}"
    )
