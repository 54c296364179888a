"""Category values as random words and back, and the letters that label classes."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rddg_ray.errors import DataError
from rddg_ray.schema import Column

# Without vowels no code spells a word, a number ("1E5", "INF") or a missing cell ("NAN", "NA");
# a consonant first keeps it apart from every number.
_FIRST = "".join(sorted(set(string.ascii_uppercase) - set("AEIOU")))
_REST = _FIRST + string.digits
_SHORTEST = 3
# So few of the possible words are codes that a misspelt one is seldom another's.
_SPARSENESS = 8


def class_letter(place: int) -> str:
    """Return the label of the class at this place: A to Z, then AA, AB, ..."""
    letters = ""
    place += 1
    while place:
        place, digit = divmod(place - 1, 26)
        letters = string.ascii_uppercase[digit] + letters
    return letters


@dataclass(frozen=True)
class Codes:
    """Which word stands for which category value, column by column.

    A column without an entry crosses as it is.

    Attributes:
        by_column: Code of each value, by column name.
    """

    by_column: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    _values: dict[str, dict[str, str]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for name, codes in self.by_column.items():
            self._values[name] = {code: value for value, code in codes.items()}
            if len(self._values[name]) < len(codes):
                raise DataError(f"codes of column {name!r}: two values have the same code")

    @classmethod
    def draw(cls, columns: Sequence[Column], random_state: int) -> Codes:
        """Give every value of every categorical and boolean column a random word.

        Args:
            columns: Columns of a table; others are left out.
            random_state: The same state gives the same codes, at least 0.

        Returns:
            Codes of consonants and digits, three characters or more where there are many
            values, each used once in the table and none equal to a value of it.
        """
        values = [(c.name, value) for c in columns for value in c.categories]
        taken = {value.strip().upper() for _, value in values}
        words = _words(len(values), taken, random_state)
        codes: dict[str, dict[str, str]] = {}
        for (name, value), word in zip(values, words, strict=True):
            codes.setdefault(name, {})[value] = word
        return cls(codes)

    def encode(self, column: str, value: str) -> str:
        """Return what stands for a category value; the empty text (missing) stays empty."""
        codes = self.by_column.get(column)
        if codes is None or value == "":
            return value
        if value not in codes:
            raise DataError(f"column {column!r}: {value!r} has no code; values: {list(codes)}")
        return codes[value]

    def decode(self, column: str, code: str) -> str:
        """Return the value a code of this column stands for.

        Raises:
            DataError: If the column has codes and this is none of them.
        """
        values = self._values.get(column)
        if values is None:
            return code
        if code not in values:
            raise DataError(f"column {column!r}: {code!r} is not one of its codes")
        return values[code]

    def coded(self, column: Column) -> Column:
        """Return the column as it looks to an endpoint: codes for categories."""
        if column.name not in self.by_column:
            return column
        codes = tuple(self.encode(column.name, value) for value in column.categories)
        return replace(column, categories=codes)


def _words(n_words: int, taken: set[str], random_state: int) -> list[str]:
    length = _SHORTEST
    while _n_possible(length) < _SPARSENESS * (n_words + len(taken)):
        length += 1
    rng = np.random.default_rng(random_state)
    # At most len(taken) of the drawn words are unusable, so enough remain.
    drawn = rng.choice(_n_possible(length), size=n_words + len(taken), replace=False)
    words = [word for number in drawn if (word := _word(int(number), length)) not in taken]
    return words[:n_words]


def _n_possible(length: int) -> int:
    return int(len(_FIRST) * len(_REST) ** (length - 1))


def _word(number: int, length: int) -> str:
    letters = ""
    for _ in range(length - 1):
        number, digit = divmod(number, len(_REST))
        letters += _REST[digit]
    return _FIRST[number] + letters
