"""The HTTP server: OpenAI's dialect on loopback."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from rddg_ray.config import EmbeddedSettings
from rddg_ray.errors import ConfigError
from rddg_ray.llm.embedded.bodies import MODEL, check_model, completion_body, model_entry
from rddg_ray.llm.embedded.caching import PrefixCache
from rddg_ray.llm.embedded.enforcement import Enforcer
from rddg_ray.llm.embedded.replying import reply
from rddg_ray.llm.embedded.requests import ChatRequest, RequestError, read_request
from rddg_ray.llm.embedded.tallying import CALL_HEADER, Tally

if TYPE_CHECKING:
    from aiohttp import web

_LARGEST_BODY_BYTES = 64 * 2**20
_SHUTDOWN_S = 1.0


class EmbeddedServer:
    """An OpenAI-compatible server whose completions come from the embedded sampler.

    It serves `/v1/chat/completions` (one choice, not streamed), `/v1/models`, `/healthz` and, to
    this machine only, `/stats`: what it has counted, as JSON, by the header `x-rddg-call` too.
    `usage` counts one token for each four characters begun, a rule of thumb for English;
    `max_completion_tokens` (or `max_tokens`) cuts a reply by the same count, and
    `prompt_tokens_details` tells what part of a prompt it was asked before (`PrefixCache`), as
    large providers do. `response_format` with a JSON schema is followed. Other fields, such as
    `temperature`, are accepted and have no effect. Limits on requests and tokens a minute are
    enforced as `EmbeddedSettings` says; a refused request (429) uses nothing up.

    Args:
        settings: Random state, flaws, latency, injected errors, limits.
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
        self._tally = Tally()
        self._cache = PrefixCache()
        self._enforcer = Enforcer(self._settings)

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
        return self._tally.n_requests

    @property
    def statuses(self) -> dict[int, int]:
        """Return how many chat requests were answered with each HTTP status."""
        return dict(self._tally.statuses)

    @property
    def calls(self) -> dict[str, int]:
        """Return how many chat requests arrived with each value of `x-rddg-call`."""
        return dict(self._tally.arrivals)

    @property
    def answers(self) -> dict[str, int]:
        """Return how many of them got a reply, refused and failed ones left out."""
        return dict(self._tally.answers)

    @property
    def n_accepted(self) -> int:
        """Return how many chat requests the limits let through."""
        return self._enforcer.n_accepted

    @property
    def n_refused(self) -> int:
        """Return how many chat requests the limits refused."""
        return self._enforcer.n_refused

    @property
    def n_tokens(self) -> int:
        """Return how many tokens were counted against the limit, reserved ones included."""
        return self._enforcer.n_tokens

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
        application.router.add_get("/stats", self._stats)
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
            response = web.json_response(error.body(), status=error.status, headers=error.headers)
        except web.HTTPException as error:
            wrapped = RequestError(error.status, f"{request.method} {request.path}: {error.reason}")
            response = web.json_response(wrapped.body(), status=error.status)
        if request.path == "/v1/chat/completions":
            self._tally.statuses[response.status] += 1
            if self._settings.rate_headers:
                response.headers.update(self._enforcer.headers(time.monotonic()))
        return response

    def _is_allowed(self, request: web.Request) -> bool:
        if self._api_key is None or request.path == "/healthz":
            return True
        given = request.headers.get("Authorization", "").encode()
        return hmac.compare_digest(given, f"Bearer {self._api_key}".encode())

    async def _healthz(self, request: web.Request) -> web.Response:
        from aiohttp import web

        return web.json_response({"status": "ok", "model": MODEL, "n_requests": self.n_requests})

    async def _stats(self, request: web.Request) -> web.Response:
        from aiohttp import web

        if not _is_loopback(request.remote):
            raise RequestError(403, "/stats answers this machine only.")
        counts = {
            "n_accepted": self.n_accepted,
            "n_refused": self.n_refused,
            "n_tokens": self.n_tokens,
        }
        return web.json_response(self._tally.as_json() | counts)

    async def _models(self, request: web.Request) -> web.Response:
        from aiohttp import web

        return web.json_response({"object": "list", "data": [model_entry()]})

    async def _model(self, request: web.Request) -> web.Response:
        from aiohttp import web

        check_model(request.match_info["model"])
        return web.json_response(model_entry())

    async def _chat(self, request: web.Request) -> web.Response:
        from aiohttp import web

        arrived_s = time.monotonic()
        call = request.headers.get(CALL_HEADER)
        number = self._tally.arrive(call)
        chat = read_request(await request.read())
        check_model(chat.model)
        charged = self._admit(chat)
        if self._is_injected_error(number):
            await self._latency(arrived_s)
            status = self._settings.error_status
            raise RequestError(status, f"Injected error {status}.", code="injected_error")
        text = reply(chat.messages, self._settings, chat.schema)
        cached_tokens = self._cache.see("".join(chat.shown))
        completion = completion_body(chat, text, number, cached_tokens)
        replied = completion["usage"]["completion_tokens"]
        await self._latency(arrived_s)
        self._enforcer.settle(time.monotonic(), chat.prompt_tokens, replied, charged)
        self._tally.answer(call)
        return web.json_response(completion)

    async def _latency(self, arrived_s: float) -> None:
        """Wait until a request's latency is over; the work on its reply is part of it."""
        left_s = arrived_s + self._settings.latency_s - time.monotonic()
        if left_s > 0:
            await asyncio.sleep(left_s)

    def _admit(self, chat: ChatRequest) -> int:
        """Return the tokens charged on arrival; refuse what is over the limits."""
        admission = self._enforcer.admit(time.monotonic(), chat.prompt_tokens, chat.max_tokens)
        if admission.retry_after_s is None:
            return admission.charged_tokens
        wait_s = math.ceil(admission.retry_after_s)
        headers = {"Retry-After": str(wait_s)} if self._settings.retry_after else {}
        raise RequestError(
            429,
            f"Rate limit reached; the request fits in {admission.retry_after_s:.3f} s.",
            code="rate_limit_exceeded",
            headers=headers,
        )

    def _is_injected_error(self, number: int) -> bool:
        # By the number of the request, not its text: the same prompt may pass the next time.
        words = abs(self._settings.random_state), number
        return bool(np.random.default_rng(words).random() < self._settings.error_share)


def _is_loopback(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False
