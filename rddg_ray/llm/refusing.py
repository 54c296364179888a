"""What an endpoint or the way to it answered with instead of a reply, as this package's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rddg_ray.errors import LLMError, PermanentLLMError, TransientLLMError
from rddg_ray.llm.failures import Refusal, retry_after_s, to_error
from rddg_ray.llm.keys import scrubbed
from rddg_ray.llm.rates import rate_fields

if TYPE_CHECKING:
    import openai

_MAX_REASON_CHARACTERS = 500


class FailureReader:
    """Turns what the openai client raises into errors that hold nothing of the request.

    Its errors are to be raised where the client's is no longer being handled: that one holds the
    request with its key, and would be carried along as their context.

    Args:
        address: As it may be shown.
        model: The name the server knows the model by.
        key: Removed from all words.
        timeout_s: Seconds a request may take.
        timeout_name: The setting that says so, for the message; none by default.
    """

    def __init__(
        self, address: str, model: str, key: str, timeout_s: float, timeout_name: str = ""
    ) -> None:
        self._address = address
        self._model = model
        self._key = key
        self._timeout_s = timeout_s
        self._timeout_name = timeout_name

    def failure(self, error: Exception) -> LLMError:
        """Return the error to raise for one of `broken_answers`."""
        import openai

        if isinstance(error, openai.APIStatusError):
            return self.refused(_refusal(error))
        root = _root(error)
        if isinstance(root, TimeoutError):
            setting = f" ({self._timeout_name})" if self._timeout_name else ""
            words = f"no complete answer within {self._timeout_s:g} s{setting}"
            return TransientLLMError(f"{words} from {self._address}")
        if isinstance(error, openai.APIConnectionError):
            reason = scrubbed(str(root) or type(root).__name__, self._key)[:_MAX_REASON_CHARACTERS]
            return TransientLLMError(
                f"cannot reach {self._address}: {reason}", reached=not _never_connected(error)
            )
        # What no client library can read may hold anything, the request's headers included.
        reason = scrubbed(str(error), self._key)[:_MAX_REASON_CHARACTERS]
        return TransientLLMError(f"unreadable answer from {self._address}: {reason}", 200)

    def refused(self, refusal: Refusal) -> LLMError:
        """Return the error to raise for a refusal in the endpoint's own words."""
        clean = Refusal(
            refusal.status,
            scrubbed(refusal.message, self._key),
            None if refusal.code is None else scrubbed(refusal.code, self._key),
            None if refusal.type is None else scrubbed(refusal.type, self._key),
            refusal.retry_after_s,
            refusal.rate_headers,
        )
        return to_error(clean, self._model, self._address)

    def without_structured_output(self, error: openai.APIStatusError) -> PermanentLLMError:
        """Return the error to raise where a server does not know `response_format`."""
        # Without a status, because that would make it a matter of this one prompt: the setting
        # is at fault, and with it every prompt of the run.
        refusal = _refusal(error)
        detail = scrubbed(refusal.message, self._key).strip()[:_MAX_REASON_CHARACTERS]
        return PermanentLLMError(
            "the endpoint does not take the JSON schema of a reply (response_format): set "
            f"generation.reply_format: csv ({refusal.status}) at {self._address}, model "
            f"{self._model!r}: {detail}"
        )


def broken_answers() -> tuple[type[Exception], ...]:
    """Return what the client raises where no usable answer came."""
    import aiohttp
    import openai

    # The client lets its transport's errors through where the answer is not HTTP at all.
    return openai.OpenAIError, aiohttp.ClientError, TimeoutError, ValueError


def names_response_format(error: openai.APIStatusError) -> bool:
    """Return whether a refusal is about the schema of the reply that was asked for."""
    told = f"{error.param} {error.body}"
    named = "response_format" in told or "json_schema" in told
    # Some servers send the whole request back with any refusal.
    by_itself = error.code not in ("context_length_exceeded", "content_filter")
    return named and by_itself and error.status_code in (400, 422)


def _refusal(error: openai.APIStatusError) -> Refusal:
    body = error.body if isinstance(error.body, dict) else {}
    message = body.get("message") or error.message
    return Refusal(
        status=error.status_code,
        message=str(message),
        code=error.code,
        type=error.type if isinstance(error.type, str) else None,
        retry_after_s=retry_after_s(error.response.headers),
        rate_headers=rate_fields(error.response.headers),
    )


def _never_connected(error: BaseException) -> bool:
    import aiohttp

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            return True
        cause = cause.__cause__
    return False


def _root(error: BaseException) -> BaseException:
    # The transport calls a refused connection a time-out; the first cause tells them apart.
    while error.__cause__ is not None and not isinstance(error, TimeoutError):
        error = error.__cause__
    return error
