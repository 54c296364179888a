"""Formulas as small trees, computed over rows at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FUNCTIONS: dict[str, tuple[int, int, Callable[[Sequence[Floats]], Floats]]] = {
    "abs": (1, 1, lambda a: np.abs(a[0])),
    "log": (1, 1, lambda a: np.log(a[0])),
    "exp": (1, 1, lambda a: np.exp(a[0])),
    "sqrt": (1, 1, lambda a: np.sqrt(a[0])),
    "min": (2, 8, lambda a: reduce(np.minimum, a)),
    "max": (2, 8, lambda a: reduce(np.maximum, a)),
}
"""Least and most values of each function, and what it computes."""
_OPERATORS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "^": np.power,
}
_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 4}
_UNARY_STRENGTH = 3


@dataclass(frozen=True, slots=True)
class Expression:
    """A node of a formula.

    Attributes:
        kind: What it is.
        name: Column (by name), operator sign or function name; empty for a number.
        value: The number of a number.
        parts: Operands, in order.
    """

    kind: str
    name: str = ""
    value: float = 0.0
    parts: tuple[Expression, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads, each once, in order."""
        return tuple(dict.fromkeys(node.name for node in self._nodes() if node.kind == "column"))

    def _nodes(self) -> Iterator[Expression]:
        yield self
        for part in self.parts:
            yield from part._nodes()

    def compute(self, columns: Mapping[str, Floats]) -> Floats:
        """Return its value for every row.

        Args:
            columns: Cells of the columns it reads, each of shape `(n_rows,)`; NaN is missing.

        Returns:
            Shape `(n_rows,)`, or `()` where it reads no column; NaN where a cell is missing or
            the value is no finite number (a division by 0, say).
        """
        with np.errstate(all="ignore"):
            values = np.asarray(self._value(columns), dtype=np.float64)
        return np.where(np.isfinite(values), values, np.nan)

    def _value(self, columns: Mapping[str, Floats]) -> Floats:
        if self.kind == "number":
            return np.asarray(self.value, dtype=np.float64)
        if self.kind == "column":
            return columns[self.name]
        parts = [part._value(columns) for part in self.parts]
        if self.kind == "negative":
            return -parts[0]
        if self.kind == "call":
            return FUNCTIONS[self.name][2](parts)
        return _OPERATORS[self.name](parts[0], parts[1])

    def __str__(self) -> str:
        """Return the formula as text that `formula_text.parse` reads as the same tree."""
        return self._text(0)

    def _text(self, outer: int) -> str:
        if self.kind == "number":
            return np.format_float_positional(self.value, trim="-") if (
                1e-6 < abs(self.value) < 1e15 or self.value == 0) else repr(self.value)  # fmt: skip
        if self.kind == "column":
            return json.dumps(self.name, ensure_ascii=False)
        if self.kind == "call":
            return f"{self.name}({', '.join(part._text(0) for part in self.parts)})"
        if self.kind == "negative":
            strength, text = _UNARY_STRENGTH, f"-{self.parts[0]._text(_UNARY_STRENGTH)}"
        else:
            strength = _STRENGTH[self.name]
            # Powers bind to the right, all others to the left.
            left, right = (1, 0) if self.name == "^" else (0, 1)
            text = (f"{self.parts[0]._text(strength + left)} {self.name} "
                    f"{self.parts[1]._text(strength + right)}")  # fmt: skip
        return f"({text})" if strength < outer else text
