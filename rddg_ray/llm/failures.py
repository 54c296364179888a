"""What an endpoint's refusal means: wait and try again, or change something first."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from rddg_ray.errors import LLMError, PermanentLLMError, TransientLLMError

_TRANSIENT_STATUSES = frozenset({408, 409, 425, 429})
_MAX_DETAIL_CHARACTERS = 500

# Codes that come with status 429 (and others) where waiting does not help: money does.
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})

# Told by what stands before the model (or by a server that gave up waiting) once the request had
# reached it: the model may have worked, and its owner may charge. 520 to 527 are Cloudflare's; 521,
# 523, 525 and 526 of them say that no connection came about. 598 and 599 are proxies' time-outs.
_PERHAPS_PAID_STATUSES = frozenset({200, 408, 502, 504, 520, 522, 524, 527, 598, 599})

OUTCOME_UNKNOWN = "outcome_unknown"
"""Our own code of a call that may have been paid for and is therefore not asked again."""

# Refusals of one prompt, not of the run: another prompt may well pass.
_PROMPT_STATUSES = frozenset({400, 413, 422})
_PROMPT_CODES = frozenset(
    {"context_length_exceeded", "content_filter", "content_policy_violation", OUTCOME_UNKNOWN}
)

_ADVICE_BY_CODE = {
    "context_length_exceeded": "the prompt is longer than the model reads: lower "
    "generation.reference_rows_per_class or generation.relation_rows_per_class, or take a model "
    "with a longer context",
    "content_filter": "the endpoint's content filter refused the prompt: look at the column "
    "names, descriptions and values it shows",
    "content_policy_violation": "the endpoint's content filter refused the prompt: look at the "
    "column names, descriptions and values it shows",
}
_ADVICE_BY_STATUS = {
    400: "the endpoint does not accept the request",
    401: "the endpoint refused the key: check the variable or file that endpoint.api_key_env or "
    "endpoint.api_key_file names, and that the key belongs to this endpoint",
    402: "the endpoint's account has no credit left: top it up or use another key",
    403: "the endpoint does not let this key do that: check the key's rights, the model and the "
    "region",
    404: "the endpoint does not know the model or the address: check endpoint.model and that "
    "endpoint.base_url ends where /chat/completions begins, usually in /v1",
    413: "the prompt is larger than the endpoint accepts: lower "
    "generation.reference_rows_per_class or generation.relation_rows_per_class",
    422: "the endpoint does not accept a field of the request",
}
_QUOTA_ADVICE = "the endpoint's quota is used up: check plan and billing, or use another key"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as the endpoint told it.

    Attributes:
        status: HTTP status, or the code in the body where an error came with status 200.
        message: The endpoint's words, free of the key.
        code: Its error code, or None.
        type: Its error type, or None.
        retry_after_s: Seconds it asked to wait, or None.
        rate_headers: Its `x-ratelimit-*` headers by lower-case name.
    """

    status: int
    message: str
    code: str | None = None
    type: str | None = None
    retry_after_s: float | None = None
    rate_headers: Mapping[str, str] = field(default_factory=dict)


def to_error(refusal: Refusal, model: str, address: str) -> LLMError:
    """Return the error to raise; its message says what the user can do."""
    quota = bool(_QUOTA_CODES & {refusal.code, refusal.type})
    place = f"{address}, model {model!r}"
    detail = refusal.message.strip()[:_MAX_DETAIL_CHARACTERS]
    if not quota and (refusal.status in _TRANSIENT_STATUSES or refusal.status >= 500):
        words = "too many requests" if refusal.status == 429 else "the endpoint failed"
        return TransientLLMError(
            f"{words} ({refusal.status}) at {place}: {detail}",
            status=refusal.status,
            retry_after_s=refusal.retry_after_s,
            rate_headers=refusal.rate_headers,
        )
    advice = _QUOTA_ADVICE if quota else _advice(refusal)
    return PermanentLLMError(
        f"{advice} ({refusal.status}) at {place}: {detail}",
        status=refusal.status,
        code=refusal.code or refusal.type,
    )


def concerns_prompt(error: PermanentLLMError) -> bool:
    """Return whether a refusal lies in the one prompt, so that the run may go on without it."""
    return error.code in _PROMPT_CODES or error.status in _PROMPT_STATUSES


def is_quota(status: int | None, code: str | None) -> bool:
    """Return whether a refusal is about money on the account, by status or error code."""
    return status == 402 or code in _QUOTA_CODES


def may_be_paid(error: LLMError) -> bool:
    """Return whether the endpoint may charge for a call that failed this way.

    It charges nothing for what it answered with an error of its own. Where no answer came, one
    that nobody can read, or a gateway's word that it gave up waiting, it may have done the work.
    """
    if isinstance(error, PermanentLLMError) and error.code == OUTCOME_UNKNOWN:
        return True
    if error.status is not None:
        return error.status in _PERHAPS_PAID_STATUSES
    return isinstance(error, TransientLLMError) and error.reached


def _advice(refusal: Refusal) -> str:
    by_code = _ADVICE_BY_CODE.get(refusal.code or "")
    return by_code or _ADVICE_BY_STATUS.get(refusal.status, "the endpoint refused the request")


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """Return the seconds a response asks to wait, or None where it does not say.

    `retry-after-ms` (OpenAI, Azure) is more exact and so read first; `Retry-After` is a number
    of seconds or an HTTP date (RFC 9110, section 10.2.3). A time in the past is 0.

    Args:
        headers: Response headers, with names that match in any case.
        now_s: POSIX seconds to count a date from; the clock's by default.
    """
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        seconds = _number(headers.get(name))
        if seconds is not None:
            return max(0.0, seconds * scale)
    date = email.utils.parsedate_tz(headers.get("retry-after") or "")
    if date is None:
        return None
    try:
        moment_s = email.utils.mktime_tz(date)
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment_s - (time.time() if now_s is None else now_s))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
