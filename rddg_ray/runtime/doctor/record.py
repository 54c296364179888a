"""What a check found, and what all checks come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rddg_ray.errors import RddgError

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: What was looked at.
        status: `ok`; `warning`, which stops no run; `failed`, which would.
        figure: What was found, with its number.
        advice: What to do about it; empty where there is nothing to do.
        error: What a run would end with; None unless failed.
        data: The figures for programs, plain values.
    """

    name: str
    status: Status
    figure: str
    advice: str = ""
    error: RddgError | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.name,
            "status": self.status,
            "figure": self.figure,
            "advice": self.advice,
            "data": dict(self.data),
        }


def ok(name: str, figure: str, **data: Any) -> Check:
    """Return a check that found nothing amiss."""
    return Check(name, "ok", figure, data=data)


def warning(name: str, figure: str, advice: str, **data: Any) -> Check:
    """Return a check that found something to know before a run."""
    return Check(name, "warning", figure, advice, data=data)


def failed(name: str, error: RddgError, advice: str = "", **data: Any) -> Check:
    """Return a check that found what would stop a run, in the words of its error."""
    return Check(name, "failed", str(error).strip(), advice, error, data)


@dataclass(frozen=True)
class Diagnosis:
    """All checks, in the order in which they are read best."""

    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[RddgError, ...]:
        """Return what a run would end with, one for each failed check."""
        return tuple(check.error for check in self.checks if check.error is not None)

    def count(self, status: Status) -> int:
        """Return how many checks have a status."""
        return sum(check.status == status for check in self.checks)
