"""How many rows to ask for: the posterior of the share that is accepted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# A Beta(4, 1) prior, worth five rows of which four were taken: most rows of a usable endpoint are.
_PRIOR_ACCEPTED, _PRIOR_REFUSED = 4.0, 1.0
# A class that is mostly refused is asked for at most twice over: what it lacks then is a matter
# for rules and feedback, not for tokens.
_LEAST_RATE = 0.5


@dataclass(frozen=True, slots=True)
class AcceptanceRate:
    """The Beta posterior of one class's acceptance rate.

    Attributes:
        accepted: Rows accepted so far.
        refused: Rows refused so far, those that merely came too many left out.
    """

    accepted: int = 0
    refused: int = 0

    @property
    def mean(self) -> float:
        """Return the posterior mean, in (0, 1)."""
        total = self.accepted + self.refused + _PRIOR_ACCEPTED + _PRIOR_REFUSED
        return (self.accepted + _PRIOR_ACCEPTED) / total

    def interval(self, probability: float = 0.9) -> tuple[float, float]:
        """Return the central credible interval."""
        from scipy.stats import beta

        low, high = beta.interval(
            probability, self.accepted + _PRIOR_ACCEPTED, self.refused + _PRIOR_REFUSED
        )
        return float(low), float(high)

    def request(self, need: int, *, confidence: float = 0.5, most: int | None = None) -> int:
        """Return how many rows to ask for so that the need is likely met.

        Args:
            need: Rows still lacking.
            confidence: Probability that at least these come back; 0.5 wastes the fewest tokens
                where another round can follow.
            most: Rows of one request at most.

        Returns:
            The fewest rows that meet the need with this probability under the posterior
            predictive law (beta-binomial), at least `need`, at most twice that and `most`; 0
            without need.
        """
        if need <= 0:
            return 0
        from scipy.stats import betabinom

        sizes = np.arange(need, math.ceil(need / _LEAST_RATE) + 1)
        shortfall = betabinom.cdf(
            need - 1, sizes, self.accepted + _PRIOR_ACCEPTED, self.refused + _PRIOR_REFUSED
        )
        enough = np.flatnonzero(1 - shortfall >= confidence)
        wanted = int(sizes[enough[0]] if len(enough) else sizes[-1])
        return wanted if most is None else min(wanted, most)
