"""What each generative method is made of: one chain, and which of its parts are on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class MethodParts:
    """The parts of the chain that a method has.

    A user's own rules are held to by every method, and copies are refused by every method.

    Attributes:
        stream: Which stream of random numbers its chains draw from. A number of its own that
            never changes, so that a run begun earlier goes on as it began.
        coreset: Which rows are shown for relations: the `difficult` ones, a `random` draw, or
            none because there is no such phase.
        rules: What becomes of the model's rules: shown in `words`, as in the paper; `checked`
            on the real rows and then enforced, too; or not asked for.
        feedback: What the next prompt says of the rows before: nothing, `algorithm1` of the
            paper, or `calibrated` controls.
        is_judged: Whether rows whose class is not believable are refused.
        has_rates: Whether a class's posterior acceptance rate decides how many rows are asked
            for.
    """

    stream: int
    coreset: Literal["none", "difficult", "random"] = "difficult"
    rules: Literal["none", "words", "checked"] = "words"
    feedback: Literal["none", "algorithm1", "calibrated"] = "algorithm1"
    is_judged: bool = False
    has_rates: bool = False

    @property
    def has_relations(self) -> bool:
        """Return whether relations, and rules from them, are asked for before rows."""
        return self.coreset != "none"


METHOD_PARTS: Mapping[str, MethodParts] = {
    "rddg_calibrated": MethodParts(
        4, rules="checked", feedback="calibrated", is_judged=True, has_rates=True
    ),
    "rddg": MethodParts(0),
    "epic": MethodParts(1, coreset="none", rules="none", feedback="none"),
    "rddg_no_feedback": MethodParts(2, feedback="none"),
    "rddg_random_coreset": MethodParts(3, coreset="random"),
    # Rules are drawn from relations, so that without these there are none of either.
    "rddg_no_relations": MethodParts(5, coreset="none", rules="none"),
}
"""The parts of every method of `config.GENERATIVE_METHODS`."""
