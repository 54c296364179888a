"""Sums over all calls of a journal."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rddg_ray.exchange import Usage
from rddg_ray.llm.journal.dead_letters import dead_letters
from rddg_ray.llm.journal.reading import DeadLetter
from rddg_ray.llm.journal.schema import files_of, opened_files
from rddg_ray.llm.spending import Prices, Spent

# An attempt whose outcome is unknown: it broke off, or it is in flight, now or for ever.
_IS_OPEN = "(ended = 'unknown' OR ended IS NULL AND key NOT IN (SELECT key FROM calls))"
_USAGE = "count(*), total(prompt_tokens), total(completion_tokens), total(cached_tokens)"
_BOUNDS = "count(*), total(prompt_tokens_bound), total(completion_tokens_bound)"


@dataclass(frozen=True, slots=True)
class PhaseSummary:
    """Replies of one phase.

    Attributes:
        n_calls: Replies on record.
        usage: Their tokens.
        latency_p50_s: Median time of an answered attempt, in seconds; 0 without any.
        latency_p95_s: 95th percentile.
        latency_max_s: Longest.
    """

    n_calls: int
    usage: Usage
    latency_p50_s: float
    latency_p95_s: float
    latency_max_s: float


@dataclass(frozen=True)
class JournalSummary:
    """What all writers recorded.

    Attributes:
        n_calls: Calls with a reply.
        n_writers: Files.
        by_phase: Replies by phase.
        total: Replies of all phases.
        n_attempts: Attempts sent.
        possibly_paid_twice: Attempts of unknown outcome that were followed by another one.
        n_unknown: Calls without a reply whose last attempt has no known outcome: in flight now,
            or when their process died.
        dead: Dead letters that were not revived.
        models: Replies by the model's name.
        finish_reasons: Replies by finish reason.
        spent: What was paid for, with the worst case of what may have been.
        cost_usd: Of all replies, or None without prices.
        most_usd: Of all replies and all that may have been paid for, or None without prices.
        first_unix_s: Time of the first reply, or None without any.
        last_unix_s: Time of the last one.
    """

    n_calls: int
    n_writers: int
    by_phase: dict[str, PhaseSummary]
    total: PhaseSummary
    n_attempts: int
    possibly_paid_twice: int
    n_unknown: int
    dead: list[DeadLetter]
    models: dict[str, int]
    finish_reasons: dict[str, int]
    spent: Spent
    cost_usd: float | None
    most_usd: float | None
    first_unix_s: float | None
    last_unix_s: float | None


def spent(folder: Path) -> Spent:
    """Return what a run has spent, over the files of all writers.

    Raises:
        StoreError: If a file is no journal.
    """
    usage, unknown = Usage(), Usage()
    for _, db in opened_files(folder):
        usage += _usage(db.execute(f"SELECT {_USAGE} FROM calls").fetchone())
        open_ = db.execute(f"SELECT {_BOUNDS} FROM sent WHERE {_IS_OPEN}").fetchone()
        unmetered = db.execute(
            "SELECT 0, total(prompt_tokens_bound), total(completion_tokens_bound) FROM sent "
            "WHERE ended IS NULL AND key IN "
            "(SELECT key FROM calls WHERE prompt_tokens + completion_tokens = 0)"
        ).fetchone()
        unknown += _usage(open_) + _usage(unmetered)
    return Spent(usage, unknown)


def summarise(folder: Path, prices: Prices | None = None) -> JournalSummary:
    """Return sums over the files of all writers.

    Args:
        folder: The run's `journal` folder.
        prices: What the tokens cost, or None.

    Raises:
        StoreError: If a file is no journal.
    """
    latencies_s: defaultdict[str, list[float]] = defaultdict(list)
    usages: defaultdict[str, Usage] = defaultdict(Usage)
    models: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    answered: set[str] = set()
    times: list[float] = []
    for _, db in opened_files(folder):
        for phase, *numbers in db.execute(f"SELECT phase, {_USAGE} FROM calls GROUP BY phase"):
            usages[phase] += _usage(numbers)
        query = "SELECT key, phase, latency_s, model, finish_reason, unix_s FROM calls"
        for key, phase, latency_s, model, reason, unix_s in db.execute(query):
            answered.add(key)
            latencies_s[phase].append(latency_s)
            models[model] += 1
            reasons[reason] += 1
            times.append(unix_s)
    attempts = _Attempts(folder)
    paid = spent(folder)
    return JournalSummary(
        n_calls=len(answered),
        n_writers=len(files_of(folder)),
        by_phase={name: _phase(usages[name], latencies_s[name]) for name in sorted(usages)},
        total=_phase(paid.usage, [s for values in latencies_s.values() for s in values]),
        n_attempts=attempts.n,
        possibly_paid_twice=attempts.repeated(),
        n_unknown=attempts.left_open(answered),
        dead=dead_letters(folder),
        models=dict(models),
        finish_reasons=dict(reasons),
        spent=paid,
        cost_usd=None if prices is None else prices.cost_usd(paid.usage),
        most_usd=None if prices is None else paid.amount(prices).cost_usd,
        first_unix_s=min(times, default=None),
        last_unix_s=max(times, default=None),
    )


class _Attempts:
    """All attempts of a run: the last of each call, and those of unknown outcome."""

    def __init__(self, folder: Path) -> None:
        self.n = 0
        self._last: dict[str, tuple[float, str, int]] = {}
        self._open: list[tuple[str, tuple[float, str, int]]] = []
        for file, db in opened_files(folder):
            for key, unix_s, number, is_open in db.execute(
                f"SELECT key, unix_s, id, {_IS_OPEN} FROM sent"
            ):
                self.n += 1
                # Two attempts may bear one time; the writer's own count tells them apart.
                moment = unix_s, file.name, number
                self._last[key] = max(moment, self._last.get(key, moment))
                if is_open:
                    self._open.append((key, moment))

    def repeated(self) -> int:
        return sum(moment < self._last[key] for key, moment in self._open)

    def left_open(self, answered: set[str]) -> int:
        return len({key for key, _ in self._open} - answered)


def _usage(numbers: Sequence[float]) -> Usage:
    """Return a usage of sums, which SQLite's total() gives as floats."""
    return Usage(*(int(number) for number in numbers))


def _phase(usage: Usage, latencies_s: list[float]) -> PhaseSummary:
    p50_s, p95_s, max_s = np.percentile(latencies_s or [0.0], [50, 95, 100])
    return PhaseSummary(len(latencies_s), usage, float(p50_s), float(p95_s), float(max_s))
