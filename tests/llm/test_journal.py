"""Replies on record, whoever wrote them and however he ended."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from rddg_ray.errors import StoreError
from rddg_ray.exchange import CallId, Completion, Prompt, Usage
from rddg_ray.llm.journal import Journal, JournaledEndpoint, read_replies

CALL = CallId("table", "rddg/g0/0", 2, 1)
PROMPT = Prompt("system", "user", "generation")
REPLY = Completion('A.\n"ü, ""x""",1\n', "model", Usage(1, 10, 20, 3), "length", 0.25)

WRITER = """
import sys
from pathlib import Path
from rddg_ray.exchange import CallId, Completion, Prompt
from rddg_ray.llm.journal import Journal
folder, writer, n_calls = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
journal = Journal(folder, writer, "f")
for number in range(n_calls):
    call = CallId("table", writer, number, 0)
    journal.put(Prompt("", str(number), "generation"), call, Completion("r" * 5000, "m"))
    print(number, flush=True)
"""


class Counting:
    """An endpoint that numbers its replies."""

    def __init__(self):
        self.n_calls = 0

    async def complete(self, prompt, call=None):
        self.n_calls += 1
        await asyncio.sleep(0.01)
        return replace(REPLY, text=f"reply {self.n_calls}")

    async def aclose(self):
        pass


def opened(folder, writer="w", fingerprint="f"):
    return Journal(folder, writer, fingerprint)


def write(folder, writer, reply=REPLY):
    journal = opened(folder, writer)
    journal.put(PROMPT, CALL, reply)
    journal.close()


def test_a_reply_is_read_back_whole_by_another_writer(tmp_path):
    write(tmp_path, "first")
    second = opened(tmp_path, "second")
    assert second.load(CALL.dataset, CALL.chain) == 1
    assert second.get(PROMPT, CALL) == REPLY
    second.close()


def test_replies_of_other_chains_tables_and_settings_are_not_this_calls(tmp_path):
    write(tmp_path, "first")
    second = opened(tmp_path, "second")
    second.load(CALL.dataset, "rddg/g1/0")
    second.load("other", CALL.chain)
    assert second.get(PROMPT, CALL) is None
    second.close()
    third = opened(tmp_path, "third", fingerprint="g")
    third.load(CALL.dataset, CALL.chain)
    assert third.get(PROMPT, CALL) is None
    third.close()


def test_a_call_on_record_with_another_prompt_is_refused_and_named(tmp_path):
    write(tmp_path, "first")
    second = opened(tmp_path, "second")
    second.load(CALL.dataset, CALL.chain)
    with pytest.raises(StoreError, match=r"2/1 of chain 'rddg/g0/0' \(table\)"):
        second.get(replace(PROMPT, user="other"), CALL)
    second.close()


def test_of_two_replies_to_one_call_every_reader_takes_the_first(tmp_path):
    for writer, text in (("z", "first"), ("a", "second")):
        write(tmp_path, writer, reply=replace(REPLY, text=text))
    [found] = read_replies(tmp_path, CALL.dataset, CALL.chain).values()
    assert found[PROMPT.sha256].text == "first"


def test_a_reply_is_on_disk_before_put_returns(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), "killed", str(10**6)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    seen = [int(process.stdout.readline()) for _ in range(50)]
    process.send_signal(signal.SIGKILL)
    seen += [int(line) for line in process.stdout.read().split()]
    process.wait()
    process.stdout.close()
    assert seen == list(range(len(seen)))
    # The one being told of when the kill came may be on record or not.
    assert len(read_replies(tmp_path, "table", "killed")) - len(seen) in (0, 1)


def test_writers_at_work_do_not_hinder_each_other_or_readers(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), f"w{number}", "60"],
            stdout=subprocess.DEVNULL,
        )
        for number in range(3)
    ]
    while any(process.poll() is None for process in processes):
        journal = opened(tmp_path, "reader")
        journal.load("table", "w0")
        journal.close()
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert [len(read_replies(tmp_path, "table", f"w{number}")) for number in range(3)] == [60] * 3


def test_files_of_writers_killed_at_their_start_hold_nothing(tmp_path):
    (tmp_path / "empty.sqlite").touch()
    sqlite3.connect(tmp_path / "bare.sqlite").close()
    write(tmp_path, "whole")
    assert len(read_replies(tmp_path, CALL.dataset, CALL.chain)) == 1


def test_a_file_that_is_no_journal_is_named(tmp_path):
    (tmp_path / "torn.sqlite").write_bytes(b"not a database, but long enough for a header" * 9)
    with pytest.raises(StoreError, match=r"torn\.sqlite"):
        read_replies(tmp_path, CALL.dataset, CALL.chain)
    with pytest.raises(StoreError, match=r"torn\.sqlite"):
        opened(tmp_path, "torn")


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        opened(tmp_path / "file")


def test_an_answer_on_record_is_not_asked_for_again(tmp_path):
    inner = Counting()

    async def twice(journal):
        endpoint = JournaledEndpoint(inner, journal)
        journal.load(CALL.dataset, CALL.chain)
        replies = [await endpoint.complete(PROMPT, CALL) for _ in range(2)]
        await endpoint.aclose()
        await endpoint.aclose()
        return replies

    first = asyncio.run(twice(opened(tmp_path, "one")))
    second = asyncio.run(twice(opened(tmp_path, "two")))
    assert {reply.text for reply in first + second} == {"reply 1"}
    assert inner.n_calls == 1


def test_two_askers_of_one_call_get_the_reply_that_is_on_record(tmp_path):
    async def together():
        endpoint = JournaledEndpoint(Counting(), opened(tmp_path))
        replies = await asyncio.gather(*(endpoint.complete(PROMPT, CALL) for _ in range(2)))
        await endpoint.aclose()
        return replies

    replies = asyncio.run(together())
    [recorded] = read_replies(tmp_path, CALL.dataset, CALL.chain).values()
    assert {reply.text for reply in replies} == {recorded[PROMPT.sha256].text}


def test_a_call_without_a_name_is_passed_on_and_leaves_no_record(tmp_path):
    async def nameless():
        endpoint = JournaledEndpoint(Counting(), opened(tmp_path))
        reply = await endpoint.complete(PROMPT)
        await endpoint.aclose()
        return reply

    assert asyncio.run(nameless()).text == "reply 1"
    assert read_replies(tmp_path, CALL.dataset, CALL.chain) == {}
