"""Which part of a prompt a server would have in its cache."""

from __future__ import annotations

import hashlib

_CHARACTERS_PER_TOKEN = 4
_LEAST_TOKENS = 1024
_STEP_TOKENS = 128
_MOST_ENTRIES = 65_536


class PrefixCache:
    """Beginnings of prompts answered before, as large providers keep them.

    A beginning counts from 1,024 tokens on and in steps of 128 (four characters a token, as the
    embedded endpoint counts). What was longest not used is forgotten first.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, None] = {}

    def see(self, text: str) -> int:
        """Return how many tokens of a prompt are in the cache, and put all of it there.

        Args:
            text: All that the model is shown, in order.
        """
        n_cached = 0
        digest = hashlib.blake2b(digest_size=16)
        start = 0
        for n_tokens in range(_LEAST_TOKENS, len(text) // _CHARACTERS_PER_TOKEN + 1, _STEP_TOKENS):
            end = _CHARACTERS_PER_TOKEN * n_tokens
            digest.update(text[start:end].encode("utf-8", "surrogatepass"))
            start = end
            key = digest.digest()
            n_cached = n_tokens if key in self._known else n_cached
            self._known.pop(key, None)
            self._known[key] = None
        while len(self._known) > _MOST_ENTRIES:
            del self._known[next(iter(self._known))]
        return n_cached
