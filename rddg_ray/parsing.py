"""A completion's text as rows, and what could not be read as rejects with reasons.

A reply is chat with rows in it. Every line is one of: a row, a header, a class label, layout
(fences, rules of a Markdown table), or prose. Prose is passed over in silence; a line that
looks like a row and cannot be read as one becomes a `Reject`, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rddg_ray.cell_text import CellError, CellReader
from rddg_ray.codes import Codes, class_letter
from rddg_ray.json_reply import JsonRow, json_rows
from rddg_ray.novelty import Row
from rddg_ray.reply_lines import closing_line, is_open, readings, without_thinking
from rddg_ray.schema import Column

Reason = Literal[
    "column_count",
    "malformed",
    "not_a_number",
    "not_a_date",
    "unknown_category",
    "missing_value",
    "out_of_class",
    "truncated",
    "not_requested",
    "copy",
    "near_copy",
    "repeat",
    "rule",
    "implausible",
    "surplus",
]
# What endpoints call a reply that ends before the model meant it to.
CUT_REASONS = frozenset({"length", "max_tokens", "max_output_tokens", "content_filter"})

_MAX_TEXT = 2_000  # characters of a refused line that are kept
_LABEL = re.compile(
    r"[\W_]*(?:[\w ]{0,30}\b(?:class|group|category)\b[\W_]*)?(?P<name>.*?)[\W_]*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class ParsedRow:
    """A row that could be read.

    Attributes:
        position: Place among the reply's rows, refused ones counted, from 0.
        text: The line as it came.
        values: Canonical values, the target's first.
    """

    position: int
    text: str
    values: Row


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was refused.

    Attributes:
        reason: Why, in one word of a fixed list.
        text: The line as it came, cut at 2,000 characters.
        detail: Why, in words that name the column and the value.
        position: Place among the reply's rows, accepted ones counted, from 0.
    """

    reason: Reason
    text: str
    detail: str = ""
    position: int = 0


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """The rows of a reply and what was refused of it, each in order."""

    rows: tuple[ParsedRow, ...] = ()
    rejects: tuple[Reject, ...] = ()


@dataclass(slots=True)
class _Place:
    """Where in the reply a line stands."""

    label: str | None = None  # class of the section, as shown
    order: tuple[int, ...] = ()  # cell of each column by the reply's own header; -1 for none
    width: int = 0  # cells of that header


