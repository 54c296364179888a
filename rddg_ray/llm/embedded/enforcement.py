"""Limits on requests and tokens a minute, enforced as servers do."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from rddg_ray.config import EmbeddedSettings

WINDOW_S = 60.0


class Meter(Protocol):
    """What is used of one limit. Times are seconds on any clock that never goes back."""

    limit: float

    def wait_s(self, now_s: float, amount: float) -> float:
        """Return the seconds until the amount fits; 0 where it fits now."""
        ...

    def charge(self, now_s: float, amount: float) -> None:
        """Count the amount, whether it fits or not."""
        ...

    def used(self, now_s: float) -> float:
        """Return what is not back yet."""
        ...

    def reset_s(self, now_s: float) -> float:
        """Return the seconds until all of it is back, if nothing more is used."""
        ...


class Bucket:
    """A bucket that fills evenly and holds no more than its capacity.

    An amount over the capacity fits into a full bucket, or it could never pass.

    Args:
        limit: Amount that flows in in a minute.
        capacity: Amount the bucket holds; it is full at first.
    """

    def __init__(self, limit: float, capacity: float) -> None:
        self.limit = limit
        self._capacity = capacity
        self._missing = 0.0
        self._at_s = -math.inf

    def wait_s(self, now_s: float, amount: float) -> float:
        """Return the seconds until the amount fits; 0 where it fits now."""
        over = self.used(now_s) + min(amount, self._capacity) - self._capacity
        return max(0.0, over * WINDOW_S / self.limit)

    def charge(self, now_s: float, amount: float) -> None:
        """Take the amount out; the level may go below 0."""
        self._missing = self.used(now_s) + amount
        self._at_s = now_s

    def used(self, now_s: float) -> float:
        """Return what is missing from a full bucket."""
        return max(0.0, self._missing - (now_s - self._at_s) * self.limit / WINDOW_S)

    def reset_s(self, now_s: float) -> float:
        """Return the seconds until the bucket is full."""
        return self.used(now_s) * WINDOW_S / self.limit


class SlidingWindow:
    """A log of the last 60 s."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._log: deque[tuple[float, float]] = deque()
        self._sum = 0.0

    def wait_s(self, now_s: float, amount: float) -> float:
        """Return the seconds until enough of the log is older than the window."""
        over = self.used(now_s) + min(amount, self.limit) - self.limit
        if over <= 0:
            return 0.0
        for at_s, past in self._log:
            over -= past
            if over <= 0:
                return at_s + WINDOW_S - now_s
        return WINDOW_S

    def charge(self, now_s: float, amount: float) -> None:
        """Write the amount into the log."""
        self._log.append((now_s, amount))
        self._sum += amount

    def used(self, now_s: float) -> float:
        """Return the sum over the last 60 s."""
        while self._log and self._log[0][0] <= now_s - WINDOW_S:
            self._sum -= self._log.popleft()[1]
        return self._sum

    def reset_s(self, now_s: float) -> float:
        """Return the seconds until the last entry is older than the window."""
        return self._log[-1][0] + WINDOW_S - now_s if self.used(now_s) else 0.0


class FixedWindow:
    """A count that starts anew every 60 s, counted from the first use."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._sum = 0.0
        self._start_s: float | None = None

    def wait_s(self, now_s: float, amount: float) -> float:
        """Return the seconds until the next window, where the amount needs it."""
        fits = self.used(now_s) + min(amount, self.limit) <= self.limit
        return 0.0 if fits else self.reset_s(now_s)

    def charge(self, now_s: float, amount: float) -> None:
        """Count the amount in the window of now."""
        self._sum = self.used(now_s) + amount

    def used(self, now_s: float) -> float:
        """Return the sum of the window of now."""
        if self._start_s is None:
            self._start_s = now_s
        n_over = math.floor((now_s - self._start_s) / WINDOW_S)
        if n_over > 0:
            self._start_s += n_over * WINDOW_S
            self._sum = 0.0
        return self._sum

    def reset_s(self, now_s: float) -> float:
        """Return the seconds until the next window."""
        self.used(now_s)
        return 0.0 if self._start_s is None else self._start_s + WINDOW_S - now_s


def meter(policy: str, limit: int) -> Meter:
    """Return the meter of a policy of `EmbeddedSettings`."""
    if policy == "sliding_window":
        return SlidingWindow(limit)
    if policy == "fixed_window":
        return FixedWindow(limit)
    second = max(1.0, limit / WINDOW_S)  # a slow limit must let one request through
    return Bucket(limit, second if policy == "second_bucket" else float(limit))


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a request passes.

    Attributes:
        retry_after_s: Seconds until it would have passed, or None for a request that passes.
        charged_tokens: Tokens counted on arrival.
    """

    retry_after_s: float | None
    charged_tokens: int = 0


class Enforcer:
    """The limits of one server, in both dimensions. A refused request uses nothing up.

    Args:
        settings: Limits, policy, accounting.
    """

    def __init__(self, settings: EmbeddedSettings) -> None:
        self._reserves = settings.token_accounting == "reserve"
        self._requests = _meter_or_none(settings.policy, settings.requests_per_minute)
        self._tokens = _meter_or_none(settings.policy, settings.tokens_per_minute)
        self.n_accepted = 0
        self.n_refused = 0
        self.n_tokens = 0

    def admit(self, now_s: float, prompt_tokens: int, max_tokens: int | None) -> Admission:
        """Count a request that fits, refuse one that does not.

        Args:
            now_s: Seconds on a clock that never goes back.
            prompt_tokens: Tokens of its messages.
            max_tokens: Cap on its reply, or None.
        """
        tokens = prompt_tokens + (max_tokens or 0 if self._reserves else 0)
        used = ((self._requests, 1), (self._tokens, tokens))
        waits = [meter.wait_s(now_s, amount) for meter, amount in used if meter is not None]
        wait_s = max(waits, default=0.0)
        if wait_s > 0:
            self.n_refused += 1
            return Admission(wait_s)
        for meter, amount in used:
            if meter is not None:
                meter.charge(now_s, amount)
        self.n_accepted += 1
        self.n_tokens += tokens
        return Admission(None, tokens)

    def settle(self, now_s: float, prompt_tokens: int, completion_tokens: int, charged: int) -> int:
        """Count a reply's tokens where they were not reserved; return all that was counted."""
        if self._reserves and charged > prompt_tokens:
            return charged
        if self._tokens is not None:
            self._tokens.charge(now_s, completion_tokens)
        self.n_tokens += completion_tokens
        return charged + completion_tokens

    def headers(self, now_s: float) -> dict[str, str]:
        """Return the `x-ratelimit-*` headers of a response."""
        headers: dict[str, str] = {}
        for kind, meter in (("requests", self._requests), ("tokens", self._tokens)):
            if meter is not None:
                left = math.floor(meter.limit - meter.used(now_s))
                headers[f"x-ratelimit-limit-{kind}"] = f"{meter.limit:.0f}"
                headers[f"x-ratelimit-remaining-{kind}"] = str(max(0, left))
                headers[f"x-ratelimit-reset-{kind}"] = _duration(meter.reset_s(now_s))
        return headers


def _meter_or_none(policy: str, limit: int | None) -> Meter | None:
    return None if limit is None else meter(policy, limit)


def _duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: 20ms, 1.5s, 6m0s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".")
    return f"{minutes:.0f}m{text}s" if minutes else f"{text}s"
