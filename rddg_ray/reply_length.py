"""The cap on a reply's tokens, learned from the replies a chain was told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rddg_ray.exchange import Completion

# Fewer replies say too little of how far they scatter.
_ENOUGH_REPLIES = 5
# Room above the longest reply: as much again, or this many times what it lies above the mean of
# all. The longest of five lies 1.2 standard deviations above their mean, so the room is over
# nine of them; hidden reasoning scatters widely and so gets more room than rows do.
_ROOM_IN_SPREADS = 8.0
_LEAST_CAP = 256
_MOST_RAISES = 3
_CUT_BY_CAP = frozenset({"length", "max_tokens", "max_output_tokens"})


@dataclass(frozen=True, slots=True)
class Told:
    """One reply to a generation prompt.

    Attributes:
        n_requested: Rows asked for.
        n_found: Rows in the reply, refused ones counted.
        completion: The reply.
    """

    n_requested: int
    n_found: int
    completion: Completion

    @property
    def is_cut(self) -> bool:
        """Return whether the endpoint says that the reply ran into a cap."""
        return self.completion.finish_reason in _CUT_BY_CAP

    @property
    def is_usual(self) -> bool:
        """Return whether its length says how long replies are.

        One without counted tokens tells nothing, nor does one that was cut, broke off or has
        less than half of the rows: the next may be longer by far.
        """
        has_count = self.completion.usage.completion_tokens > 0
        is_whole = self.completion.finish_reason == "stop"
        return has_count and is_whole and 2 * self.n_found >= self.n_requested


@dataclass(frozen=True, slots=True)
class ReplyLengths:
    """How long a chain's generation replies were, in tokens as the endpoint counted them.

    Counts of reasoning models include their hidden reasoning, and so do the caps.

    Attributes:
        n_replies: Replies learned from.
        n_tokens: Tokens of all of them.
        longest: Tokens of the longest.
        most_rows: Most rows that one of them was asked for.
        n_raises: Rounds in which a learned cap cut a reply.
    """

    n_replies: int = 0
    n_tokens: int = 0
    longest: int = 0
    most_rows: int = 0
    n_raises: int = 0

    def cap(self, n_rows: int) -> int | None:
        """Return the cap of a reply with so many rows, or None before five replies were seen.

        It is at least twice the longest reply, more where replies differ much, in proportion
        where more rows are asked for than ever before, and doubled for each round in which a
        cap cut a reply, three times at most: what goes on for longer goes round in circles.
        """
        if self.n_replies < _ENOUGH_REPLIES:
            return None
        spread = self.longest - self.n_tokens / self.n_replies
        roomy = self.longest + max(self.longest, _ROOM_IN_SPREADS * spread)
        more_rows = max(1.0, n_rows / self.most_rows)
        return max(_LEAST_CAP, math.ceil(roomy * more_rows * (1 << self.n_raises)))

    def after(self, round_: Sequence[Told]) -> ReplyLengths:
        """Return the lengths with those of another round."""
        was_capped = self.n_replies >= _ENOUGH_REPLIES
        cut = was_capped and any(told.is_cut for told in round_)
        seen = [told for told in round_ if told.is_usual]
        tokens = [told.completion.usage.completion_tokens for told in seen]
        return replace(
            self,
            n_replies=self.n_replies + len(seen),
            n_tokens=self.n_tokens + sum(tokens),
            longest=max([self.longest, *tokens]),
            most_rows=max([self.most_rows, *(told.n_requested for told in seen)]),
            n_raises=min(self.n_raises + cut, _MOST_RAISES),
        )
