"""Checks of where completions come from: address, key, model, and one call where it is asked."""

from __future__ import annotations

import asyncio
import difflib
import os
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from urllib.parse import urlsplit

from rddg_ray.config import EndpointSettings
from rddg_ray.errors import ConfigError, LLMError, PermanentLLMError, RddgError, TransientLLMError
from rddg_ray.exchange import Completion, Prompt, RateHeaders
from rddg_ray.llm.client import is_loopback, shown_address
from rddg_ray.llm.connection import connect
from rddg_ray.llm.embedded import MODEL, serve_in_thread
from rddg_ray.llm.keys import resolve_key
from rddg_ray.llm.probing import Listing, list_models
from rddg_ray.llm.replay import read_recordings
from rddg_ray.runtime.doctor.record import Check, failed, ok, warning

_KEY_STATUSES = (401, 402, 403)
_OTHERS_MAY_READ = 0o077
_CALL = Prompt(system="", user="Answer with OK.", phase="generation", max_completion_tokens=16)
_AWAY = (
    "start the server, or check endpoint.base_url, the name's resolution, proxy and firewall; "
    "runs wait and try again, and end with code 75"
)
_NO_ENDPOINT = (
    "check that endpoint.base_url ends where /chat/completions begins, usually in /v1; --call "
    "finds out for sure"
)


@dataclass(frozen=True)
class EndpointFindings:
    """What was found of an endpoint.

    Attributes:
        checks: Of address, key, model, and the call.
        listing: Its answer to the question for its models; None where it gave none.
        rate: Limits that the call's reply told of, or None.
        is_called: Whether a call was answered.
    """

    checks: tuple[Check, ...]
    listing: Listing | None = None
    rate: RateHeaders | None = None
    is_called: bool = False


def examine_endpoint(settings: EndpointSettings, *, make_call: bool = False) -> EndpointFindings:
    """Look at an endpoint.

    Nothing is paid for unless a call is asked for. The embedded sampler without an address is
    started on the loopback address for the time of the checks.

    Args:
        settings: The endpoint's.
        make_call: Whether to make one call of a few tokens.
    """
    if settings.kind == "replay":
        return EndpointFindings((_recordings(settings),))
    with ExitStack() as stack:
        started = settings.kind == "embedded" and settings.base_url is None
        if started:
            try:
                server = stack.enter_context(serve_in_thread(settings.embedded))
            except RddgError as error:
                return EndpointFindings((failed("endpoint", error),))
            settings = settings.model_copy(update={"base_url": server.base_url})
        return _examined(settings, make_call=make_call, started=started)


def _examined(settings: EndpointSettings, *, make_call: bool, started: bool) -> EndpointFindings:
    try:
        _check_address(str(settings.base_url))
    except ConfigError as error:
        return EndpointFindings((failed("endpoint", error),))
    try:
        resolve_key(settings)
    except ConfigError as error:
        return EndpointFindings((failed("key", error),))
    listing: Listing | RddgError
    try:
        listing = asyncio.run(list_models(settings))
    except RddgError as error:
        listing = error
    checks = [
        _address(settings, listing, started=started, is_called=make_call),
        _key(settings, listing),
        *_model(settings, listing),
    ]
    answer = listing if isinstance(listing, Listing) else None
    if not make_call or any(check.status == "failed" for check in checks):
        return EndpointFindings(tuple(checks), answer)
    check, completion = _call(settings)
    rate = None if completion is None else completion.rate
    return EndpointFindings((*checks, check), answer, rate, completion is not None)


def _check_address(base_url: str) -> None:
    address = shown_address(base_url)
    if "@" in urlsplit(base_url).netloc:
        raise ConfigError(
            f"endpoint.base_url: user name and password in the address ({address}) cannot be sent "
            "beside a key, and would be kept on disk; leave them out"
        )


def _recordings(settings: EndpointSettings) -> Check:
    try:
        n_replies = len(read_recordings(str(settings.replay_path)))
    except RddgError as error:
        return failed("endpoint", error)
    figure = f"{n_replies} recorded replies in {settings.replay_path}; no key is needed"
    return ok("endpoint", figure, kind="replay", n_replies=n_replies)


