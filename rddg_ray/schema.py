"""What a table's columns are: kinds, ranges, categories, and how a cell becomes text and back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from rddg_ray.errors import DataError

Kind = Literal["numerical", "categorical", "boolean", "datetime", "id", "constant"]
Storage = Literal["text", "integer", "float", "boolean", "datetime"]

# Words a writer uses for an empty cell. They count as missing only where the column has
# missing cells and no category of that name.
_MISSING_WORDS = frozenset({"", "?", "na", "n/a", "#n/a", "nan", "null", "none", "<na>", "missing"})
_ID_NAMES = re.compile(
    r"(?i:unnamed: ?\d+|(?:.*[_ ])?(?:id|index|uuid|guid|key))|.*[a-z]I[Dd]", re.DOTALL
)
_DIRECTIVE = re.compile(r"%(.)", re.DOTALL)
_UNPADDED = {"d": "day", "m": "month", "H": "hour"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column as the real rows show it.

    Attributes:
        name: The header's text, as it is.
        kind: What its cells mean; `id` and `constant` columns are never shown nor learned.
        decimals: Most decimal places seen in a numerical column; 0 for integers.
        fixed_decimals: Whether every cell was written with that many places.
        categories: Values of a categorical or boolean column, most frequent first.
        minimum: Smallest value seen (POSIX seconds for datetimes), or None.
        maximum: Largest value seen.
        datetime_format: `strftime` form of a datetime column's cells.
        unpadded: Letters of the form's directives that cells write without a zero in front:
            "dm" for 1/2/2020.
        has_missing: Whether missing cells were seen, so that they may be generated.
        constant: The one value of a constant column as text; None where all are missing.
        storage: Type the column had in the source and gets in the output.
        whole_zeros: Zeros after the point that a CSV file gives whole numbers: 1 for 34.0.
        missing_token: What a CSV file writes in the column's missing cells.
        spellings: Categories with space around them in the source, and how they stand there.
        left_out: Why the column is not learned, in words; empty where it is.
        description: What the column means, in words for the prompt.
        unit: Unit of a numerical column.
    """

    name: str
    kind: Kind
    decimals: int = 0
    fixed_decimals: bool = False
    categories: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    datetime_format: str | None = None
    unpadded: str = ""
    has_missing: bool = False
    constant: str | None = None
    storage: Storage = "text"
    whole_zeros: int = 0
    missing_token: str = ""
    spellings: tuple[tuple[str, str], ...] = ()
    left_out: str = field(default="", repr=False, compare=False)
    description: str = ""
    unit: str = ""
    _lookup: dict[str, str] = field(
        default_factory=dict, init=False, repr=False, compare=False, hash=False
    )

    def __post_init__(self) -> None:
        # Later spellings never displace earlier ones: an exact match always wins.
        for category in self.categories:
            self._lookup[category] = category
        for category in self.categories:
            self._lookup.setdefault(category.strip().casefold(), category)
        for category in self.categories:
            number = parse_number(category)
            if number is not None:
                self._lookup.setdefault(repr(number), category)

    def encode(self, value: object) -> str:
        """Return the cell text of a canonical value; the empty text for a missing one."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        if self.kind == "numerical":
            return self._encode_number(float(value))  # type: ignore[arg-type]  # canonical: a number
        if self.kind == "datetime":
            moment = datetime.fromtimestamp(float(value), tz=UTC)  # type: ignore[arg-type]  # as above
            return moment.strftime(self._form_for(moment))
        return str(value)

    def _form_for(self, moment: datetime) -> str:
        form = self.datetime_format or "%Y-%m-%d %H:%M:%S"
        if not self.unpadded:
            return form

        def written(directive: re.Match[str]) -> str:
            is_plain = directive[1] in self.unpadded
            return str(getattr(moment, _UNPADDED[directive[1]])) if is_plain else directive[0]

        return _DIRECTIVE.sub(written, form)

    def _encode_number(self, number: float) -> str:
        if self.decimals == 0:
            return str(round(number))
        # Adding 0.0 turns -0.0 into 0.0, which would otherwise be another row's text.
        number = round(number, self.decimals) + 0.0
        if self.fixed_decimals:
            return f"{number:.{self.decimals}f}"
        text = repr(number).removesuffix(".0")
        return np.format_float_positional(number, trim="-") if "e" in text else text

    def decode(self, text: str) -> float | str | None:
        """Return the canonical value of a cell's text.

        Args:
            text: The cell. Surrounding space does not count.

        Returns:
            A float rounded to the column's decimals (numerical), POSIX seconds (datetime),
            the category as the real rows spell it (categorical, boolean), the text itself
            (id, constant), or None for a missing cell.

        Raises:
            DataError: If the text is no value of this column.
        """
        if self.kind in ("categorical", "boolean"):
            return self._decode_category(text)
        if self.kind in ("id", "constant"):
            return text
        stripped = text.strip()
        if stripped.casefold() in _MISSING_WORDS:
            self._check_missing(text)
            return None
        return self._decode_number(stripped)

    def match(self, text: str) -> str | None:
        """Return the category that a text means: itself, in other case, or as a number."""
        if (found := self._lookup.get(text)) is not None:
            return found
        stripped = text.strip()
        if (found := self._lookup.get(stripped, self._lookup.get(stripped.casefold()))) is not None:
            return found
        number = parse_number(stripped)
        return None if number is None else self._lookup.get(repr(number))

    def _decode_category(self, text: str) -> str | None:
        found = self.match(text)
        if found is None and text.strip().casefold() in _MISSING_WORDS:
            self._check_missing(text)
            return None
        if found is None:
            raise DataError(f"column {self.name!r}: {text!r} is not one of its categories")
        return found

    def _check_missing(self, text: str) -> None:
        if not self.has_missing:
            raise DataError(f"column {self.name!r}: {text!r} is missing, but real rows never are")

    def _decode_number(self, text: str) -> float:
        if self.kind == "datetime":
            seconds = parse_datetime(text, self.datetime_format or "")
            if seconds is None:
                raise DataError(
                    f"column {self.name!r}: {text!r} is no date of the form {self.datetime_format}"
                )
            return seconds
        number = parse_number(text)
        if number is None:
            raise DataError(f"column {self.name!r}: {text!r} is not a number")
        # Adding 0.0 turns -0.0 into 0.0, which would otherwise be another row's text.
        return round(number, self.decimals) + 0.0


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a table, in its order, each name once."""

    columns: tuple[Column, ...]

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise DataError(f"there is no column {name!r}; columns: {list(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Return the column names in order."""
        return tuple(column.name for column in self.columns)


def is_id_name(name: str) -> bool:
    """Return whether a column's name says that it holds ids."""
    return bool(_ID_NAMES.fullmatch(name))


def parse_datetime(text: str, form: str) -> float | None:
    """Return POSIX seconds of a date in this `strptime` form (naive means UTC), or None."""
    try:
        moment = datetime.strptime(text.strip(), form)  # noqa: DTZ007 - made aware below
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def parse_number(text: str) -> float | None:
    """Return the finite number a text means, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    # Python also reads "1_000", "nan" and "infinity" as numbers; a table does not.
    return number if math.isfinite(number) and "_" not in text else None
