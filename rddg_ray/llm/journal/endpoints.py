"""The journal's two wrappers: replies on record outside, attempts on record inside."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rddg_ray.errors import LLMError, PermanentLLMError, TransientLLMError
from rddg_ray.exchange import CallId, Completion, Endpoint, Prompt
from rddg_ray.llm.failures import OUTCOME_UNKNOWN, concerns_prompt, may_be_paid
from rddg_ray.llm.journal.reading import other_prompt
from rddg_ray.llm.journal.writing import Journal


@dataclass
class _Flight:
    """A call under way, and how many wait for it."""

    prompt: Prompt
    task: asyncio.Task[Completion]
    n_waiting: int = 0


class JournaledEndpoint:
    """Answers from the journal where it can, and records every other reply before giving it.

    Two that ask the same call at once share one; the call is given up only when none of them
    waits any more. A refusal that lies in the prompt itself (content filter, context length)
    is recorded as a dead letter and not asked again until it is revived.

    Args:
        inner: Where calls without a reply on record go.
        journal: Where replies are recorded.
    """

    def __init__(self, inner: Endpoint, journal: Journal) -> None:
        self._inner = inner
        self._journal = journal
        self._flights: dict[str, _Flight] = {}

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the reply on record or a new one that is on record now; see `Endpoint`.

        Raises:
            PermanentLLMError: Also for a call that was refused for good before, or that is held
                because it may have been paid for already.
            StoreError: If the call is on record with another prompt or cannot be recorded.
        """
        if call is None:
            return await self._inner.complete(prompt)
        return self._journal.get(prompt, call) or await self._shared(prompt, call)

    async def aclose(self) -> None:
        """Close the inner endpoint and the journal's file."""
        await self._inner.aclose()
        self._journal.close()

    async def _shared(self, prompt: Prompt, call: CallId) -> Completion:
        key = self._journal.key(call)
        flight = self._flights.get(key)
        if flight is None:
            task = asyncio.create_task(self._asked(prompt, call))
            flight = self._flights[key] = _Flight(prompt, task)
            task.add_done_callback(lambda done: self._landed(key, done))
        elif flight.prompt != prompt:
            raise other_prompt(self._journal.folder, call)
        flight.n_waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.n_waiting -= 1
            if not flight.n_waiting:
                flight.task.cancel()  # without effect on one that is done

    def _landed(self, key: str, task: asyncio.Task[Completion]) -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # an error that nobody waits for any more is not news

    async def _asked(self, prompt: Prompt, call: CallId) -> Completion:
        # Whoever had asked before may have been answered since the chain was loaded.
        if landed := await self._journal.landed(prompt, call):
            return landed
        await self._journal.clear(prompt, call)
        try:
            reply = await self._inner.complete(prompt, call)
        except PermanentLLMError as error:
            if concerns_prompt(error):
                await self._journal.bury(prompt, call, error)
            raise
        # Of two replies to one call the one that counts on record is told, paid for or not.
        return await self._journal.put(prompt, call, reply)


class MarkingEndpoint:
    """Marks each attempt as sent, durably, right before it goes out; the innermost wrapper.

    An attempt without a reply ends as refused where the endpoint answered with an error, which
    costs nothing, and as unknown where it may have been paid for: a time-out, a connection that
    broke, an unreadable answer. Where the journal holds such calls, the attempt then becomes a
    permanent error.

    Args:
        inner: The client.
        journal: Where attempts are marked.
    """

    def __init__(self, inner: Endpoint, journal: Journal) -> None:
        self._inner = inner
        self._journal = journal

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the inner endpoint's reply; a call without a name is not marked.

        Raises:
            StoreError: If the attempt cannot be marked, or another driver has taken over.
        """
        if call is None:
            return await self._inner.complete(prompt)
        number = await self._journal.sending(prompt, call)
        try:
            return await self._inner.complete(prompt, call)
        except LLMError as error:
            unknown = may_be_paid(error)
            self._journal.ended(number, "unknown" if unknown else "refused")
            if unknown and self._journal.holds and isinstance(error, TransientLLMError):
                raise PermanentLLMError(
                    f"{error}; the call may have been paid for and is not asked again, as "
                    "endpoint.journal.possibly_paid_twice: hold says",
                    error.status,
                    OUTCOME_UNKNOWN,
                ) from error
            raise

    async def aclose(self) -> None:
        """Close the inner endpoint."""
        await self._inner.aclose()
