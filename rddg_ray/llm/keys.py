"""The endpoint's key: read where the calls are made, and kept out of every message."""

from __future__ import annotations

import base64
import json
import os
import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, quote_plus

from rddg_ray.config import EndpointSettings
from rddg_ray.errors import ConfigError

# What stands for a key in the Authorization header of servers that want none (vLLM, Ollama,
# the embedded endpoint): the openai client refuses to start without one.
NO_KEY = "none"

_KEY_LIKE = re.compile(r"(?i)\bbearer\s+\S+|\b(?:sk|gsk|pk|rk)[-_][\w-]{12,}")
_REMOVED = "[key removed]"
_PERCENT = re.compile("%[0-9A-F]{2}")
_URL_SAFE = str.maketrans("+/", "-_")
_LEAST_BASE64 = 8  # shorter ones may be a part of any word


def resolve_key(settings: EndpointSettings) -> str | None:
    """Return the key that the settings point to, or None where they point to none.

    Raises:
        ConfigError: If the variable or the file named is absent, empty or holds what no key
            can; the message names the variable or the file, never its content.
    """
    if settings.api_key_env is not None:
        source = f"endpoint.api_key_env: the environment variable {settings.api_key_env!r}"
        key = os.environ.get(settings.api_key_env)
        if key is None:
            raise ConfigError(f"{source} is not set; set it to the endpoint's key")
        return checked_key(key, source)
    if settings.api_key_file is not None:
        source = f"endpoint.api_key_file: the file {str(settings.api_key_file)!r}"
        return checked_key(_read(settings.api_key_file, source), source)
    return None


def _read(path: Path, source: str) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{source} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        # The decoding error holds the file's bytes, so it is not chained.
        raise ConfigError(f"{source} is not text; it must hold the key and nothing else") from None


def checked_key(key: str, source: str) -> str:
    """Return the key without surrounding blanks; `source` is named where it cannot be one."""
    key = key.strip()
    if not key:
        raise ConfigError(f"{source} is empty; it must hold the endpoint's key")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(
            f"{source} holds blanks, line breaks or characters that cannot be part of a key; "
            "it must hold the key and nothing else"
        )
    return key


def scrubbed(text: str, key: str | None) -> str:
    """Return the text without the key, as it stands or encoded, and without key-like words.

    Servers echo the request's headers in their error bodies, and a message of ours may end in
    logs and in Ray's state API. Forms that are found: plain, quoted for URLs or for JSON, and in
    Base64, alone or as a part of something longer, such as `Bearer` and the key.
    """
    if key and key != NO_KEY:
        text = _forms(key).sub(_REMOVED, text)
    return _KEY_LIKE.sub(_REMOVED, text)


@lru_cache(maxsize=8)
def _forms(key: str) -> re.Pattern[str]:
    forms = {key, quote(key), quote(key, safe=""), quote_plus(key), json.dumps(key)[1:-1]}
    escaped = {re.escape(form) for form in forms}
    # What quotes for URLs may also write in small letters.
    escaped |= {re.escape(_PERCENT.sub(lambda code: code[0].lower(), form)) for form in forms}
    # A bound before it, or a long text of such characters takes the square of its length.
    around = "[A-Za-z0-9+/_-]{0,64}", "[A-Za-z0-9+/_=-]*"
    whole = {re.escape(part).join(around) for part in _base64_parts(key)}
    return re.compile("|".join(sorted(escaped | whole, key=len, reverse=True)))


def _base64_parts(key: str) -> set[str]:
    """Return what Base64 makes of the key's inside, whatever stands before and after it."""
    parts = set()
    for n_before in range(3):
        coded = base64.b64encode(bytes(n_before) + key.encode()).decode().rstrip("=")
        # Three bytes make four characters; those that hold a neighbour's bits are left out.
        first = -(-8 * n_before // 6)
        last = (n_before + len(key)) * 8 // 6
        inside = coded[first:last]
        parts |= {inside, inside.translate(_URL_SAFE)}
    return {part for part in parts if len(part) >= _LEAST_BASE64}
