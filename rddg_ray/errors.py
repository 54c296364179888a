"""The error tree: one class for each party who must act.

Every class takes its message first and gives every other field a default, because Ray
rebuilds an error from its arguments when it crosses a process border.
"""

from __future__ import annotations

from collections.abc import Mapping


class RddgError(Exception):
    """Base of every error this package raises on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own reduction forgets keyword fields; the instance dictionary keeps them.
        return (type(self), self.args, self.__dict__ or None)


class ConfigError(RddgError):
    """The user must edit the settings; the message names the file and the key."""


class DataError(RddgError):
    """The user must fix the table; the message names the column and shows a value."""


class LLMError(RddgError):
    """A call to the endpoint failed.

    Attributes:
        status: HTTP status code, or None where no response came.
    """

    def __init__(self, message: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TransientLLMError(LLMError):
    """The call may succeed later: a limit, a time-out, a server's own failure.

    Attributes:
        retry_after_s: Seconds the server asked to wait, or None.
        reached: False where the request surely never reached the endpoint, so that it cannot
            have been paid for.
        rate_headers: The response's `x-ratelimit-*` headers by lower-case name; empty for none.
    """

    def __init__(
        self,
        message: str = "",
        status: int | None = None,
        retry_after_s: float | None = None,
        reached: bool = True,
        rate_headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, status)
        self.retry_after_s = retry_after_s
        self.reached = reached
        self.rate_headers = dict(rate_headers or {})


class PermanentLLMError(LLMError):
    """The call will not succeed as it is: key, quota, model name, prompt.

    Attributes:
        code: The endpoint's own error code, such as `invalid_api_key`, or None.
    """

    def __init__(
        self, message: str = "", status: int | None = None, code: str | None = None
    ) -> None:
        super().__init__(message, status)
        self.code = code


class BudgetError(RddgError):
    """A limit on calls, tokens or money is reached; what is committed stays."""


class StoreError(RddgError):
    """The run directory is broken or belongs to another run."""
