"""Amounts as a person reads them."""

from __future__ import annotations


def usd(amount: float) -> str:
    """Return an amount of US dollars with more digits the smaller it is: two, four or six."""
    n_digits = 2 if amount >= 1 else 4 if amount >= 0.01 or amount == 0 else 6
    return f"US${amount:,.{n_digits}f}"


def duration(seconds: float) -> str:
    """Return a span of time in the two units that matter."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
