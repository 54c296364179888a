"""Reading a chat request, and refusing it in OpenAI's shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rddg_ray.llm.embedded.structured import schema_fault


class RequestError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: HTTP status of the answer.
        code: OpenAI's error code, or None.
        param: The field at fault, or None.
        headers: Headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the answer's JSON."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        kind = "requests" if self.code == "rate_limit_exceeded" else kind
        fields = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": fields}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """The fields of a chat request that the embedded endpoint reads.

    Attributes:
        model: The model asked for.
        messages: Role and text of each message.
        max_tokens: Cap on the reply's tokens, or None.
        schema: JSON schema that the reply must follow, or None.
    """

    model: str
    messages: tuple[tuple[str, str], ...]
    max_tokens: int | None = None
    schema: dict[str, Any] | None = None

    @property
    def shown(self) -> tuple[str, ...]:
        """Return all that a model is shown, in order: the schema comes first, as at OpenAI."""
        schema = () if self.schema is None else (json.dumps(self.schema, ensure_ascii=False),)
        return (*schema, *(text for _, text in self.messages))

    @property
    def prompt_tokens(self) -> int:
        """Return the estimated tokens of the schema and all messages."""
        return sum(map(n_tokens, self.shown))


def n_tokens(text: str) -> int:
    """Return the estimated tokens of a text: one for each four characters begun."""
    return -(-len(text) // 4)


def read_request(body: bytes) -> ChatRequest:
    """Read a chat request.

    Raises:
        RequestError: If it is not one, or asks for what this server does not do.
    """
    try:
        content = json.loads(body)
    except ValueError as error:
        raise RequestError(400, f"The body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise RequestError(400, "The body is not a JSON object.")
    if content.get("stream"):
        raise _unsupported("stream", "streaming")
    if content.get("n") not in (None, 1):
        raise _unsupported("n", "more than one choice")
    if not isinstance(content.get("model"), str):
        raise RequestError(400, "You must provide a model parameter.", param="model")
    messages = _messages(content.get("messages"))
    return ChatRequest(content["model"], messages, _cap(content), _schema(content))


def _unsupported(param: str, what: str) -> RequestError:
    message = f"The embedded endpoint does not do {what}."
    return RequestError(400, message, code="unsupported_value", param=param)


def _cap(content: dict[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = content.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise RequestError(400, f"{name} must be a whole number of at least 1.", param=name)
        return value
    return None


def _schema(content: dict[str, Any]) -> dict[str, Any] | None:
    wanted = content.get("response_format")
    if wanted is None or wanted == {"type": "text"}:
        return None
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        raise _unsupported("response_format", "reply formats other than text and json_schema")
    told = wanted.get("json_schema")
    schema = told.get("schema") if isinstance(told, dict) else None
    if (fault := schema_fault(schema)) is not None:
        message = f"Invalid schema for response_format: {fault}"
        raise RequestError(400, message, param="response_format")
    return schema


def _messages(messages: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(messages, list) or not messages:
        raise RequestError(
            400, "messages must be a list with at least one entry.", param="messages"
        )
    return tuple(_message(message, f"messages[{i}]") for i, message in enumerate(messages))


def _message(message: Any, place: str) -> tuple[str, str]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise RequestError(400, f"{place} must have a role.", param=place)
    content = message.get("content")
    if isinstance(content, list):  # parts, as some clients send them
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str))
    if not isinstance(content, str):
        raise RequestError(400, f"{place}.content must be text.", param=f"{place}.content")
    return message["role"], content
