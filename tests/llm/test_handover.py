"""Chains that are answered together ask again one after another."""

from __future__ import annotations

import asyncio

from rddg_ray.exchange import CallId, Completion, Prompt
from rddg_ray.llm.handover import HandoverEndpoint

PROMPT = Prompt("", "hi", "generation")


class Together:
    """Answers the first round of three chains at one moment; notes who asks."""

    def __init__(self, noted: list[tuple[str, str]]) -> None:
        self._noted = noted
        self._all_asked = asyncio.Barrier(3)

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        assert call is not None
        if call.round == 0:
            await self._all_asked.wait()
        else:
            self._noted.append(("asks", call.chain))
        return Completion("rows", "m")

    async def aclose(self) -> None:
        pass


def test_a_chain_asks_again_before_the_next_one_gets_its_reply():
    noted: list[tuple[str, str]] = []

    async def main() -> None:
        endpoint = HandoverEndpoint(Together(noted))

        async def chain(name: str) -> None:
            await endpoint.complete(PROMPT, CallId("t", name, 0, 0))
            noted.append(("works", name))
            for _ in range(5):  # as the wrappers inside do on the way to the wire
                await asyncio.sleep(0)
            await endpoint.complete(PROMPT, CallId("t", name, 1, 0))

        async with asyncio.timeout(30):
            await asyncio.gather(*map(chain, "abc"))

    asyncio.run(main())
    assert [what for what, _ in noted] == ["works", "asks"] * 3
    assert [name for _, name in noted[::2]] == [name for _, name in noted[1::2]]


def test_a_cancelled_handover_holds_up_nobody(scripted_endpoint):
    async def main() -> Completion:
        endpoint = HandoverEndpoint(scripted_endpoint([Completion("rows", "m")]))
        tasks = [asyncio.create_task(endpoint.complete(PROMPT)) for _ in range(5)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(30):
            return await endpoint.complete(PROMPT)

    assert asyncio.run(main()).text == "rows"
