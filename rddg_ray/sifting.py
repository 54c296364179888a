"""Which rows of a round are taken, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from rddg_ray.chain_state import Accepted, Rejected
from rddg_ray.constraints import Enforcer, Judged, Rule, RuleWords
from rddg_ray.novelty import Row, RowKey, row_key
from rddg_ray.parsing import ParsedReply, ParsedRow, Reason, Reject
from rddg_ray.plausibility import Plausibility
from rddg_ray.schema import Column
from rddg_ray.table_models import Copied, TableModels


@dataclass(slots=True)
class _Candidate:
    """A row of a class that lacks rows, with all that is judged of it.

    Attributes:
        row: The row; repaired, if it was.
        key: Its key.
        copied: What the row is a copy of as it came.
        judged: What the rules say of it.
        came_as: Its key as it came.
        mended_into: What the repaired row is a copy of.
        probability: Of its class, if that is not believable.
    """

    row: ParsedRow
    key: RowKey
    came_as: RowKey
    copied: Copied | None
    judged: Judged
    mended_into: Copied | None = None
    probability: float | None = None


@dataclass
class Sieve:
    """Sifts the replies of one round, in order.

    A row is refused for the first of: its class is not asked for; it is a copy, a near copy, a
    repeat; it breaks a rule; its class is not believable; nothing lacks any more. Copies come
    before rules because they say more of the endpoint: a copy of a real row breaks no rule.

    Attributes:
        columns: Target and features, in the rows' order.
        needs: Rows of each class that lacked before the round.
        models: Knows the real rows that must not come back; None where copies are allowed.
        known: Keys of the rows accepted in earlier rounds.
        allow_repeats: Whether a row may equal an earlier synthetic one.
        enforcer: What holds rows to the verified rules; None where there are none.
        plausibility: What judges a row's class; None where nothing does.
        seen: Keys of the rows taken in this round.
        fresh: Rows that are refused for nothing but being too many, and those that are taken:
            what the output would consist of, for quality and calibration.
        accepted: Rows taken, one entry a reply that had any.
        rejected: Rows refused, likewise.
        broken: Rows that broke each rule, by its name, those that were repaired too.
        n_held: Rows that were held to the rules.
        implausible: Rows refused as not believable, by class.
        n_judged: Rows whose class was judged, by class.
        surplus: Rows refused as too many, by class.
        n_prompt_copies: Copies and near copies of rows that the prompt itself showed.
    """

    columns: Sequence[Column]
    needs: Mapping[str, int]
    models: TableModels | None
    known: Set[RowKey]
    allow_repeats: bool
    enforcer: Enforcer | None = None
    plausibility: Plausibility | None = None
    seen: set[RowKey] = field(default_factory=set)
    fresh: list[Row] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    n_held: int = 0
    implausible: Counter[str] = field(default_factory=Counter)
    n_judged: Counter[str] = field(default_factory=Counter)
    surplus: Counter[str] = field(default_factory=Counter)
    n_prompt_copies: int = 0

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

    def sift(
        self, replies: Sequence[ParsedReply], round_: int, shown: Sequence[Set[RowKey]] = ()
    ) -> None:
        """Take or refuse the rows of a round's replies.

        Args:
            replies: One a prompt, in order.
            round_: Round of the chain.
            shown: Keys of the real rows that each prompt showed; by default none.
        """
        # All at once: a model that judges ten batches of 30 rows takes ten times as long.
        rows = [row for reply in replies for row in reply.rows if self._is_lacking(row)]
        judged = iter(self._candidates(rows))
        for index, reply in enumerate(replies):
            in_prompt = shown[index] if shown else frozenset()
            found = [
                self._judge(next(judged), in_prompt) if self._is_lacking(row) else _unasked(row)
                for row in reply.rows
            ]
            self._keep(reply, found, round_, index)

    def _keep(
        self, reply: ParsedReply, found: Sequence[ParsedRow | Reject], round_: int, index: int
    ) -> None:
        taken = [item for item in found if isinstance(item, ParsedRow)]
        rejects = [*reply.rejects, *[item for item in found if isinstance(item, Reject)]]
        if taken:
            positions = tuple([row.position for row in taken])
            values = tuple([row.values for row in taken])
            self.accepted.append(Accepted(round_, index, positions, values))
        if rejects:
            rejects.sort(key=lambda reject: reject.position)
            self.rejected.append(Rejected(round_, index, tuple(rejects)))

    def _is_lacking(self, row: ParsedRow) -> bool:
        return self.needs.get(str(row.values[0]), 0) > 0

    def _candidates(self, rows: Sequence[ParsedRow]) -> list[_Candidate]:
        """Return all that can be said of rows by themselves."""
        values = [row.values for row in rows]
        keys = [row_key(self.columns, row) for row in values]
        copied = self._copied(values, keys)
        held = [Judged(v) for v in values] if self.enforcer is None else self.enforcer.judge(values)
        found = [
            _Candidate(*parts)
            for parts in zip(rows, keys, keys, copied, held, strict=True)
        ]  # fmt: skip
        self._mend([one for one in found if one.judged.broken and not one.judged.refused_by])
        self._ask([one for one in found if not (one.copied or one.judged.refused_by)])
        return found

    def _copied(self, rows: Sequence[Row], keys: Sequence[RowKey]) -> list[Copied | None]:
        return [None] * len(rows) if self.models is None else self.models.copied(rows, keys)

    def _mend(self, candidates: Sequence[_Candidate]) -> None:
        """Put the repaired rows in place; a repair can make a row equal to another."""
        for one in candidates:
            one.row = replace(one.row, values=one.judged.row)
            one.key = row_key(self.columns, one.row.values)
        values = [one.row.values for one in candidates]
        copied = self._copied(values, [one.key for one in candidates])
        for one, copy in zip(candidates, copied, strict=True):
            one.mended_into = copy

    def _ask(self, candidates: Sequence[_Candidate]) -> None:
        """Ask the models whether the rows' classes are believable."""
        if self.plausibility is None or not candidates:
            return
        found = self.plausibility.refused([one.row.values for one in candidates])
        for one, probability in zip(candidates, found, strict=True):
            one.probability = probability

    def _judge(self, one: _Candidate, in_prompt: Set[RowKey]) -> ParsedRow | Reject:
        """Return why a row is refused; otherwise the row, repaired, which counts as taken."""
        if (reject := self._not_new(one.row, one.came_as, one.copied, in_prompt)) is not None:
            return reject
        self.n_held += 1
        self.broken.update(rule.name for rule in one.judged.broken)
        if one.judged.refused_by is not None:
            return _reject(one.row, "rule", self._breach(one.judged.refused_by, one.judged.row))
        if (reject := self._not_new(one.row, one.key, one.mended_into, in_prompt)) is not None:
            return reject
        return self._unlikely(one) or self._taken(one)

    def _unlikely(self, one: _Candidate) -> Reject | None:
        """Return the reject of a row whose class is not believable."""
        if self.plausibility is None:
            return None
        label = str(one.row.values[0])
        judge = self.plausibility.judges[label]
        self.n_judged[label] += judge.is_on
        if one.probability is None:
            return None
        self.implausible[label] += 1
        detail = (
            f"to models of the real rows class {label!r} has P = {one.probability:.2f} here, "
            f"below {judge.threshold:.2f}"
        )
        return _reject(one.row, "implausible", detail)

    def _taken(self, one: _Candidate) -> ParsedRow | Reject:
        label = str(one.row.values[0])
        self.fresh.append(one.row.values)
        if self._room[label] == 0:
            self.surplus[label] += 1
            detail = f"all rows of class {label!r} that lacked are there"
            return _reject(one.row, "surplus", detail)
        self._room[label] -= 1
        self.seen.add(one.key)
        return one.row

    def _not_new(
        self, row: ParsedRow, key: RowKey, copied: Copied | None, in_prompt: Set[RowKey]
    ) -> Reject | None:
        """Return the reject of a copy, a near copy or a repeat."""
        if copied is not None:
            is_shown = copied.key in in_prompt
            self.n_prompt_copies += is_shown
            return _copy(row, copied, is_shown=is_shown)
        if not self.allow_repeats and (key in self.known or key in self.seen):
            return _reject(row, "repeat", "equals an earlier synthetic row")
        return None

    def _breach(self, rule: Rule, row: Row) -> str:
        """Return which rule a row breaks, in words that name the columns and the values."""
        names = [column.name for column in self.columns]
        return RuleWords(self.columns).broken(rule, dict(zip(names, row, strict=True)))


def _reject(row: ParsedRow, reason: Reason, detail: str) -> Reject:
    return Reject(reason, row.text, detail, row.position)


def _unasked(row: ParsedRow) -> Reject:
    return _reject(row, "not_requested", f"no rows of class {str(row.values[0])!r} are lacking")


def _copy(row: ParsedRow, copied: Copied, *, is_shown: bool) -> Reject:
    where = "that the prompt showed" if is_shown else "that the prompt did not show"
    if copied.is_exact:
        return _reject(row, "copy", f"equals a real training row {where}")
    return _reject(row, "near_copy", f"nearly equals a real training row {where}")