def _address(
    settings: EndpointSettings,
    listing: Listing | RddgError,
    *,
    started: bool,
    is_called: bool,
) -> Check:
    address = shown_address(str(settings.base_url))
    if isinstance(listing, TransientLLMError):
        return failed("endpoint", listing, _AWAY, address=address)
    figure = address
    if settings.kind == "embedded":
        figure = f"the embedded sampler, not a language model, at {address}"
    if started:
        figure += " (started for this check)"
    if not isinstance(listing, Listing):
        # A refusal comes from a server that is there; what it refused is the next checks' matter.
        return ok("endpoint", f"{figure} answered with a refusal", address=address)
    figure += f" answered in {1000 * listing.latency_s:.0f} ms"
    if listing.is_page:
        return _page(figure, listing, is_called=is_called)
    if urlsplit(str(settings.base_url)).query:
        advice = "its query is kept on disk with the settings: name a key by api_key_env instead"
        return warning("endpoint", figure, advice, address=address)
    return ok("endpoint", figure, address=address, latency_s=listing.latency_s)


def _page(figure: str, listing: Listing, *, is_called: bool) -> Check:
    figure += f", but with a page for people (HTML, {listing.status})"
    if listing.status != 200 or is_called:
        return warning("endpoint", figure, _NO_ENDPOINT)
    return failed("endpoint", ConfigError(f"endpoint.base_url: {figure}"), _NO_ENDPOINT)


def _key(settings: EndpointSettings, listing: Listing | RddgError) -> Check:
    if isinstance(listing, PermanentLLMError) and listing.status in _KEY_STATUSES:
        return failed("key", listing, _key_advice(settings))
    if settings.api_key_env is not None:
        figure = f"from the environment variable {settings.api_key_env}"
    elif settings.api_key_file is not None:
        path = settings.api_key_file.expanduser()
        mode = path.stat().st_mode & 0o777
        figure = f"from the file {path} (mode {mode:04o})"
        if os.name == "posix" and mode & _OTHERS_MAY_READ:
            return warning("key", figure, f"others may read it: chmod 600 {path}", mode=mode)
    else:
        return ok("key", "none named, none sent", source=None)
    url = urlsplit(str(settings.base_url))
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        return warning("key", figure, "it crosses the network in the clear: use https")
    return ok("key", figure, source=settings.api_key_env or str(settings.api_key_file))


def _key_advice(settings: EndpointSettings) -> str:
    if settings.api_key_env is None and settings.api_key_file is None:
        return "none was sent: name one by endpoint.api_key_env or endpoint.api_key_file"
    return ""


def _model(settings: EndpointSettings, listing: Listing | RddgError) -> list[Check]:
    wanted = settings.model or MODEL
    if isinstance(listing, PermanentLLMError) and listing.status not in _KEY_STATUSES:
        advice = "the list of models was refused; --call finds out whether calls are too"
        return [warning("model", str(listing), advice)]
    if isinstance(listing, RddgError):
        return []
    if listing.models is None:
        advice = f"nothing is wrong where the server has no list; else {_NO_ENDPOINT}"
        figure = f"{wanted}: the server lists no models ({listing.status})"
        return [warning("model", figure, advice, model=wanted)]
    if wanted in listing.models:
        figure = f"{wanted}, one of {len(listing.models)} listed"
        return [ok("model", figure, model=wanted, n_listed=len(listing.models))]
    close = difflib.get_close_matches(wanted, listing.models, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    figure = f"{wanted} is not among the {len(listing.models)} models listed"
    advice = f"check endpoint.model{hint} Lists may leave out other names of a model: --call"
    return [warning("model", figure, advice, model=wanted)]


def _call(settings: EndpointSettings) -> tuple[Check, Completion | None]:
    async def complete() -> Completion:
        async with aclosing(connect(settings)) as endpoint:
            return await endpoint.complete(_CALL)

    try:
        completion = asyncio.run(complete())
    except RddgError as error:
        return failed("call", error, _AWAY if _is_away(error) else ""), None
    usage = completion.usage
    figure = (
        f"{completion.model} answered in {completion.latency_s:.2f} s with "
        f"{usage.prompt_tokens} + {usage.completion_tokens} tokens"
    )
    data = {
        "latency_s": completion.latency_s,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "finish_reason": completion.finish_reason,
    }
    if usage.prompt_tokens == 0:
        advice = "the endpoint counts no tokens: caps on tokens and money go by bounds instead"
        return warning("call", figure, advice, **data), completion
    return ok("call", figure, **data), completion


def _is_away(error: RddgError) -> bool:
    return isinstance(error, LLMError) and error.status is None
