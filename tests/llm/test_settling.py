"""Two processes that answer one call: one reply counts, the same for everybody."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

from rddg_ray.exchange import CallId, Completion, Prompt, Usage
from rddg_ray.llm.journal import (
    Journal,
    JournaledEndpoint,
    MarkingEndpoint,
    find_call,
    read_replies,
    spent,
    summarise,
)
from rddg_ray.llm.journal.settling import steady

PROMPT = Prompt("You write rows.", "Write 2 rows", "generation", None, 100)
CALL = CallId("sick", "rddg/g0", 0, 0)
CHAIN = CALL.dataset, CALL.chain
OLD = Completion("of the process that was replaced", "m", Usage(1, 9, 4))
NEW = Completion("of its successor", "m", Usage(1, 9, 5))


class Scripted:
    """Does something while a call is in flight, and then answers."""

    def __init__(self, reply, meanwhile):
        self.reply, self.meanwhile, self.n_calls = reply, meanwhile, 0

    async def complete(self, prompt, call=None):
        self.n_calls += 1
        await self.meanwhile()
        return self.reply

    async def aclose(self):
        pass


class Process:
    """A process that answers calls: its journal and its endpoint."""

    def __init__(self, folder, writer, reply, meanwhile=lambda: asyncio.sleep(0)):
        self.journal = Journal(folder / "journal", writer, "f1")
        self.client = Scripted(reply, meanwhile)
        inner = MarkingEndpoint(self.client, self.journal)
        self.endpoint = JournaledEndpoint(inner, self.journal)

    async def ask(self):
        return await self.endpoint.complete(PROMPT, CALL)

    def close(self):
        self.journal.close()


def on_record(folder):
    """Return the reply that every reader finds, once they are found to agree."""
    key = CALL.key("f1")
    replayed = read_replies(folder / "journal", *CHAIN)[key][PROMPT.sha256]
    with closing(Journal(folder / "journal", "reader", "f1")) as reader:
        assert reader.get(PROMPT, CALL) == replayed
    assert find_call(folder / "journal", key).reply == replayed
    return replayed


def set_back_clock(folder, writer):
    """Have a process's replies bear the first moment of all, as a wrong clock does."""
    with closing(sqlite3.connect(folder / "journal" / f"{writer}.sqlite")) as db:
        db.execute("UPDATE calls SET unix_s = 1.0")
        db.commit()


# In both orders of the files' names, which must not matter.
@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_reply_that_lands_while_the_successor_asks_is_the_one_it_tells(tmp_path, names):
    async def main():
        with closing(Process(tmp_path, names[0], OLD)) as replaced:
            replaced.journal.load(*CHAIN)
            await replaced.journal.sending(PROMPT, CALL)

            async def late():
                await replaced.journal.put(PROMPT, CALL, OLD)
                assert on_record(tmp_path) == OLD

            with closing(Process(tmp_path, names[1], NEW, late)) as successor:
                return [await successor.ask(), await successor.ask()]

    assert asyncio.run(main()) == [OLD, OLD]
    assert on_record(tmp_path) == OLD
    # Both were paid for.
    assert spent(tmp_path / "journal").usage == OLD.usage + NEW.usage
    assert summarise(tmp_path / "journal").n_calls == 1


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("gives_up", [True, False])
def test_a_reply_that_lands_after_the_successors_loses_whatever_the_clock_says(
    tmp_path, names, gives_up
):
    async def main():
        with (
            closing(Process(tmp_path, names[0], OLD)) as replaced,
            closing(Process(tmp_path, names[1], NEW)) as successor,
        ):
            replaced.journal.load(*CHAIN)
            await replaced.journal.sending(PROMPT, CALL)
            if gives_up:
                replaced.journal.give_up(*CHAIN)
            told = [await successor.ask()]
            await replaced.journal.put(PROMPT, CALL, OLD)
            return [*told, await successor.ask()]

    assert asyncio.run(main()) == [NEW, NEW]
    set_back_clock(tmp_path, names[0])
    assert on_record(tmp_path) == NEW


def test_a_process_that_sends_what_it_had_waiting_loses_to_the_one_opened_after_it(tmp_path):
    async def main():
        with (
            closing(Process(tmp_path, "z", OLD)) as replaced,
            closing(Process(tmp_path, "a", NEW)) as successor,
        ):
            for process in (replaced, successor):
                process.journal.load(*CHAIN)
            told = [await successor.ask(), await replaced.ask()]
            return told, await successor.ask()

    assert asyncio.run(main()) == ([NEW, OLD], NEW)
    set_back_clock(tmp_path, "z")
    assert on_record(tmp_path) == NEW


