"""How many tokens a call will take, before it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rddg_ray.exchange import Completion, Phase, Prompt

_TOKENS_PER_CHARACTER = 0.25
_FIRST_REPLY_TOKENS = 500.0
_WEIGHT = 0.1


@dataclass
class _Seen:
    """Running means of one phase, in which a new call weighs a tenth, the first few more."""

    n_calls: int = 0
    tokens_per_character: float = _TOKENS_PER_CHARACTER
    reply_tokens: float = _FIRST_REPLY_TOKENS

    def see(self, tokens_per_character: float, reply_tokens: float) -> None:
        self.n_calls += 1
        weight = max(_WEIGHT, 1.0 / self.n_calls)
        self.tokens_per_character += weight * (tokens_per_character - self.tokens_per_character)
        self.reply_tokens += weight * (reply_tokens - self.reply_tokens)


class TokenEstimator:
    """Estimates tokens of calls from those seen in the same phase.

    A prompt has a token for each four characters until real counts were seen; a reply as many as
    replies had (500 before the first), at most the prompt's cap.
    """

    def __init__(self) -> None:
        self._seen: dict[Phase, _Seen] = {}

    def estimate(self, prompt: Prompt, reserves: bool) -> int:
        """Return the tokens of prompt and reply, at least 1.

        Args:
            prompt: What will be sent.
            reserves: Whether the server charges the cap of a reply, whatever its length; then
                that is the estimate for a prompt with a cap.
        """
        seen = self._seen.get(prompt.phase) or _Seen()
        reply_tokens, cap = seen.reply_tokens, prompt.max_completion_tokens
        if cap is not None:
            reply_tokens = cap if reserves else min(reply_tokens, cap)
        tokens = _n_characters(prompt) * seen.tokens_per_character + reply_tokens
        return max(1, math.ceil(tokens))

    def see(self, prompt: Prompt, completion: Completion) -> None:
        """Learn from a reply; one without counts teaches nothing."""
        usage = completion.usage
        if usage.prompt_tokens > 0 and _n_characters(prompt) > 0:
            seen = self._seen.setdefault(prompt.phase, _Seen())
            seen.see(usage.prompt_tokens / _n_characters(prompt), usage.completion_tokens)


def _n_characters(prompt: Prompt) -> int:
    return len(prompt.system) + len(prompt.user) + len(prompt.response_schema or "")
