"""From settings to an endpoint that is ready for calls."""

from __future__ import annotations

from rddg_ray.config import EndpointSettings
from rddg_ray.errors import ConfigError
from rddg_ray.exchange import Endpoint
from rddg_ray.llm.embedded import MODEL
from rddg_ray.llm.endpoint import OpenAIEndpoint
from rddg_ray.llm.keys import resolve_key
from rddg_ray.llm.replay import ReplayEndpoint


def connect(settings: EndpointSettings) -> Endpoint:
    """Return the client that the settings describe, without wrappers; see `stack.stacked`.

    Use it as `async with contextlib.aclosing(connect(settings)) as endpoint`, in the process
    that makes the calls: the key is read here. No connection is opened before the first call.

    Args:
        settings: For kind `embedded`, `base_url` must be that of a running server (see
            `rddg_ray.llm.embedded`): whoever starts the server writes it in with
            `settings.model_copy(update={"base_url": server.base_url})`.

    Raises:
        ConfigError: If the address, the key or the recordings cannot be used.
    """
    if settings.kind == "replay":
        if settings.replay_path is None:
            raise ConfigError("endpoint.replay_path is needed for kind 'replay': a recordings file")
        return ReplayEndpoint.from_file(settings.replay_path, sequence=True)
    if settings.base_url is None:
        raise ConfigError(
            f"endpoint.base_url is missing for kind {settings.kind!r}: give the address of a "
            "running server, such as the one `rddg endpoint` prints"
        )
    return OpenAIEndpoint(
        settings.base_url,
        settings.model or MODEL,
        resolve_key(settings),
        timeout_s=settings.timeout_s,
        send_call_header=settings.send_call_header or settings.kind == "embedded",
    )
