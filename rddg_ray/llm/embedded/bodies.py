"""The JSON that the server answers with, in OpenAI's shape."""

from __future__ import annotations

import time
from typing import Any

from rddg_ray.llm.embedded.requests import ChatRequest, RequestError, n_tokens

MODEL = "embedded-sampler"
DESCRIPTION = (
    "A statistical sampler fitted to the rows shown in the prompt. Not a language model: what it "
    "writes is made by a sampler."
)


def completion_body(
    chat: ChatRequest, text: str, number: int, cached_tokens: int = 0
) -> dict[str, Any]:
    """Return a chat completion.

    Args:
        chat: What was asked; its cap cuts the text.
        text: The reply, whole.
        number: Of the request, from 0.
        cached_tokens: Tokens of the prompt that were in the cache.
    """
    finish_reason = "stop"
    if chat.max_tokens is not None and n_tokens(text) > chat.max_tokens:
        text, finish_reason = text[: 4 * chat.max_tokens], "length"
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
            "prompt_tokens": chat.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": chat.prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": cached_tokens},
        },
    }


def model_entry() -> dict[str, Any]:
    """Return the one entry of the list of models."""
    return {
        "id": MODEL,
        "object": "model",
        "created": 0,
        "owned_by": "rddg_ray",
        "description": DESCRIPTION,
    }


def check_model(name: str) -> None:
    """Refuse any model but the one there is.

    Raises:
        RequestError: With status 404.
    """
    if name != MODEL:
        raise RequestError(
            404,
            f"The model {name!r} does not exist; the only one here is {MODEL!r}.",
            code="model_not_found",
            param="model",
        )
