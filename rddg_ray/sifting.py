"""Which rows of a round are taken, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from rddg_ray.chain_state import Accepted, Rejected
from rddg_ray.novelty import Row, RowKey, row_key
from rddg_ray.parsing import ParsedReply, ParsedRow, Reject
from rddg_ray.schema import Column


@dataclass
class Sieve:
    """Sifts the replies of one round, in order.

    Attributes:
        columns: Target and features, in the rows' order.
        needs: Rows of each class that lacked before the round.
        real_keys: Keys of real rows that must not come back; empty where copies are allowed.
        known: Keys of the rows accepted in earlier rounds.
        allow_repeats: Whether a row may equal an earlier synthetic one.
        seen: Keys of the rows taken in this round.
        fresh: Valid rows that are neither copies nor repeats, surplus ones too: what the
            generator can do, for quality.
        accepted: Rows taken, one entry a reply that had any.
        rejected: Rows refused, likewise.
    """

    columns: Sequence[Column]
    needs: Mapping[str, int]
    real_keys: Set[RowKey]
    known: Set[RowKey]
    allow_repeats: bool
    seen: set[RowKey] = field(default_factory=set)
    fresh: list[Row] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._room = dict(self.needs)

    @property
    def taken(self) -> dict[str, int]:
        """Return the rows taken so far by class."""
        return {label: need - self._room[label] for label, need in self.needs.items()}

    @property
    def reasons(self) -> dict[str, int]:
        """Return the rows refused so far by reason."""
        counts: Counter[str] = Counter()
        for batch in self.rejected:
            counts.update(reject.reason for reject in batch.rejects)
        return dict(counts)

    def sift(self, reply: ParsedReply, round_: int, index: int) -> None:
        """Take or refuse the rows of prompt `index` of a round."""
        taken: list[ParsedRow] = []
        rejects = list(reply.rejects)
        for row in reply.rows:
            reject = self._judge(row)
            if reject is None:
                taken.append(row)
            else:
                rejects.append(reject)
        if taken:
            positions = tuple([row.position for row in taken])
            values = tuple([row.values for row in taken])
            self.accepted.append(Accepted(round_, index, positions, values))
        if rejects:
            rejects.sort(key=lambda reject: reject.position)
            self.rejected.append(Rejected(round_, index, tuple(rejects)))

    def _judge(self, row: ParsedRow) -> Reject | None:
        """Return why a row is refused; otherwise count it as taken."""
        label = str(row.values[0])
        if self.needs.get(label, 0) == 0:
            detail = f"no rows of class {label!r} are lacking"
            return Reject("not_requested", row.text, detail, row.position)
        key = row_key(self.columns, row.values)
        if key in self.real_keys:
            return Reject("copy", row.text, "equals a real training row", row.position)
        if not self.allow_repeats and (key in self.known or key in self.seen):
            return Reject("repeat", row.text, "equals an earlier synthetic row", row.position)
        self.fresh.append(row.values)
        if self._room[label] == 0:
            detail = f"all rows of class {label!r} that lacked are there"
            return Reject("surplus", row.text, detail, row.position)
        self._room[label] -= 1
        self.seen.add(key)
        return None
