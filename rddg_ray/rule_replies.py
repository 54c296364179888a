"""From the answer to prompt 2 to the rules of a chain, and what the generator is shown of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rddg_ray.cell_text import CellError, CellReader
from rddg_ray.codes import Codes, class_letter
from rddg_ray.constraints import (
    Cells,
    GrammarReader,
    Rule,
    RuleError,
    Rules,
    RuleWords,
    Unreadable,
    Verdict,
    split_reply,
    verify,
)
from rddg_ray.constraints.cells import Value
from rddg_ray.constraints.replies import as_text
from rddg_ray.errors import DataError
from rddg_ray.reply_lines import prose
from rddg_ray.schema import Column
from rddg_ray.table import Table

# Lists in a prompt name no more than these: verified rules, and rules that were found wrong.
_MAX_SHOWN = 60
_MAX_WRONG = 10
# Strong models write some 5,000 characters; what goes on for a megabyte is not read to its end.
_MAX_READ_CHARACTERS = 100_000
_MAX_QUOTED_CHARACTERS = 20_000
_KEPT = "These rules were checked on the real rows; a row that breaks one of them is refused:"
_WRONG = "Real rows break these, so do not take them for rules:"


class RulesReader:
    """Reads what a model says of the rules of one table, and checks it on the table's rows.

    NOTE[DIFF]: the paper and the authors' scripts show the generator the rules in words and check
    nothing; we check them on the real rows, say which of them do not hold, and refuse rows that
    break those that do, because a model reads rules from a few rows and then breaks its own.
    """

    def __init__(
        self, table: Table, codes: Codes, user: Sequence[Verdict] = (), *, is_checked: bool = True
    ) -> None:
        """Prepare a table.

        Args:
            table: The training rows, on which every rule is checked.
            codes: What stands for category values in replies.
            user: A user's verified rules (`constraints.user_rules`), which come first.
            is_checked: Whether the model's rules are read and checked; otherwise they are words.
        """
        self._is_checked = is_checked
        columns = table.prompt_columns
        readers = {column.name: CellReader(column, codes) for column in columns}

        def read_value(column: Column, text: str) -> Value:
            try:
                return readers[column.name].read(text)
            except CellError as error:
                raise DataError(str(error)) from error

        letters = {class_letter(place): label for place, label in enumerate(table.classes)}
        self._grammar = GrammarReader(columns, table.frame, read_value=read_value, letters=letters)
        self._cells = Cells.of_frame(columns, table.frame)
        self._words = RuleWords(columns, codes.encode)
        self._user = tuple(user)
        self._target = table.target

    def start(self) -> Rules:
        """Return the rules before the model is asked: the user's."""
        return Rules(verdicts=self._user, shown=self._shown("", self._user))

    def read(self, text: str) -> Rules:
        """Return the rules of an answer, with the user's, and what came of each.

        Nothing in an answer is an error: a rule that cannot be used is listed with its reason.
        """
        if not self._is_checked:
            words = prose(text)[:_MAX_QUOTED_CHARACTERS]
            return Rules(words, self._user, (), self._shown(words, self._user))
        reply = split_reply(prose(text[:_MAX_READ_CHARACTERS]))
        words = reply.prose[:_MAX_QUOTED_CHARACTERS]
        rules: list[Rule] = []
        unreadable = [Unreadable("", reason) for reason in reply.errors]
        taken = {verdict.rule.name for verdict in self._user}
        for number, item in enumerate(reply.items, start=1):
            try:
                rule = self._grammar.read(item, f"model rule {number}")
            except RuleError as error:
                unreadable.append(Unreadable(as_text(item), str(error)))
                continue
            rules.append(_renamed(rule, number, taken))
            taken.add(rules[-1].name)
        # Together, so that a rule the user gives is no second one of the model's.
        mine = [verdict.rule for verdict in self._user]
        checked = verify([*mine, *rules], self._cells, self._target)[len(mine) :]
        verdicts = (*self._user, *checked)
        return Rules(words, verdicts, tuple(unreadable), self._shown(words, verdicts))

    def _shown(self, words: str, verdicts: Sequence[Verdict]) -> str:
        """Return the section on rules of prompt 3."""
        kept = [self._words.verified(v) for v in verdicts if v.is_kept]
        wrong = [self._words.dropped(v) for v in verdicts if v.decision == "violated"]
        parts = [words] if words else []
        if kept:
            parts.append("\n".join([_KEPT, *[f"- {line}." for line in kept[:_MAX_SHOWN]]]))
        # Said only where the prose may say the contrary.
        if wrong and words:
            parts.append("\n".join([_WRONG, *[f"- {line}." for line in wrong[:_MAX_WRONG]]]))
        return "\n\n".join(parts)

    def broken_lines(self, broken: Mapping[str, int], n_rows: int, rules: Rules) -> list[str]:
        """Return what the next prompt is told of broken rules, most often broken first.

        Args:
            broken: Rows that broke each rule, by its name.
            n_rows: Rows that were judged.
            rules: The rules in force.
        """
        by_name = {verdict.rule.name: verdict.rule for verdict in rules.kept}
        ordered = sorted(broken.items(), key=lambda pair: (-pair[1], pair[0]))
        return [
            f"- {n_broken} of {n_rows} rows broke the rule: {self._words.rule(by_name[name])}."
            for name, n_broken in ordered[:_MAX_WRONG]
        ]


def _renamed(rule: Rule, number: int, taken: set[str]) -> Rule:
    """Return the rule under a name that no other rule has."""
    name = rule.name
    while name in taken:
        name = f"{name} ({number})"
    return rule if name == rule.name else replace(rule, name=name)
