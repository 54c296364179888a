"""What a call may cost in tokens at most, before it is made."""

from __future__ import annotations

from rddg_ray.exchange import Prompt

# Room for what a chat template puts around the messages.
_TEMPLATE_TOKENS = 64

UNCAPPED_COMPLETION_TOKENS = 4096
"""Assumed of a reply without a cap as long as too few were seen to learn from."""


def prompt_tokens_bound(prompt: Prompt) -> int:
    """Return a number of tokens that a prompt does not exceed.

    Every token of a byte-level or byte-fallback vocabulary stands for one byte or more, so the
    bytes in UTF-8 are a bound for any model; numbers come near it (a token a digit), English
    needs a quarter. Endpoints show a model the schema of its reply, so that counts too.
    """
    n_bytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in _texts(prompt))
    return n_bytes + _TEMPLATE_TOKENS


def completion_bound(prompt: Prompt) -> int:
    """Return a reply's cap in tokens, or `UNCAPPED_COMPLETION_TOKENS` where it has none."""
    return prompt.max_completion_tokens or UNCAPPED_COMPLETION_TOKENS


def _texts(prompt: Prompt) -> tuple[str, str, str]:
    return prompt.system, prompt.user, prompt.response_schema or ""
