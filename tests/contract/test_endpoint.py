"""What every endpoint does, whatever it is made of."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rddg_ray.config import BudgetSettings, EmbeddedSettings, EndpointSettings
from rddg_ray.errors import PermanentLLMError
from rddg_ray.exchange import CallId, Completion, Endpoint, Prompt
from rddg_ray.llm import (
    Breaker,
    BreakingEndpoint,
    BudgetedEndpoint,
    Journal,
    JournaledEndpoint,
    LimitedEndpoint,
    LocalLedger,
    LocalPacer,
    MarkingEndpoint,
    OpenAIEndpoint,
    RecordingEndpoint,
    ReplayEndpoint,
    RetryingEndpoint,
    stacked,
)
from rddg_ray.llm.embedded import EmbeddedServer
from rddg_ray.llm.handover import HandoverEndpoint

PROMPT = Prompt("Be brief.", "x,y\nA.\na,1\na,2\n\nAnalyse the relations.", "relations")
Opened = Callable[[Path], contextlib.AbstractAsyncContextManager[Endpoint]]


@contextlib.asynccontextmanager
async def client(path: Path) -> AsyncIterator[Endpoint]:
    server = EmbeddedServer(EmbeddedSettings())
    await server.start()
    try:
        yield OpenAIEndpoint(server.base_url, "embedded-sampler")
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def unauthorised(path: Path) -> AsyncIterator[Endpoint]:
    server = EmbeddedServer(EmbeddedSettings(), api_key="abc")
    await server.start()
    try:
        yield OpenAIEndpoint(server.base_url, "embedded-sampler")
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def replay(path: Path) -> AsyncIterator[Endpoint]:
    file = path / "calls.jsonl"
    file.write_text(json.dumps({"prompt": PROMPT.user, "reply": "two rows", "phase": "relations"}))
    yield ReplayEndpoint.from_file(file)


def wrapped(wrap: Callable[[Endpoint, Path], Endpoint], opened: Opened) -> Opened:
    @contextlib.asynccontextmanager
    async def open_wrapped(path: Path) -> AsyncIterator[Endpoint]:
        async with opened(path) as inner:
            yield wrap(inner, path)

    return open_wrapped


def journal(path: Path) -> Journal:
    return Journal(path / "journal", "writer", "fingerprint")


def whole_stack(inner: Endpoint, path: Path) -> Endpoint:
    budget = BudgetSettings(
        max_cost_usd=1, prompt_usd_per_million=1, completion_usd_per_million=1, max_calls=100
    )
    settings = EndpointSettings(budget=budget)
    return stacked(inner, settings, journal(path), LocalLedger(budget))


WRAPPERS: dict[str, Callable[[Endpoint, Path], Endpoint]] = {
    "retrying": lambda inner, path: RetryingEndpoint(inner, 2),
    "one at a time": lambda inner, path: LimitedEndpoint(inner, LocalPacer(), max_concurrency=1),
    "paced": lambda inner, path: LimitedEndpoint(inner, LocalPacer()),
    "journaled": lambda inner, path: JournaledEndpoint(inner, journal(path)),
    "marking": lambda inner, path: MarkingEndpoint(inner, journal(path)),
    "budgeted": lambda inner, path: BudgetedEndpoint(inner, LocalLedger(BudgetSettings())),
    "handing over": lambda inner, path: HandoverEndpoint(inner),
    "breaking": lambda inner, path: BreakingEndpoint(inner, Breaker()),
    "whole stack": whole_stack,
    "recording": lambda inner, path: RecordingEndpoint(inner, path / "recorded.jsonl"),
    "stacked": lambda inner, path: RecordingEndpoint(
        RetryingEndpoint(LimitedEndpoint(inner, LocalPacer(), max_concurrency=2), 2),
        path / "recorded.jsonl",
    ),
}
ENDPOINTS = (
    {"client": client, "replay": replay}
    | {name: wrapped(wrap, client) for name, wrap in WRAPPERS.items()}
    | {f"{name} on replay": wrapped(wrap, replay) for name, wrap in WRAPPERS.items()}
)
REFUSING = {"client": unauthorised} | {
    name: wrapped(wrap, unauthorised) for name, wrap in WRAPPERS.items()
}


@contextlib.asynccontextmanager
async def through_caller(path: Path, api_key: str | None = None) -> AsyncIterator[Endpoint]:
    """Open the endpoint of a process without a key, on a cluster: the Caller of its node."""
    import ray

    from rddg_ray.runtime.finding import find_callers
    from rddg_ray.runtime.limits import start_limiter
    from rddg_ray.runtime.opening import CallPlan
    from rddg_ray.runtime.remote import RemoteEndpoint

    server = EmbeddedServer(EmbeddedSettings(), api_key=api_key)
    await server.start()
    settings = EndpointSettings(base_url=server.base_url)
    plan = CallPlan(settings, path / "journal", "fingerprint", 1)
    limiter = start_limiter(plan)
    try:
        yield RemoteEndpoint(plan)
    finally:
        for found in find_callers(plan.run):
            ray.kill(found.actor, no_restart=True)
        ray.kill(limiter)
        await server.stop()


ENDPOINTS["caller"] = through_caller
REFUSING["caller"] = partial(through_caller, api_key="abc")


@pytest.fixture(scope="module")
def on_ray() -> Iterator[None]:
    from rddg_ray.runtime.cluster import ray_session

    with ray_session(num_cpus=1):
        yield


@pytest.fixture(autouse=True)
def _ray_where_it_is_needed(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("ray"):
        request.getfixturevalue("on_ray")


def each(opened: dict[str, Opened]) -> list[Any]:
    return [pytest.param(n, marks=pytest.mark.ray if n == "caller" else ()) for n in opened]


def with_endpoint(opened: Opened, path: Path, use):
    async def main():
        async with opened(path) as endpoint:
            try:
                return await use(endpoint)
            finally:
                await endpoint.aclose()

    return asyncio.run(main())


@pytest.mark.parametrize("name", each(ENDPOINTS))
def test_a_call_returns_a_whole_completion(name, tmp_path):
    async def use(endpoint):
        return await endpoint.complete(PROMPT, CallId("table", "rddg/g0", 0, 0))

    completion = with_endpoint(ENDPOINTS[name], tmp_path, use)
    assert isinstance(completion, Completion)
    assert completion.text
    assert completion.model
    assert completion.usage.n_calls == 1
    assert completion.finish_reason == "stop"
    assert completion.latency_s >= 0


@pytest.mark.parametrize("name", each(ENDPOINTS))
def test_the_name_of_a_call_is_optional_and_calls_may_overlap(name, tmp_path):
    async def use(endpoint):
        return await asyncio.gather(*(endpoint.complete(PROMPT) for _ in range(5)))

    completions = with_endpoint(ENDPOINTS[name], tmp_path, use)
    assert len({completion.text for completion in completions}) == 1


@pytest.mark.parametrize("name", each(ENDPOINTS))
def test_closing_twice_is_harmless(name, tmp_path):
    async def use(endpoint):
        await endpoint.complete(PROMPT)
        await endpoint.aclose()
        await endpoint.aclose()
        return True

    assert with_endpoint(ENDPOINTS[name], tmp_path, use)


@pytest.mark.parametrize("name", each(REFUSING))
def test_a_refusal_is_a_permanent_error_with_status_and_code(name, tmp_path):
    async def use(endpoint):
        await endpoint.complete(PROMPT)

    with pytest.raises(PermanentLLMError) as caught:
        with_endpoint(REFUSING[name], tmp_path, use)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


@pytest.mark.parametrize("name", each(ENDPOINTS))
def test_a_named_call_asked_again_and_again_gets_one_answer(name, tmp_path):
    async def use(endpoint):
        call = CallId("table", "rddg/g0", 0, 0)
        together = await asyncio.gather(*(endpoint.complete(PROMPT, call) for _ in range(4)))
        return [*together, await endpoint.complete(PROMPT, call)]

    completions = with_endpoint(ENDPOINTS[name], tmp_path, use)
    assert len({completion.text for completion in completions}) == 1


@pytest.mark.parametrize("name", each(REFUSING))
def test_an_endpoint_that_refused_a_key_refuses_again_in_the_same_words(name, tmp_path):
    async def use(endpoint):
        call = CallId("table", "rddg/g0", 0, 0)
        return await asyncio.gather(
            *(endpoint.complete(PROMPT, call) for _ in range(2)), return_exceptions=True
        )

    errors = with_endpoint(REFUSING[name], tmp_path, use)
    assert [type(error) for error in errors] == [PermanentLLMError] * 2
    assert len({str(error) for error in errors}) == 1
