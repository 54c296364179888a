"""JSON as models write it: with comments, commas too many, single quotes, or cut off."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 12
MAX_ERRORS = 20

_SPACE = re.compile(r"(?:\s+|//[^\n]*|\#[^\n]*|/\*.*?(?:\*/|\Z))*", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BARE = re.compile(r"[^\s,:\[\]{}\"'`]+")
_WORDS = {"true": True, "false": False, "null": None, "none": None, "nan": None, "undefined": None}
_CLOSES = {"{": "}", "[": "]"}
_QUOTES = "\"'`\u201c\u201d"
_MAX_DIGITS = 400


class LenientJsonError(Exception):
    """A text cannot be read; the message says where."""


class LenientJson:
    """Reads one value from a text, and goes on behind what it cannot read inside a list.

    Attributes:
        errors: What was passed over, in words. After `MAX_ERRORS` of them the rest of the text is.
    """

    def __init__(self, text: str) -> None:
        self.errors: list[str] = []
        self._text = text
        self._at = 0

    def read(self) -> Any:
        """Return the first value of the text.

        Raises:
            LenientJsonError: If it is none, outside any list.
        """
        value = self._value(0)
        self._space()
        return value

    @property
    def end(self) -> int:
        """Return where the value that was read ends."""
        return self._at

    def _space(self) -> str:
        """Pass space and comments; return the next character, or nothing at the end."""
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._text[self._at : self._at + 1]

    def _fail(self, what: str) -> LenientJsonError:
        around = " ".join(self._text[self._at : self._at + 30].split())
        line = self._text.count("\n", 0, self._at) + 1
        return LenientJsonError(f"{what} in line {line} at {around!r}")

    def _value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise self._fail(f"more than {MAX_DEPTH} levels")
        first = self._space()
        if first == "{":
            return self._object(depth)
        if first == "[":
            return self._list(depth)
        if first and first in _QUOTES:
            return self._string(first)
        return self._bare()

    def _object(self, depth: int) -> dict[str, Any]:
        self._at += 1
        found: dict[str, Any] = {}
        while (first := self._space()) != "}":
            if not first:
                raise self._fail("an object is never closed")
            key = self._string(first) if first in _QUOTES else self._key()
            if self._space() not in (":", "="):
                raise self._fail("a colon is missing")
            self._at += 1
            found[str(key)] = self._value(depth + 1)
            if self._space() in (",", ";"):
                self._at += 1
        self._at += 1
        return found

    def _list(self, depth: int) -> list[Any]:
        self._at += 1
        found: list[Any] = []
        while (first := self._space()) != "]":
            if not first:
                self.errors.append(str(self._fail("a list is never closed")))
                return found
            start = self._at
            try:
                found.append(self._value(depth + 1))
            except LenientJsonError as error:
                self.errors.append(str(error))
                self._skip(start)
                if len(self.errors) >= MAX_ERRORS:
                    self._at = len(self._text)
                    return found
            if self._space() == ",":
                self._at += 1
            elif self._at == start:
                self._at += 1  # a character that begins nothing
        self._at += 1
        return found

    def _skip(self, start: int) -> None:
        """Go to the end of the list's entry that begins at `start`."""
        self._at, open_ = start, 0
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == '"':
                closing = _closing(self._text, self._at)
                self._at = closing if closing > 0 else self._at
            elif character in "{[":
                open_ += 1
            elif character in "}]":
                open_ -= 1
                if open_ < 0:
                    return
            elif character == "," and open_ == 0:
                return
            self._at += 1

    def _string(self, quote: str) -> str:
        text, at = self._text, self._at + 1
        quotes = "\u201c\u201d" if quote in "\u201c\u201d" else quote
        while at < len(text) and text[at] not in quotes:
            at += 2 if text[at] == "\\" else 1
        if at >= len(text):
            raise self._fail("a quote is never closed")
        inner, self._at = text[self._at + 1 : at], at + 1
        if quote == '"' and "\\" not in inner:
            return inner
        return _unescaped(inner)

    def _key(self) -> str:
        found = _BARE.match(self._text, self._at)
        if found is None:
            raise self._fail("a key is missing")
        self._at = found.end()
        return found[0]

    def _bare(self) -> Any:
        found = _BARE.match(self._text, self._at)
        if found is None:
            raise self._fail("a value is missing")
        word = found[0]
        number = _NUMBER.fullmatch(word) if len(word) <= _MAX_DIGITS else None
        if number is None and word.casefold() not in _WORDS:
            raise self._fail(f"{word[:20]!r} is no value")
        self._at = found.end()
        if number is None:
            return _WORDS[word.casefold()]
        return int(word) if word.lstrip("+-").isdigit() else float(word)


def _closing(text: str, at: int) -> int:
    """Return where the quote at `at` closes, or -1."""
    at += 1
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return at if at < len(text) else -1


def _unescaped(inner: str) -> str:
    try:
        # What the other quotes leave bare has to be escaped for JSON.
        plain = re.sub(r'(?<!\\)((?:\\\\)*)"', r'\1\\"', inner.replace("\\'", "'"))
        return str(json.loads(f'"{plain}"', strict=False))
    except ValueError:
        return inner
