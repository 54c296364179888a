"""Asking an endpoint which models it has: free of charge, with the client a run would use."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

from rddg_ray.config import EndpointSettings
from rddg_ray.errors import ConfigError, LLMError
from rddg_ray.llm.client import open_client, shown_address
from rddg_ray.llm.embedded import MODEL
from rddg_ray.llm.keys import NO_KEY, resolve_key
from rddg_ray.llm.refusing import FailureReader, broken_answers

_LONGEST_S = 15.0
# Statuses of servers that complete chats and list no models.
_NO_LIST = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True)
class Listing:
    """An endpoint's answer to `GET /models`.

    Attributes:
        models: Names of models, in its order; None where the answer is no such list.
        status: HTTP status of the answer.
        latency_s: Seconds from asking to the last byte, connecting included.
        received_s: POSIX seconds at which it came, by this machine's clock.
        date: The server's clock, as its `Date` header tells it; None without one.
        is_page: Whether the answer is a page for people (HTML) instead.
    """

    models: tuple[str, ...] | None
    status: int
    latency_s: float
    received_s: float
    date: str | None = None
    is_page: bool = False


async def list_models(settings: EndpointSettings) -> Listing:
    """Return what the endpoint tells of its models.

    Args:
        settings: `base_url` must be given; the key is read here.

    Raises:
        ConfigError: If the address or the key cannot be used here.
        TransientLLMError: If the endpoint cannot be reached, or fails.
        PermanentLLMError: If it refuses, for the key usually.
    """
    if settings.base_url is None:
        raise ConfigError("endpoint.base_url is missing: there is no address to ask")
    key = resolve_key(settings) or NO_KEY
    timeout_s = min(settings.timeout_s, _LONGEST_S)
    address, model = shown_address(settings.base_url), settings.model or MODEL
    reader = FailureReader(address, model, key, timeout_s)
    client = open_client(settings.base_url, key, timeout_s)
    try:
        found = await _asked(client, reader, timeout_s)
    finally:
        await client.close()
    if isinstance(found, LLMError):
        # Raised here: the openai error holds the request with its key, and an error raised
        # while it is handled would carry it along as its context.
        raise found
    return found


async def _asked(client: Any, reader: FailureReader, timeout_s: float) -> Listing | LLMError:
    import openai

    started_s = time.perf_counter()
    try:
        async with asyncio.timeout(timeout_s):
            raw = await client.models.with_raw_response.list()
    except broken_answers() as error:
        if isinstance(error, openai.APIStatusError) and error.status_code in _NO_LIST:
            latency_s = time.perf_counter() - started_s
            return _answer(None, error.status_code, latency_s, error.response.headers)
        return reader.failure(error)
    return _listing(raw, time.perf_counter() - started_s)


def _listing(raw: Any, latency_s: float) -> Listing:
    try:
        content = json.loads(raw.text)
    except ValueError:
        content = None
    entries = content.get("data") if isinstance(content, dict) else None
    models = None
    if isinstance(entries, list):
        models = tuple(str(entry["id"]) for entry in entries if _has_id(entry))
    return _answer(models, raw.status_code, latency_s, raw.headers)


def _answer(models: tuple[str, ...] | None, status: int, latency_s: float, headers: Any) -> Listing:
    is_page = "html" in str(headers.get("content-type", "")).lower()
    return Listing(models, status, latency_s, time.time(), headers.get("date"), is_page)


def _has_id(entry: object) -> bool:
    return isinstance(entry, dict) and "id" in entry