class RowParser:
    """Reads replies about one table.

    What is accepted beyond plain CSV: numbering and bullets; Markdown rows, tabs or semicolons
    for commas; a class label before the first row; brackets around a row; one comma too many at
    the end; a row number as an extra first cell; columns in the order of the reply's own header;
    a row without its class under a class label, or with an empty class cell. Where the class
    cell contradicts the label above it, the cell counts: it was written with the row's other
    cells, while a label is layout that models misplace.

    The last line of a reply that was cut off is refused even if it reads as a row, because its
    last cell may have lost its end; a line with its newline is whole.

    Where rows were asked for as JSON, they are the objects in the reply without objects in them,
    whatever stands around them: prose, a fence, an outer object that was cut off. Keys are the
    columns' or what stands for them, in any order; others are passed over. A reply without such
    an object is read as lines.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        codes: Codes,
        classes: Sequence[str],
        keys: Sequence[str] | None = None,
    ) -> None:
        """Prepare a table.

        Args:
            columns: Target first, then features (`Table.prompt_columns`).
            codes: What stands for category values in replies.
            classes: Classes in the order of their letters.
            keys: Key of each column where rows were asked for as JSON (`reply_schema.reply_keys`).
        """
        self._readers = [CellReader(column, codes, is_target=place == 0)
                         for place, column in enumerate(columns)]  # fmt: skip
        self._reads = [reader.read for reader in self._readers]
        self._names = [_name(column.name) for column in columns]
        self._known_names = frozenset(self._names)
        self._columns, self._has_keys = columns, keys is not None
        self._places = {name: at for at, name in reversed(list(enumerate(self._names)))}
        self._places |= {_name(key): at for at, key in enumerate(keys or ())}
        self._places |= {column.name: at for at, column in enumerate(columns)}
        self._places |= {key: at for at, key in enumerate(keys or ())}
        shown = [codes.encode(columns[0].name, label) for label in classes]
        self._labels = {class_letter(place): label for place, label in enumerate(shown)}
        self._classes = {_name(label): label for label in shown}

    def parse(self, text: str, finish_reason: str = "stop") -> ParsedReply:
        """Read a reply.

        Args:
            text: The completion's text.
            finish_reason: The endpoint's word for how the reply ended; see `CUT_REASONS`.
        """
        text = without_thinking(text)
        if self._has_keys and (objects := list(json_rows(text))):
            return _sorted_out([self._object(row, at) for at, row in enumerate(objects)])
        lines = text.split("\n")
        cut_line = len(lines) - 1 if finish_reason in CUT_REASONS else -1
        found: list[ParsedRow | Reject] = []
        place, at = _Place(), 0
        while at < len(lines):
            n_lines, outcome = self._next(lines, at, place, len(found), cut_line)
            if outcome is not None:
                found.append(outcome)
            at += n_lines
        return _sorted_out(found)

    def _object(self, row: JsonRow, position: int) -> ParsedRow | Reject:
        """Return the row that an object of a JSON reply is, or why it is none."""
        text = row.text[:_MAX_TEXT]
        if row.is_cut:
            return Reject("truncated", text, "the reply was cut off within this row", position)
        if row.cells is None:
            return Reject("malformed", text, "this is not an object in valid JSON", position)
        cells = {self._place(key): cell for key, cell in row.cells.items()}
        if missing := [column.name for at, column in enumerate(self._columns) if at not in cells]:
            shown = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
            return Reject("column_count", text, f"no value for {shown}", position)
        try:
            values = tuple([read(cells[at]) for at, read in enumerate(self._reads)])
        except CellError as error:
            return Reject(error.reason, text, str(error), position)
        return ParsedRow(position, row.text, values)

    def _place(self, key: str) -> int | None:
        return self._places.get(key, self._places.get(_name(key)))

    def _next(
        self, lines: list[str], at: int, place: _Place, position: int, cut_line: int
    ) -> tuple[int, ParsedRow | Reject | None]:
        """Return how many lines were read and the row or reject they make, if any."""
        line = lines[at].strip()
        if at == cut_line:
            return 1, self._cut(line, position)
        if '"' not in line or not is_open(line):
            return 1, self._line(line, place, position)
        end = closing_line(lines, at)
        record = "\n".join(lines[at : end + 1]).strip()
        if end == cut_line:
            return end + 1 - at, self._cut(record, position)
        if end > at and (row := self._row(record, place)) is not None:
            return end + 1 - at, ParsedRow(position, record, row)
        if end > at and self._is_header(record, place):
            return end + 1 - at, None
        # A stray quote must not swallow the rows after it.
        return 1, self._refuse(line, position)

    def _line(self, line: str, place: _Place, position: int) -> ParsedRow | Reject | None:
        if not line:
            return None
        if (row := self._row(line, place)) is not None:
            return ParsedRow(position, line, row)
        if self._is_header(line, place) or self._is_label(line, place):
            return None
        return self._refuse(line, position)

    def _row(self, line: str, place: _Place) -> Row | None:
        """Return the values of a line under the first reading that fits every column."""
        for label, cells in readings(line, place.label, self._labels):
            for aligned in self._alignments(cells, label, place):
                try:
                    values = tuple([read(cell) for read, cell in
                                    zip(self._reads, aligned, strict=True)])  # fmt: skip
                except CellError:
                    continue
                place.label = label
                return values
        return None

    def _alignments(
        self, cells: list[str], label: str | None, place: _Place
    ) -> Iterator[list[str]]:
        """Yield the cells in the columns' order, in every way their number allows."""
        width = len(self._reads)
        if place.order and len(cells) == place.width:
            mapped = ["" if at < 0 else cells[at] for at in place.order]
            yield [label, *mapped[1:]] if label and not mapped[0] else mapped
        if len(cells) == width:
            yield [label, *cells[1:]] if label and not cells[0].strip() else cells
        elif len(cells) == width - 1 and label and not self._readers[0].accepts(cells[0]):
            yield [label, *cells]
        elif len(cells) == width + 1 and self._is_row_number(cells[0]):
            yield cells[1:]
        elif len(cells) == width + 1 and not cells[-1].strip():
            yield cells[:-1]

    def _is_row_number(self, cell: str) -> bool:
        return cell.strip(" #.").isdigit() and not self._readers[0].accepts(cell)

    def _is_header(self, line: str, place: _Place) -> bool:
        """Return whether a line names the columns; remember its order where it has its own."""
        for _, cells in readings(line, None, self._labels):
            names = [_name(cell) for cell in cells]
            if names == self._names:
                place.order = ()
                return True
            if set(self._names[1:]) <= set(names) and len(set(names)) == len(names) > 1:
                spots = {name: at for at, name in enumerate(names)}
                place.order = tuple([spots.get(name, -1) for name in self._names])
                place.width = len(names)
                return True
            known = sum(name in self._known_names for name in names)
            if len(names) > 1 and known >= 0.6 * len(names):
                return True
        # A model that forgets the quotes of a hostile column name still writes its letters.
        return _letters(line) == _letters("".join(self._names))

    def _is_label(self, line: str, place: _Place) -> bool:
        if len(line) > 80 or (found := _LABEL.fullmatch(line)) is None:
            return False
        first, _, rest = found["name"].partition(" ")
        letter, said = first.strip(".:()=*_").upper(), _name(rest.strip(".:()=*_ "))
        if letter in self._labels and (not said or said.startswith(tuple(self._classes))):
            place.label = self._labels[letter]
        elif (name := _name(found["name"])) in self._classes:
            place.label = self._classes[name]
        elif not rest and re.fullmatch("[A-Z]{1,2}", first):
            place.label = None  # a class that does not exist: its rows belong to no other
        else:
            return False
        return True

    def _refuse(self, line: str, position: int) -> Reject | None:
        """Return the reject of a line that looks like a row, or None for prose and layout."""
        cells = self._likest(line)
        if not self._looks_like_row(cells):
            return None
        if len(cells) != len(self._reads):
            detail = f"{len(cells)} cells where the table has {len(self._reads)} columns"
            return Reject("column_count", line[:_MAX_TEXT], detail, position)
        for read, cell in zip(self._reads, cells, strict=True):
            try:
                read(cell)
            except CellError as error:
                return Reject(error.reason, line[:_MAX_TEXT], str(error), position)
        return Reject("column_count", line[:_MAX_TEXT], "a quote is never closed", position)

    def _cut(self, line: str, position: int) -> Reject | None:
        cells = self._likest(line)
        if self._looks_like_row(cells) or (cells and self._readers[0].accepts(cells[0])):
            detail = "the reply was cut off here, so the last cell may have lost its end"
            return Reject("truncated", line[:_MAX_TEXT], detail, position)
        return None

    def _likest(self, line: str) -> list[str]:
        """Return the cells under the reading that fits most columns; none for mere layout."""
        if not _letters(line):
            return []
        found = [cells for _, cells in readings(line, None, self._labels)]
        if '"' in line:
            found.append(line.split(","))  # what a stray quote swallowed
        width = len(self._reads)
        return max(found, key=lambda cells: (self._n_fitting(cells), -abs(len(cells) - width)))

    def _n_fitting(self, cells: list[str]) -> int:
        """Return how many cells are values of their columns, the class perhaps left out."""
        first = 1 if len(cells) == len(self._reads) - 1 else 0
        fitting = [
            sum(r.accepts(cell) for r, cell in zip(self._readers[skip:], cells, strict=False))
            for skip in range(first + 1)
        ]
        return max(fitting)

    def _looks_like_row(self, cells: list[str]) -> bool:
        if len(cells) < 2:
            return False
        if self._n_fitting(cells) >= max(2, len(cells) / 2):
            return True
        words = any(" " in cell.strip() for cell in cells)
        is_whole = len(cells) == len(self._reads)
        return is_whole and (not words or self._readers[0].accepts(cells[0]))


def _sorted_out(found: Sequence[ParsedRow | Reject]) -> ParsedReply:
    return ParsedReply(
        tuple([item for item in found if isinstance(item, ParsedRow)]),
        tuple([item for item in found if isinstance(item, Reject)]),
    )


def _name(text: str) -> str:
    return " ".join(text.strip("`*\"' ").split()).casefold()


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()
