"""The rules a chain's rows should follow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """What the model derived from the relations it saw.

    Attributes:
        text: The rules in the model's own words, shown verbatim to the generator; empty for none.
        checkable: Rules that a row can be checked against, in canonical form. Nothing reads
            rules in words into such a form, so this is empty and no row is refused by a rule.
    """

    text: str = ""
    checkable: tuple[str, ...] = ()
