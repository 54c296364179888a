"""The words of each phase: templates filled with a table's description, rows and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

from rddg_ray.cell_text import csv_line
from rddg_ray.codes import Codes, class_letter
from rddg_ray.exchange import Phase, Prompt
from rddg_ray.reply_schema import reply_keys, reply_schema
from rddg_ray.schema import Column
from rddg_ray.table import Table
from rddg_ray.texts import quoted

if TYPE_CHECKING:
    import jinja2
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MAX_CATEGORIES", "Positions", "PromptWriter", "quoted"]

# Of a column with more categories only the most frequent ones are listed: the list stands in
# every prompt, and the rows shown have the others.
MAX_CATEGORIES = 60

Positions = Mapping[str, "Sequence[int] | NDArray[np.int64]"]


@dataclass(frozen=True, slots=True)
class _ColumnWords:
    name: str
    values: str
    unit: str
    description: str
    has_missing: bool


class PromptWriter:
    """Writes the prompts of one chain.

    What a chain never changes is rendered once and comes first in every prompt, so that an
    endpoint's prompt cache applies. Cells and texts of the model are values of a template and
    never templates themselves.
    """

    def __init__(
        self,
        table: Table,
        codes: Codes,
        *,
        temperature: float | None = None,
        max_completion_tokens: int | None = None,
        reply_format: Literal["csv", "json_schema"] = "csv",
    ) -> None:
        """Prepare a table.

        Args:
            table: The training rows; positions in the methods count these.
            codes: What stands for category values; `Codes()` shows them as they are.
            temperature: Sampling temperature of every prompt, or None for the endpoint's.
            max_completion_tokens: Cap on every reply, or None for the endpoint's.
            reply_format: How new rows are asked for.

        Raises:
            ConfigError: If the table has too many columns for a schema.
        """
        self._table = table
        self._codes = codes
        self._columns = table.prompt_columns
        self._temperature, self._cap = temperature, max_completion_tokens
        self._target = quoted(table.target)
        self._letters = {label: class_letter(place) for place, label in enumerate(table.classes)}
        self._header = csv_line([column.name for column in self._columns])
        self._lines: dict[int, str] = {}
        is_json = reply_format == "json_schema"
        self._schema = reply_schema(self._columns, codes) if is_json else None
        self._keys = _key_words(self._columns) if is_json else ""
        self._system = _template("system").render()
        self._words = self._describe()

    def class_name(self, label: str) -> str:
        """Return how prompts name a class: its letter and, quoted, what stands for it."""
        return f"{self._letters[label]} ({quoted(self._shown(label))})"

    def relations(self, rows: Positions) -> Prompt:
        """Return prompt 1: what relations do these rows show.

        Args:
            rows: Positions of the rows to show, by class.
        """
        return self._prompt("relations", groups=self._groups(rows))

    def constraints(self, relations: str, *, checkable: bool = True) -> Prompt:
        """Return prompt 2: what rules follow from this analysis.

        Args:
            relations: What `relations` was answered; empty leaves the section out.
            checkable: Whether the rules are asked for in the grammar of checkable rules, too.
        """
        return self._prompt("constraints", relations=relations, checkable=checkable)

    def generation(
        self,
        rows: Positions,
        request: Mapping[str, int],
        *,
        rules: str = "",
        feedback: str = "",
        max_completion_tokens: int | None = None,
    ) -> Prompt:
        """Return prompt 3: write new rows.

        Args:
            rows: Positions of the reference batch, by class.
            request: Rows to write, by class.
            rules: What `constraints` was answered; empty leaves the section out.
            feedback: Quality report on the batch before; empty leaves the section out.
            max_completion_tokens: Cap on this reply; None for the one on every reply.
        """
        prompt = self._prompt(
            "generation",
            groups=self._groups(rows),
            rules=rules,
            feedback=feedback,
            task=self._task(request),
            keys=self._keys,
        )
        cap = max_completion_tokens or self._cap
        return replace(prompt, max_completion_tokens=cap, response_schema=self._schema)

    def _prompt(self, phase: Phase, **values: object) -> Prompt:
        user = _template(phase).render(
            table=self._words,
            header=self._header,
            target=self._target,
            n_columns=len(self._columns),
            has_codes=bool(self._codes.by_column),
            has_missing=any(column.has_missing for column in self._columns),
            **values,
        )
        return Prompt(self._system, user, phase, self._temperature, self._cap)

    def _task(self, request: Mapping[str, int]) -> str:
        parts = [
            f"{n_rows} new {'row' if n_rows == 1 else 'rows'} of class {self.class_name(label)}"
            for label, n_rows in request.items()
        ]
        start = ", ".join(parts[:-1])
        return f"Write {start} and {parts[-1]}." if start else f"Write {parts[-1]}."

    def _groups(self, rows: Positions) -> list[dict[str, object]]:
        self._keep_lines([int(at) for positions in rows.values() for at in positions])
        return [
            {"letter": self._letters[label], "lines": [self._lines[int(at)] for at in positions]}
            for label, positions in rows.items()
        ]

    def _keep_lines(self, positions: list[int]) -> None:
        new = [at for at in dict.fromkeys(positions) if at not in self._lines]
        if not new:
            return
        names = [column.name for column in self._columns]
        coded = [name in self._codes.by_column for name in names]
        for at, cells in zip(new, self._table.cells(new), strict=True):
            shown = [self._codes.encode(name, cell) if is_coded else cell
                     for name, cell, is_coded in zip(names, cells, coded, strict=True)]  # fmt: skip
            self._lines[at] = csv_line(shown)

    def _describe(self) -> str:
        classes = [{"letter": letter, "shown": quoted(self._shown(label))}
                   for label, letter in self._letters.items()]  # fmt: skip
        return (
            _template("_table")
            .render(
                name=quoted(self._table.name),
                target=self._target,
                columns=[_words(self._codes.coded(column)) for column in self._columns],
                classes=classes,
                has_codes=bool(self._codes.by_column),
            )
            .rstrip("\n")
        )

    def _shown(self, label: str) -> str:
        return self._codes.encode(self._table.target, label)


def _key_words(columns: Sequence[Column]) -> str:
    """Return the keys of a JSON row, each with the column it stands for where that differs."""
    return ", ".join(
        quoted(key) if key == column.name else f"{quoted(key)} for {quoted(column.name)}"
        for key, column in zip(reply_keys(columns), columns, strict=True)
    )


def _words(column: Column) -> _ColumnWords:
    limits = ""
    if column.minimum is not None and column.maximum is not None:
        limits = f", from {column.encode(column.minimum)} to {column.encode(column.maximum)}"
    if column.kind == "numerical":
        values = f"number, {column.decimals} decimals{limits}"
    elif column.kind == "datetime":
        values = f"date, format {column.datetime_format}{limits}"
    else:
        values = "one of " + ", ".join(map(quoted, column.categories[:MAX_CATEGORIES]))
        if (n_more := len(column.categories) - MAX_CATEGORIES) > 0:
            values += f", and {n_more} more, as rows show them"
    description = " ".join(column.description.split())
    unit = " ".join(column.unit.split())
    return _ColumnWords(quoted(column.name), values, unit, description, column.has_missing)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    # Prompts are plain text: escaping for HTML would alter cells.
    return jinja2.Environment(
        loader=jinja2.PackageLoader("rddg_ray", "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _template(name: str) -> jinja2.Template:
    return _environment().get_template(f"{name}.jinja")
