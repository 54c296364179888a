"""Chat completions over HTTP, from any server that speaks OpenAI's dialect."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import astuple
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rddg_ray.errors import LLMError, TransientLLMError
from rddg_ray.exchange import CallId, Completion, Prompt, RateHeaders, Usage
from rddg_ray.llm.client import open_client, shown_address
from rddg_ray.llm.failures import Refusal
from rddg_ray.llm.keys import NO_KEY, checked_key
from rddg_ray.llm.rates import read_rates
from rddg_ray.llm.refusing import FailureReader, broken_answers, names_response_format

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletion

    _Response = tuple[ChatCompletion, RateHeaders | None]

_TOKEN_FIELDS = ("max_completion_tokens", "max_tokens")
CALL_HEADER = "x-rddg-call"


class OpenAIEndpoint:
    """A client of OpenAI, vLLM, Ollama, Groq, Mistral, OpenRouter or any server like them.

    It makes one request a call: waiting, repeating and limiting are wrappers' work. The
    openai client runs on its aiohttp transport, a third of the CPU of the default one.

    The cap on a reply's tokens goes out as `max_completion_tokens`, OpenAI's present name.
    Servers that know only the older `max_tokens` answer 400 or 422 and name the field; the
    request then goes out once more with the older name, which is kept once it works. A server
    that ignores unknown fields without a word also ignores the cap.

    A prompt with a schema goes out with `response_format` in OpenAI's form (strict). Servers
    without structured output refuse it, which is an error that names the setting, or ignore it.

    Args:
        base_url: Address without `/chat/completions`, such as `https://api.openai.com/v1`.
        model: The name the server knows the model by.
        api_key: The key, or None for a server that wants none.
        timeout_s: Seconds a call may take from sending to the last byte.
        send_call_header: Whether each request names its call in the header `x-rddg-call`, by
            which the embedded endpoint counts. No business of another's server.

    Raises:
        ConfigError: If the address is not one, or the key cannot be a key.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 120.0,
        send_call_header: bool = False,
    ) -> None:
        self._address = shown_address(base_url)
        self._model = model
        key = NO_KEY if api_key is None else checked_key(api_key, "api_key")
        self._timeout_s = timeout_s
        self._reader = FailureReader(self._address, model, key, timeout_s, "endpoint.timeout_s")
        self._send_call_header = send_call_header
        self._token_field = _TOKEN_FIELDS[0]
        self._client = open_client(base_url, key, timeout_s)

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the reply to a prompt.

        A reply without content (None) is the empty text; a refusal counts as `content_filter`.

        Raises:
            TransientLLMError: For 408, 409, 429, 5xx, broken connections and time-outs.
            PermanentLLMError: For every other refusal; the message says what to do.
        """
        started_s = time.perf_counter()
        headers = self._call_header(call)
        response, rate = await self._sent(prompt, headers)
        return self._completion(response, time.perf_counter() - started_s, rate)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _call_header(self, call: CallId | None) -> dict[str, str]:
        if call is None or not self._send_call_header:
            return {}
        # Names of tables may hold any character, a header may not.
        return {CALL_HEADER: "/".join(quote(str(part), safe="") for part in astuple(call))}

    async def _sent(self, prompt: Prompt, headers: dict[str, str]) -> _Response:
        import openai

        try:
            return await self._request(prompt, self._token_field, headers)
        except openai.APIStatusError as error:
            fallback = self._names_token_field(error, prompt)
            failure = None if fallback else self._failure(error, prompt)
        except broken_answers() as error:
            failure = self._failure(error, prompt)
        # Raised outside the handler: the openai error holds the request with its key, and an
        # error raised inside would carry it along as its context.
        if failure is not None:
            raise failure
        return await self._sent_with_older_field(prompt, headers)

    async def _sent_with_older_field(self, prompt: Prompt, headers: dict[str, str]) -> _Response:
        try:
            response = await self._request(prompt, _TOKEN_FIELDS[1], headers)
        except broken_answers() as error:
            failure = self._failure(error, prompt)
        else:
            self._token_field = _TOKEN_FIELDS[1]
            return response
        raise failure

    async def _request(
        self, prompt: Prompt, token_field: str, headers: dict[str, str]
    ) -> _Response:
        options: dict[str, Any] = {"extra_headers": headers} if headers else {}
        if prompt.temperature is not None:
            options["temperature"] = prompt.temperature
        if prompt.max_completion_tokens is not None:
            options[token_field] = prompt.max_completion_tokens
        if prompt.response_schema is not None:
            options["response_format"] = _response_format(prompt.response_schema)
        # The transport bounds each read; only this bounds the whole call.
        async with asyncio.timeout(self._timeout_s):
            raw = await self._client.chat.completions.with_raw_response.create(
                model=self._model, messages=_messages(prompt), **options
            )
        return raw.parse(), read_rates(raw.headers)

    def _names_token_field(self, error: openai.APIStatusError, prompt: Prompt) -> bool:
        sent = prompt.max_completion_tokens is not None and self._token_field == _TOKEN_FIELDS[0]
        # Servers name the field in different places of the body; the name is ours, not a phrase.
        named = _TOKEN_FIELDS[0] in f"{error.param} {error.body}"
        return sent and named and error.status_code in (400, 422)

    def _failure(self, error: Exception, prompt: Prompt) -> LLMError:
        import openai

        has_schema = prompt.response_schema is not None
        if isinstance(error, openai.APIStatusError) and has_schema and names_response_format(error):
            return self._reader.without_structured_output(error)
        return self._reader.failure(error)

    def _completion(
        self, response: Any, latency_s: float, rate: RateHeaders | None = None
    ) -> Completion:
        choices = getattr(response, "choices", None)
        if not choices:
            raise self._without_choice(response)
        message = choices[0].message
        reason = choices[0].finish_reason or "stop"
        refused = message.content is None and getattr(message, "refusal", None)
        return Completion(
            text=_text(message.content),
            model=_storable(str(response.model or self._model)),
            usage=_usage(response),
            finish_reason="content_filter" if refused else reason,
            latency_s=latency_s,
            rate=rate,
        )

    def _without_choice(self, response: Any) -> LLMError:
        # Routers report the failure of the server behind them in the body of a 200.
        told = getattr(response, "error", None)
        if isinstance(told, dict):
            code = told.get("code")
            status = code if isinstance(code, int) else 502
            return self._reader.refused(Refusal(status, str(told.get("message")), str(code)))
        if getattr(response, "object", None) == "chat.completion":
            return TransientLLMError(f"a completion without a choice from {self._address}", 200)
        # A proxy's page of a server that is away, or a wrong address: few attempts tell.
        return TransientLLMError(
            f"{self._address} answers, but not with a chat completion: check that "
            "endpoint.base_url ends where /chat/completions begins, usually in /v1",
            status=200,
        )


def _messages(prompt: Prompt) -> Any:
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    return [*system, {"role": "user", "content": prompt.user}]


def _response_format(schema: str) -> dict[str, Any]:
    content = {"name": "rows", "strict": True, "schema": json.loads(schema)}
    return {"type": "json_schema", "json_schema": content}


def _text(content: Any) -> str:
    if isinstance(content, list):  # parts, as servers of reasoning models send them
        parts = [part for part in content if isinstance(part, dict)]
        return _storable("".join(str(part.get("text") or "") for part in parts))
    return "" if content is None else _storable(str(content))


def _storable(text: str) -> str:
    # JSON can spell half a surrogate pair, which no file can hold: lost after it was paid for.
    return text.encode("utf-8", "replace").decode("utf-8")


def _usage(response: Any) -> Usage:
    usage = getattr(response, "usage", None)
    details = getattr(usage, "prompt_tokens_details", None)
    return Usage(
        n_calls=1,
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        cached_tokens=_count(details, "cached_tokens"),
    )


def _count(source: Any, name: str) -> int:
    value = getattr(source, name, None)
    return value if isinstance(value, int) else 0
