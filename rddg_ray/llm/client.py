"""The openai client as this package wants it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from rddg_ray.errors import ConfigError

if TYPE_CHECKING:
    import openai

_MAX_CONNECT_S = 10.0


def open_client(base_url: str, key: str, timeout_s: float) -> openai.AsyncOpenAI:
    """Return a client that makes one attempt a call and has no limit on connections."""
    import httpx2
    import openai

    host = urlsplit(base_url).hostname or ""
    # How many calls fly at once is a wrapper's decision; the pool must not be a second limit.
    # The transport hands the number on to aiohttp, where 0 means none; it drops None, and
    # aiohttp's own default is 100.
    http_client = openai.DefaultAioHttpClient(
        limits=httpx2.Limits(max_connections=0, max_keepalive_connections=None),
        trust_env=not is_loopback(host),  # a proxy cannot reach this machine's loopback
    )
    client = openai.AsyncOpenAI(
        base_url=base_url,
        api_key=key,
        max_retries=0,
        timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, _MAX_CONNECT_S)),
        http_client=http_client,
    )
    if host != "api.openai.com":
        # Read by the client from OPENAI_ORG_ID and OPENAI_PROJECT_ID; no business of others.
        client.organization = None
        client.project = None
    # The library loads what chat needs when it is first asked for it: here, no call waits.
    _ = client.chat.completions.with_raw_response
    return client


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's own, without looking it up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def shown_address(base_url: str) -> str:
    """Return the address without what may be a secret: user name, password, query.

    Raises:
        ConfigError: If it is no HTTP address.
    """
    try:
        parts = urlsplit(base_url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(
            f"endpoint.base_url: expected an address such as https://api.openai.com/v1, "
            f"found {base_url!r}"
        )
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
