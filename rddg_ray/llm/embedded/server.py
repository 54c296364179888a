"""The HTTP server: OpenAI's dialect on loopback."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from rddg_ray.config import EmbeddedSettings
from rddg_ray.errors import ConfigError
from rddg_ray.llm.embedded.replying import reply
from rddg_ray.llm.embedded.requests import ChatRequest, RequestError, n_tokens, read_request

if TYPE_CHECKING:
    from aiohttp import web

MODEL = "embedded-sampler"
DESCRIPTION = (
    "A statistical sampler fitted to the rows shown in the prompt. Not a language model: what it "
    "writes is made by a sampler."
)
_LARGEST_BODY_BYTES = 64 * 2**20
_SHUTDOWN_S = 1.0


class EmbeddedServer:
    """An OpenAI-compatible server whose completions come from the embedded sampler.

    It serves `/v1/chat/completions` (one choice, not streamed), `/v1/models` and `/healthz`.
    `usage` counts one token for each four characters begun, a rule of thumb for English;
    `max_completion_tokens` (or `max_tokens`) cuts a reply by the same count. Other fields, such
    as `temperature`, are accepted and have no effect.

    Args:
        settings: Random state, flaws, latency and injected errors.
        host: Address to listen on; only this machine can reach the default.
        port: Port to listen on, 0 for any free one.
        api_key: Key that requests must carry, or None to ask for none.
    """

    def __init__(
        self,
        settings: EmbeddedSettings | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
    ) -> None:
        self._settings = settings or EmbeddedSettings()
        self._host = host
        self._port = port
        self._api_key = api_key
        self._runner: web.AppRunner | None = None
        self._base_url: str | None = None
        self._n_requests = 0
        self._statuses: Counter[int] = Counter()

    @property
    def base_url(self) -> str:
        """Return the address for clients, ending in `/v1`.

        Raises:
            ConfigError: If the server was never started.
        """
        if self._base_url is None:
            raise ConfigError("the embedded endpoint has no address before it is started")
        return self._base_url

    @property
    def n_requests(self) -> int:
        """Return how many chat requests arrived."""
        return self._n_requests

    @property
    def statuses(self) -> dict[int, int]:
        """Return how many chat requests were answered with each HTTP status."""
        return dict(self._statuses)

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: If the address cannot be listened on; the message names it.
        """
        from aiohttp import web

        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(
                f"cannot listen on {self._host}:{self._port}: {error.strerror or error}; choose "
                "another host or port (0 for any free one)"
            ) from error
        self._runner = runner
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._base_url = f"http://{host}:{runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        """Stop listening and close the connections; stopping twice is harmless."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def _application(self) -> web.Application:
        from aiohttp import web

        @web.middleware
        async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
            return await self._guarded(request, handler)

        application = web.Application(client_max_size=_LARGEST_BODY_BYTES, middlewares=[guard])
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/v1/models", self._models)
        application.router.add_get("/v1/models/{model}", self._model)
        application.router.add_post("/v1/chat/completions", self._chat)
        return application

    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Check the key, and turn refusals into OpenAI's shape."""
        from aiohttp import web

        try:
            if not self._is_allowed(request):
                raise RequestError(401, "Incorrect API key provided.", code="invalid_api_key")
            response: web.StreamResponse = await handler(request)
        except RequestError as error:
            response = web.json_response(error.body(), status=error.status)
        except web.HTTPException as error:
            wrapped = RequestError(error.status, f"{request.method} {request.path}: {error.reason}")
            response = web.json_response(wrapped.body(), status=error.status)
        if request.path == "/v1/chat/completions":
            self._statuses[response.status] += 1
        return response

    def _is_allowed(self, request: web.Request) -> bool:
        if self._api_key is None or request.path == "/healthz":
            return True
        given = request.headers.get("Authorization", "").encode()
        return hmac.compare_digest(given, f"Bearer {self._api_key}".encode())

    async def _healthz(self, request: web.Request) -> web.Response:
        from aiohttp import web

        return web.json_response({"status": "ok", "model": MODEL, "n_requests": self._n_requests})

    async def _models(self, request: web.Request) -> web.Response:
        from aiohttp import web

        return web.json_response({"object": "list", "data": [_model_entry()]})

    async def _model(self, request: web.Request) -> web.Response:
        from aiohttp import web

        _check_model(request.match_info["model"])
        return web.json_response(_model_entry())

    async def _chat(self, request: web.Request) -> web.Response:
        from aiohttp import web

        number = self._n_requests
        self._n_requests += 1
        chat = read_request(await request.read())
        _check_model(chat.model)
        if self._settings.latency_s > 0:
            await asyncio.sleep(self._settings.latency_s)
        if self._is_injected_error(number):
            status = self._settings.error_status
            raise RequestError(status, f"Injected error {status}.", code="injected_error")
        return web.json_response(self._completion(chat, number))

    def _is_injected_error(self, number: int) -> bool:
        # By the number of the request, not its text: the same prompt may pass the next time.
        words = abs(self._settings.random_state), number
        return bool(np.random.default_rng(words).random() < self._settings.error_share)

    def _completion(self, chat: ChatRequest, number: int) -> dict[str, Any]:
        text = reply(chat.messages, self._settings)
        finish_reason = "stop"
        if chat.max_tokens is not None and n_tokens(text) > chat.max_tokens:
            text, finish_reason = text[: 4 * chat.max_tokens], "length"
        prompt_tokens = sum(n_tokens(content) for _, content in chat.messages)
        completion_tokens = n_tokens(text)
        return {
            "id": f"chatcmpl-embedded-{number}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": finish_reason,
                    "logprobs": None,
                }
            ],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        }


def _model_entry() -> dict[str, Any]:
    return {
        "id": MODEL,
        "object": "model",
        "created": 0,
        "owned_by": "rddg_ray",
        "description": DESCRIPTION,
    }


def _check_model(name: str) -> None:
    if name != MODEL:
        raise RequestError(
            404,
            f"The model {name!r} does not exist; the only one here is {MODEL!r}.",
            code="model_not_found",
            param="model",
        )