def test_a_reply_that_landed_since_the_chain_was_loaded_is_told_and_not_paid_for_again(tmp_path):
    async def main():
        with (
            closing(Process(tmp_path, "a", OLD)) as replaced,
            closing(Process(tmp_path, "b", NEW)) as successor,
        ):
            await replaced.journal.sending(PROMPT, CALL)
            successor.journal.load(*CHAIN)
            await replaced.journal.put(PROMPT, CALL, OLD)
            return await successor.ask(), successor.client.n_calls

    assert asyncio.run(main()) == (OLD, 0)


def test_a_chain_that_comes_back_outranks_where_it_was_meanwhile(tmp_path):
    async def main():
        with (
            closing(Process(tmp_path, "a", NEW)) as first,
            closing(Process(tmp_path, "b", OLD)) as second,
        ):
            await first.journal.sending(PROMPT, CALL)
            first.journal.give_up(*CHAIN)
            await second.journal.sending(PROMPT, CALL)
            second.journal.give_up(*CHAIN)
            first.journal.take(*CHAIN)
            told = await first.ask()
            await second.journal.put(PROMPT, CALL, OLD)
            return told

    assert asyncio.run(main()) == NEW
    set_back_clock(tmp_path, "b")
    assert on_record(tmp_path) == NEW


def test_a_contested_call_is_not_settled_while_somebody_reads(tmp_path):
    async def main():
        with (
            closing(Process(tmp_path, "a", OLD)) as replaced,
            closing(Process(tmp_path, "b", NEW)) as successor,
        ):
            await replaced.journal.sending(PROMPT, CALL)
            successor.journal.load(*CHAIN)
            with steady(tmp_path / "journal"):
                settled = asyncio.create_task(successor.journal.put(PROMPT, CALL, NEW))
                await asyncio.sleep(0.1)
                assert not settled.done()
                # Whoever reads now, under the same lock, may find this one, and so it counts.
                await replaced.journal.put(PROMPT, CALL, OLD)
            return await settled

    assert asyncio.run(main()) == OLD
    assert on_record(tmp_path) == OLD


def test_chains_are_loaded_on_the_loop_while_calls_are_settled(tmp_path):
    calls = [CallId(*CHAIN, 0, position) for position in range(20)]

    async def main():
        with (
            closing(Process(tmp_path, "a", OLD)) as replaced,
            closing(Process(tmp_path, "b", NEW)) as successor,
        ):
            for one in calls:
                await replaced.journal.sending(PROMPT, one)
            successor.journal.load(*CHAIN)
            puts = [asyncio.create_task(successor.journal.put(PROMPT, one, NEW)) for one in calls]
            while not all(put.done() for put in puts):
                successor.journal.load("sick", "another")  # waits where a call is being settled
                await asyncio.sleep(0)
            return [put.result() for put in puts]

    done: list[list[Completion]] = []
    thread = threading.Thread(target=lambda: done.append(asyncio.run(main())), daemon=True)
    thread.start()
    thread.join(120)
    assert done == [[NEW] * len(calls)]


def test_a_reply_whose_asker_left_while_it_was_recorded_is_known_to_the_next(tmp_path):
    async def main():
        with closing(Process(tmp_path, "a", NEW)) as process:
            process.journal.load(*CHAIN)
            leaving = asyncio.create_task(process.journal.put(PROMPT, CALL, OLD))
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.wait([leaving])
            await process.journal.put(PROMPT, CallId(*CHAIN, 0, 1), NEW)  # comes after it
            return leaving.cancelled(), await process.ask(), process.client.n_calls

    assert asyncio.run(main()) == (True, OLD, 0)
    assert on_record(tmp_path) == OLD


def test_a_call_that_was_left_while_it_was_marked_never_went_out(tmp_path):
    async def main():
        with closing(Process(tmp_path, "a", NEW)) as process:
            marking = MarkingEndpoint(process.client, process.journal)
            asked = asyncio.create_task(marking.complete(PROMPT, CALL))
            await asyncio.sleep(0)  # up to where it waits for the disk
            asked.cancel()
            await asyncio.wait([asked])
            return asked.cancelled(), process.client.n_calls

    assert asyncio.run(main()) == (True, 0)
    assert spent(tmp_path / "journal").unknown == Usage()
    summary = summarise(tmp_path / "journal")
    assert (summary.n_attempts, summary.n_unknown) == (1, 0)
