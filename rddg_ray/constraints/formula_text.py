"""From text to a formula's tree, by a parser of our own.

Nothing of a formula is ever executed as code. Its length, its size and its depth are bounded,
because it may come from a language model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np

from rddg_ray.constraints.expressions import FUNCTIONS, Expression

MAX_LENGTH = 1_000
MAX_NODES = 64
MAX_DEPTH = 16

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<quoted>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`)"
    r"|(?P<word>[^\W\d]\w*)"
    r"|(?P<sign>\*\*|[-+*/^(),\u2212\u00d7\u00f7]))",
)
_SAME_SIGN = {"**": "^", "\u2212": "-", "\u00d7": "*", "\u00f7": "/"}


class ExpressionError(Exception):
    """A text is no formula; the message says why and where."""


def parse(text: str, columns: Sequence[str]) -> Expression:
    """Read a formula.

    Column names stand in double quotes (JSON's escapes), single quotes or backticks; a name of
    letters, digits and underscores may stand without.

    Args:
        text: Numbers, column names, `+ - * / ^`, parentheses and abs, min, max, log (natural),
            exp, sqrt; at most `MAX_LENGTH` characters.
        columns: The names that it may use.

    Raises:
        ExpressionError: If it is none, or too large.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the formula has {len(text)} characters, more than {MAX_LENGTH}")
    return _Parser(_tokens(text), columns).parse()


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at, end = [], 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            raise ExpressionError(f"{text[at:].strip()[:20]!r} is no part of a formula")
        kind = str(found.lastgroup)
        word = found[kind]
        tokens.append((kind, _SAME_SIGN.get(word, word) if kind == "sign" else word))
        at = found.end()
    return tokens


class _Parser:
    """Recursive descent: sum, product, sign, power, atom."""

    def __init__(self, tokens: list[tuple[str, str]], columns: Sequence[str]) -> None:
        self._tokens = tokens
        self._columns = columns
        self._at = 0
        self._depth = 0
        self._n_nodes = 0

    def parse(self) -> Expression:
        tree = self._sum()
        if self._at < len(self._tokens):
            raise ExpressionError(f"{self._tokens[self._at][1]!r} is not expected there")
        return tree

    def _node(self, kind: str, name: str = "", value: float = 0.0,
              parts: tuple[Expression, ...] = ()) -> Expression:  # fmt: skip
        self._n_nodes += 1
        if self._n_nodes > MAX_NODES:
            raise ExpressionError(f"the formula has more than {MAX_NODES} parts")
        return Expression(kind, name, value, parts)

    def _sign(self, signs: str) -> str:
        """Return the next sign and pass it, or nothing if it is none of these."""
        kind, word = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        if kind != "sign" or word not in signs:
            return ""
        self._at += 1
        return word

    def _sum(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"the formula is nested more than {MAX_DEPTH} deep")
        tree = self._product()
        while sign := self._sign("+-"):
            tree = self._node("operator", sign, parts=(tree, self._product()))
        self._depth -= 1
        return tree

    def _product(self) -> Expression:
        tree = self._signed()
        while sign := self._sign("*/"):
            tree = self._node("operator", sign, parts=(tree, self._signed()))
        return tree

    def _signed(self) -> Expression:
        is_negative = False
        while sign := self._sign("+-"):
            is_negative ^= sign == "-"
        tree = self._power()
        return self._node("negative", parts=(tree,)) if is_negative else tree

    def _power(self) -> Expression:
        base = self._atom()
        if not self._sign("^"):
            return base
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"the formula is nested more than {MAX_DEPTH} deep")
        tree = self._node("operator", "^", parts=(base, self._signed()))
        self._depth -= 1
        return tree

    def _atom(self) -> Expression:
        if self._at >= len(self._tokens):
            raise ExpressionError("the formula ends where a number or a column is expected")
        kind, word = self._tokens[self._at]
        self._at += 1
        if kind == "number":
            return self._number(word)
        if kind == "quoted":
            return self._column(_unquoted(word))
        if kind == "word":
            return self._word(word)
        if word == "(":
            tree = self._sum()
            self._close()
            return tree
        raise ExpressionError(f"{word!r} stands where a number or a column is expected")

    def _number(self, word: str) -> Expression:
        number = float(word)
        if not np.isfinite(number):
            raise ExpressionError(f"the number {word[:20]} is too large")
        return self._node("number", value=number)

    def _column(self, name: str) -> Expression:
        if name not in self._columns:
            raise ExpressionError(f"there is no column {name!r}")
        return self._node("column", name)

    def _word(self, word: str) -> Expression:
        if not self._sign("("):
            return self._column(word)
        name = word.casefold()
        if name not in FUNCTIONS:
            raise ExpressionError(f"there is no function {word!r}; known: {', '.join(FUNCTIONS)}")
        parts = [self._sum()]
        while self._sign(","):
            parts.append(self._sum())
        self._close()
        least, most, _ = FUNCTIONS[name]
        if not least <= len(parts) <= most:
            raise ExpressionError(f"{name} takes {least} to {most} values, not {len(parts)}")
        return self._node("call", name, parts=tuple(parts))

    def _close(self) -> None:
        if not self._sign(")"):
            raise ExpressionError("a parenthesis is never closed")


def _unquoted(word: str) -> str:
    if word[0] != '"':
        return word[1:-1].replace("\\'", "'") if word[0] == "'" else word[1:-1]
    try:
        return str(json.loads(word, strict=False))
    except ValueError as error:
        raise ExpressionError(f"{word[:40]} is no quoted name") from error
