"""A journal whose process is killed, really."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import closing

import numpy as np

from rddg_ray.exchange import CallId, Completion, Prompt
from rddg_ray.llm.journal import Journal, JournaledEndpoint, MarkingEndpoint, summarise

# Asks 40 calls at a time of an endpoint that takes some milliseconds, tells each number on
# standard output once it is sent (s) and once its reply is acknowledged (a), and goes on for ever.
WRITER = """
import asyncio, itertools, os, sys
from pathlib import Path
from rddg_ray.exchange import CallId, Completion, Prompt
from rddg_ray.llm.journal import Journal, JournaledEndpoint, MarkingEndpoint

def tell(word, number):
    os.write(1, f"{word}{number}\\n".encode())  # one write, whole in the pipe

class Inner:
    async def complete(self, prompt, call=None):
        tell("s", call.round)
        await asyncio.sleep(0.004)
        return Completion(f"reply {call.round}", "m")
    async def aclose(self):
        pass

async def main(folder, writer, first):
    journal = Journal(Path(folder), writer, "f")
    endpoint = JournaledEndpoint(MarkingEndpoint(Inner(), journal), journal)
    numbers = itertools.count(int(first))
    async def worker():
        for number in numbers:
            prompt = Prompt("", f"prompt {number}", "generation")
            await endpoint.complete(prompt, CallId("t", f"c{number % 7}", number, 0))
            tell("a", number)
    await asyncio.gather(*(worker() for _ in range(40)))

asyncio.run(main(*sys.argv[1:]))
"""


def killed_writer(folder, writer: str, first: int, n_lines: int) -> tuple[set[int], set[int]]:
    """Run a writer until it has told so many lines; return what it sent and acknowledged."""
    command = [sys.executable, "-c", WRITER, str(folder), writer, str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(n_lines)]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.readlines()
    told = [line.strip() for line in lines if line.strip()]
    numbers = {word: {int(line[1:]) for line in told if line[0] == word} for word in ("s", "a")}
    return numbers["s"], numbers["a"]


class Counting:
    """Answers as the writer's endpoint did, and counts."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        assert call is not None
        self.asked.append(call.round)
        return Completion(f"reply {call.round}", "m")

    async def aclose(self) -> None:
        pass


def test_after_kills_every_acknowledged_reply_is_there_and_the_rest_is_counted(tmp_path):
    folder = tmp_path / "journal"
    rng = np.random.default_rng(0)
    sent: set[int] = set()
    acknowledged: set[int] = set()
    for kill in range(4):
        lines = int(rng.integers(40, 400))
        s, a = killed_writer(folder, f"e{kill}", 10_000 * kill, lines)
        sent |= s
        acknowledged |= a
    before = summarise(folder)
    assert before.n_calls >= len(acknowledged) > 0
    assert before.n_attempts >= len(sent)
    # At most 40 calls were in flight in each of the four.
    assert before.n_unknown == before.n_attempts - before.n_calls <= 4 * 40
    inner = Counting()

    async def ask_again() -> list[Completion]:
        with closing(Journal(folder, "later", "f")) as journal:
            endpoint = JournaledEndpoint(MarkingEndpoint(inner, journal), journal)
            return await asyncio.gather(
                *(
                    endpoint.complete(
                        Prompt("", f"prompt {number}", "generation"),
                        CallId("t", f"c{number % 7}", number, 0),
                    )
                    for number in sorted(sent)
                )
            )

    replies = asyncio.run(ask_again())
    assert [reply.text for reply in replies] == [f"reply {number}" for number in sorted(sent)]
    assert not acknowledged & set(inner.asked)
    after = summarise(folder)
    # What the endpoint saw twice is what is counted as possibly paid twice.
    assert after.possibly_paid_twice == len(inner.asked) <= before.n_unknown
