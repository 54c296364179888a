"""Reading `x-ratelimit-*` headers, and what they prove about a limit's period."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from rddg_ray.exchange import RateHeaders

_PREFIX = "x-ratelimit-"
_NAMES = tuple(
    f"{_PREFIX}{figure}-{kind}"
    for figure in ("limit", "remaining", "reset")
    for kind in ("requests", "tokens")
)
# As Go prints durations: 6m0s, 2m59.56s, 20ms, 1h0m0s.
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs)")
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_LONGEST_MINUTE_S = 63.0


def rate_fields(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that tell of limits, by lower-case name.

    Args:
        headers: Response headers, with names that match in any case.
    """
    found = {name: headers.get(name) for name in _NAMES}
    return {name: value for name, value in found.items() if value is not None}


def read_rates(headers: Mapping[str, str]) -> RateHeaders | None:
    """Return what a response tells of its endpoint's limits, or None where it tells nothing.

    A value that is no number, or no duration, counts as absent.

    Args:
        headers: Response headers, with names that match in any case.
    """
    fields = rate_fields(headers)
    if not fields:
        return None
    return RateHeaders(
        _whole(fields.get(f"{_PREFIX}limit-requests")),
        _whole(fields.get(f"{_PREFIX}limit-tokens")),
        _whole(fields.get(f"{_PREFIX}remaining-requests")),
        _whole(fields.get(f"{_PREFIX}remaining-tokens")),
        duration_s(fields.get(f"{_PREFIX}reset-requests")),
        duration_s(fields.get(f"{_PREFIX}reset-tokens")),
    )


def per_minute(limit: int | None, reset_s: float | None) -> int | None:
    """Return a limit that can be one of a minute, else None.

    Some servers report requests a day under the same name. A limit of a minute is never more
    than a minute away from its reset, so a longer reset proves another period; such a quota is
    no pace to hold and is left to the server's refusals.

    Args:
        limit: The limit as reported; 0 and less say nothing.
        reset_s: Seconds until it is whole again, or None where the server does not tell.
    """
    if limit is None or limit < 1:
        return None
    return limit if reset_s is None or reset_s <= _LONGEST_MINUTE_S else None


def duration_s(text: str | None) -> float | None:
    """Return a duration such as `6m0s`, `20ms` or `1.5` (seconds) in seconds, or None."""
    if not text:
        return None
    text = text.strip()
    number = _number(text)
    if number is not None:
        return max(0.0, number)
    parts = _DURATION.findall(text)
    if not parts or "".join(value + unit for value, unit in parts) != text:
        return None
    return sum(float(value) * _UNIT_S[unit] for value, unit in parts)


def _whole(text: str | None) -> int | None:
    number = _number(text or "")
    return None if number is None else math.floor(number)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
