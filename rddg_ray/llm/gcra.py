"""Pacing in one number a limit: the generic cell rate algorithm. No clock inside."""

from __future__ import annotations

import math
from collections.abc import Sequence


class Lane:
    """One limit, kept as a theoretical arrival time (TAT).

    A taking of amount a at time t is in order if t >= TAT - tolerance; it moves the TAT to
    max(TAT, t) + a / rate. So what is taken within any w seconds is at most rate (w + tolerance)
    and one taking more, whatever the takings are.

    Args:
        rate: Amount a second, or None for no limit.
        tolerance_s: Seconds that takings may catch up after a pause.

    References:
        ITU-T Recommendation I.371 (2004), Annex A.
    """

    __slots__ = ("rate", "tat_s", "tolerance_s")

    def __init__(self, rate: float | None, tolerance_s: float) -> None:
        if rate is not None and rate <= 0:
            raise ValueError(f"rate must be above 0, found {rate}")
        if tolerance_s < 0:
            raise ValueError(f"tolerance_s must be at least 0, found {tolerance_s}")
        self.rate = rate
        self.tolerance_s = tolerance_s
        self.tat_s = -math.inf

    def earliest_s(self) -> float:
        """Return the first moment at which a taking is in order."""
        return self.tat_s - self.tolerance_s

    def take(self, at_s: float, amount: float) -> None:
        """Take an amount at a moment, now or later."""
        if self.rate is not None:
            self.tat_s = max(self.tat_s, at_s) + amount / self.rate

    def give_back(self, amount: float) -> None:
        """Undo that much of earlier takings; a negative amount takes more."""
        if self.rate is not None:
            self.tat_s -= amount / self.rate

    def set_rate(self, now_s: float, rate: float | None) -> None:
        """Change the rate; what is taken ahead of now keeps its amount."""
        if rate is not None and self.rate is not None and self.tat_s > now_s:
            self.tat_s = now_s + (self.tat_s - now_s) * self.rate / rate
        self.rate = rate

    def shift(self, now_s: float, seconds: float) -> None:
        """Let nothing more be taken for some seconds, and keep the order of what comes after.

        The tolerance is used up by it: a server that has just refused gets no burst.
        """
        self.tat_s = max(self.tat_s, now_s + self.tolerance_s) + seconds

    def withhold_burst(self, now_s: float) -> None:
        """Use the tolerance up, so that the next takings come one by one."""
        self.tat_s = max(self.tat_s, now_s + self.tolerance_s)


class Schedule:
    """Requests and tokens together: a call flies when both lanes let it.

    Args:
        tolerance_s: Seconds that calls may catch up after a pause.
    """

    __slots__ = ("requests", "tokens")

    def __init__(self, tolerance_s: float) -> None:
        self.requests = Lane(None, tolerance_s)
        self.tokens = Lane(None, tolerance_s)

    def reserve(
        self, now_s: float, estimates: Sequence[float], horizon_s: float = math.inf
    ) -> list[float]:
        """Take one request and its tokens for each estimate, in order.

        Args:
            now_s: The moment of asking.
            estimates: Tokens of each call.
            horizon_s: Seconds ahead within which turns are given.

        Returns:
            Seconds from now at which each may be sent, none smaller than the one before; fewer
            than estimates where the rest would lie beyond the horizon.
        """
        requests, tokens = self.requests, self.tokens
        delays = []
        for estimate in estimates:
            at_s = max(now_s, requests.earliest_s(), tokens.earliest_s())
            if at_s - now_s > horizon_s:
                break
            requests.take(at_s, 1.0)
            tokens.take(at_s, estimate)
            delays.append(at_s - now_s)
        return delays

    def give_back(self, estimate: float) -> None:
        """Undo the reservation of a call that never flew."""
        self.requests.give_back(1.0)
        self.tokens.give_back(estimate)

    def shift(self, now_s: float, seconds: float) -> None:
        """Let nothing fly for some seconds; see `Lane.shift`."""
        self.requests.shift(now_s, seconds)
        self.tokens.shift(now_s, seconds)
