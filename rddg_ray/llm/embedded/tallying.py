"""What a server has seen, for tests and benchmarks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

CALL_HEADER = "x-rddg-call"


@dataclass
class Tally:
    """Counts since the server was made.

    Attributes:
        n_requests: Chat requests that arrived.
        statuses: Chat requests by the HTTP status of their answer.
        arrivals: Chat requests by the value of their header `x-rddg-call`.
        answers: The same for those that were let through and got a reply, which is what another
            server would charge for; counted before the reply is sent.
    """

    n_requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    arrivals: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)

    def arrive(self, call: str | None) -> int:
        """Count a request; return its number, from 0."""
        if call is not None:
            self.arrivals[call] += 1
        self.n_requests += 1
        return self.n_requests - 1

    def answer(self, call: str | None) -> None:
        """Count a reply."""
        if call is not None:
            self.answers[call] += 1

    def as_json(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return {
            "n_requests": self.n_requests,
            "statuses": {str(status): n for status, n in self.statuses.items()},
            "calls": dict(self.arrivals),
            "answers": dict(self.answers),
        }
