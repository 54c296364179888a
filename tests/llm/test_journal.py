"""The journal: nothing asked twice, nothing lost, and a look inside."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from contextlib import closing

import pytest

from rddg_ray.errors import PermanentLLMError, StoreError, TransientLLMError
from rddg_ray.exchange import CallId, Completion, Prompt, Usage
from rddg_ray.llm.budget import Prices
from rddg_ray.llm.journal import (
    Journal,
    JournaledEndpoint,
    MarkingEndpoint,
    dead_letters,
    find_call,
    lease_fence,
    read_replies,
    revive,
    spent,
    summarise,
)

PROMPT = Prompt("You write rows.", "Write 2 rows: é {{x}} \ud83d", "generation", 0.5, 100)
GOOD = Completion('a,b\n"1",2\n', "model-x", Usage(1, 9, 4, 2), "stop", 0.25)
PRICES = Prices(1.0, 0.5, 10.0)


def call(position: int = 0, round_: int = 0, chain: str = "rddg/g0") -> CallId:
    return CallId("sick", chain, round_, position)


def journal(folder, writer="w", **options) -> Journal:
    return Journal(folder / "journal", writer, "f1", **options)


def asked(folder, inner, *calls: CallId, writer="w", prompt=PROMPT, **options):
    """Ask the calls one after another, as a process with a journal of its own does."""

    async def main():
        own = journal(folder, writer, **options)
        endpoint = JournaledEndpoint(MarkingEndpoint(inner, own), own)
        try:
            return [await endpoint.complete(prompt, one) for one in calls]
        finally:
            await endpoint.aclose()

    return asyncio.run(main())


def left_in_flight(folder, *calls: CallId, writer="dead") -> None:
    """Mark attempts as sent and never come back to them, as a killed process does."""

    async def main():
        with closing(journal(folder, writer)) as own:
            for one in calls:
                await own.sending(PROMPT, one)

    asyncio.run(main())


def test_a_reply_on_record_is_not_asked_for_again(tmp_path, scripted_endpoint):
    inner = scripted_endpoint([GOOD])
    assert asked(tmp_path, inner, call(), call()) == [GOOD, GOOD]
    assert asked(tmp_path, inner, call(), writer="later") == [GOOD]
    assert inner.n_calls == 1


def test_calls_without_a_name_pass_by_the_journal(tmp_path, scripted_endpoint):
    inner = scripted_endpoint([GOOD])
    assert asked(tmp_path, inner, None, None) == [GOOD, GOOD]
    assert inner.n_calls == 2
    assert summarise(tmp_path / "journal").n_attempts == 0


def test_a_replay_reads_what_a_journal_recorded(tmp_path, scripted_endpoint):
    asked(tmp_path, scripted_endpoint([GOOD]), call(), call(1))
    replies = read_replies(tmp_path / "journal", "sick", "rddg/g0")
    assert replies == {call(i).key("f1"): {PROMPT.sha256: GOOD} for i in (0, 1)}
    assert read_replies(tmp_path / "journal", "sick", "rddg/g1") == {}


def test_of_two_writers_replies_the_first_counts_for_every_reader(tmp_path):
    first, second = GOOD, Completion("late", "model-x", Usage(1, 9, 9, 0))

    async def main():
        with closing(journal(tmp_path, "z")) as early, closing(journal(tmp_path, "a")) as late:
            await early.put(PROMPT, call(), first)
            await late.put(PROMPT, call(), second)
        with closing(journal(tmp_path, "reader")) as reader:
            return reader.get(PROMPT, call())

    assert asyncio.run(main()) == first
    assert read_replies(tmp_path / "journal", "sick", "rddg/g0")[call().key("f1")] == {
        PROMPT.sha256: first
    }
    # Both were paid for.
    assert spent(tmp_path / "journal").usage == first.usage + second.usage


def test_what_another_live_writer_adds_is_seen_by_the_next_load(tmp_path):
    async def main():
        with closing(journal(tmp_path, "a")) as one, closing(journal(tmp_path, "b")) as other:
            counts = [one.load("sick", "rddg/g0")]
            for position in (0, 1):
                await other.put(PROMPT, call(position), GOOD)
                counts.append(one.load("sick", "rddg/g0"))
            return counts

    assert asyncio.run(main()) == [0, 1, 2]


def test_the_same_call_with_another_prompt_stops_the_run(tmp_path, scripted_endpoint):
    asked(tmp_path, scripted_endpoint([GOOD]), call())
    other = Prompt("", "something else", "generation")
    with pytest.raises(StoreError, match=r"call 0/0 of chain 'rddg/g0' \(sick\).*another prompt"):
        asked(tmp_path, scripted_endpoint([GOOD]), call(), prompt=other)


def test_the_same_call_with_another_prompt_at_the_same_time_stops_the_run(
    tmp_path, scripted_endpoint
):
    async def main():
        own = journal(tmp_path)
        endpoint = JournaledEndpoint(scripted_endpoint([GOOD], hold_s=0.05), own)
        first = asyncio.create_task(endpoint.complete(PROMPT, call()))
        await asyncio.sleep(0)
        try:
            with pytest.raises(StoreError, match="another prompt"):
                await endpoint.complete(Prompt("", "other", "generation"), call())
            return await first
        finally:
            await endpoint.aclose()

    assert asyncio.run(main()) == GOOD


def test_callers_of_one_call_share_one_flight(tmp_path, scripted_endpoint):
    inner = scripted_endpoint([GOOD], hold_s=0.02)

    async def main():
        own = journal(tmp_path)
        endpoint = JournaledEndpoint(MarkingEndpoint(inner, own), own)
        replies = await asyncio.gather(*(endpoint.complete(PROMPT, call()) for _ in range(20)))
        await endpoint.aclose()
        return replies

    assert asyncio.run(main()) == [GOOD] * 20
    assert inner.n_calls == 1


def test_a_flight_goes_on_for_the_others_when_one_caller_leaves(tmp_path, scripted_endpoint):
    inner = scripted_endpoint([GOOD], hold_s=0.05)

    async def main():
        endpoint = JournaledEndpoint(inner, journal(tmp_path))
        first, second = (asyncio.create_task(endpoint.complete(PROMPT, call())) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        reply = await second
        await endpoint.aclose()
        return first.cancelled(), reply

    assert asyncio.run(main()) == (True, GOOD)
    assert inner.n_calls == 1


def test_a_flight_ends_when_its_last_caller_leaves_and_may_be_asked_again(
    tmp_path, scripted_endpoint
):
    inner = scripted_endpoint([GOOD], hold_s=0.05)

    async def main():
        endpoint = JournaledEndpoint(inner, journal(tmp_path))
        task = asyncio.create_task(endpoint.complete(PROMPT, call()))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0.1)
        on_record = read_replies(tmp_path / "journal", "sick", "rddg/g0")
        reply = await endpoint.complete(PROMPT, call())
        await endpoint.aclose()
        return on_record, reply

    assert asyncio.run(main()) == ({}, GOOD)
    assert inner.n_calls == 2


def test_callers_of_one_call_share_its_error_and_a_later_one_asks_again(
    tmp_path, scripted_endpoint
):
    inner = scripted_endpoint([TransientLLMError("busy", 503), GOOD], hold_s=0.01)

    async def main():
        endpoint = JournaledEndpoint(inner, journal(tmp_path))
        pair = (endpoint.complete(PROMPT, call()) for _ in range(2))
        errors = await asyncio.gather(*pair, return_exceptions=True)
        reply = await endpoint.complete(PROMPT, call())
        await endpoint.aclose()
        return errors, reply

    errors, reply = asyncio.run(main())
    assert [str(error) for error in errors] == ["busy", "busy"]
    assert reply == GOOD


def test_a_call_of_unknown_outcome_is_asked_again_and_counted(tmp_path, scripted_endpoint):
    left_in_flight(tmp_path, call(0), call(1))
    before = summarise(tmp_path / "journal")
    assert (before.n_unknown, before.possibly_paid_twice) == (2, 0)
    assert asked(tmp_path, scripted_endpoint([GOOD]), call(0)) == [GOOD]
    after = summarise(tmp_path / "journal")
    assert (after.n_calls, after.n_attempts) == (1, 3)
    assert (after.n_unknown, after.possibly_paid_twice) == (1, 1)


def test_a_held_call_is_not_asked_again_until_it_is_revived(tmp_path, scripted_endpoint):
    left_in_flight(tmp_path, call(0))
    inner = scripted_endpoint([GOOD])
    for writer in ("second", "third"):
        with pytest.raises(PermanentLLMError, match=f"rddg retry-dead {tmp_path}") as caught:
            asked(tmp_path, inner, call(0), writer=writer, possibly_paid_twice="hold")
        assert caught.value.code == "outcome_unknown"
    assert asked(tmp_path, inner, call(1), writer="x", possibly_paid_twice="hold") == [GOOD]
    assert inner.n_calls == 1
    (letter,) = dead_letters(tmp_path / "journal")
    assert (letter.call, letter.code, letter.status) == (call(0), "outcome_unknown", None)
    assert revive(tmp_path / "journal", [letter.key[:6]]) == [letter]
    assert dead_letters(tmp_path / "journal") == []
    assert asked(tmp_path, inner, call(0), writer="y", possibly_paid_twice="hold") == [GOOD]
    assert summarise(tmp_path / "journal").possibly_paid_twice == 1


def test_where_calls_are_held_a_time_out_is_not_repeated_either(tmp_path, scripted_endpoint):
    inner = scripted_endpoint([TransientLLMError("no answer within 1 s"), GOOD])
    with pytest.raises(PermanentLLMError, match="may have been paid for") as caught:
        asked(tmp_path, inner, call(), possibly_paid_twice="hold")
    assert caught.value.code == "outcome_unknown"
    with pytest.raises(PermanentLLMError, match="retry-dead"):
        asked(tmp_path, inner, call(), writer="later", possibly_paid_twice="hold")
    assert inner.n_calls == 1


@pytest.mark.parametrize(
    ("error", "is_unknown"),
    [
        (TransientLLMError("no answer in time"), True),
        (TransientLLMError("half a reply", 200), True),
        (TransientLLMError("refused connection", reached=False), False),
        (TransientLLMError("busy", 503), False),
        (TransientLLMError("the gateway gave up", 504), True),
        (TransientLLMError("the gateway failed", 502), True),
        (TransientLLMError("the server gave up", 408), True),
        (TransientLLMError("no reply within 100 s", 524), True),
        (TransientLLMError("no connection to the model", 521), False),
        (TransientLLMError("too many", 429), False),
        (PermanentLLMError("no key", 401), False),
    ],
)
def test_only_failures_that_may_be_paid_leave_the_outcome_unknown(
    tmp_path, scripted_endpoint, error, is_unknown
):
    with pytest.raises(type(error)):
        asked(tmp_path, scripted_endpoint([error]), call())
    assert summarise(tmp_path / "journal").n_unknown == int(is_unknown)
    # The worst case: 64 tokens of template, the bytes of the texts, the reply's cap.
    n_bytes = len((PROMPT.system + PROMPT.user).encode("utf-8", "surrogatepass"))
    bound = Usage(1, n_bytes + 64, 100) if is_unknown else Usage()
    assert spent(tmp_path / "journal").unknown == bound


def test_a_refusal_of_the_prompt_becomes_a_dead_letter_with_its_words(tmp_path, scripted_endpoint):
    error = PermanentLLMError("the filter says no (400) at h", 400, "content_filter")
    inner = scripted_endpoint([error, GOOD])
    for writer in ("a", "b"):
        with pytest.raises(PermanentLLMError, match="the filter says no") as caught:
            asked(tmp_path, inner, call(), writer=writer)
    assert (caught.value.status, caught.value.code) == (400, "content_filter")
    assert "rddg retry-dead" in str(caught.value)
    (letter,) = dead_letters(tmp_path / "journal")
    assert letter.message == "the filter says no (400) at h"
    assert find_call(tmp_path / "journal", letter.key).dead == letter
    assert inner.n_calls == 1
    revive(tmp_path / "journal", "all")
    assert asked(tmp_path, inner, call(), writer="c") == [GOOD]


def test_a_refused_key_is_no_dead_letter(tmp_path, scripted_endpoint):
    inner = scripted_endpoint([PermanentLLMError("no key", 401, "invalid_api_key"), GOOD])
    with pytest.raises(PermanentLLMError):
        asked(tmp_path, inner, call())
    assert dead_letters(tmp_path / "journal") == []
    assert asked(tmp_path, inner, call(), writer="later") == [GOOD]


def test_a_dead_letter_may_die_again_after_its_revival(tmp_path, scripted_endpoint):
    inner = scripted_endpoint([PermanentLLMError("too long", 400, "context_length_exceeded")])
    for writer in ("a", "b"):
        with pytest.raises(PermanentLLMError):
            asked(tmp_path, inner, call(), writer=writer)
        assert len(revive(tmp_path / "journal", "all")) == 1
    assert inner.n_calls == 2


def test_a_key_that_fits_no_dead_letter_revives_none(tmp_path, scripted_endpoint):
    inner = scripted_endpoint([PermanentLLMError("no", 400)])
    for position in range(2):
        with pytest.raises(PermanentLLMError):
            asked(tmp_path, inner, call(position), writer=f"w{position}")
    first = dead_letters(tmp_path / "journal")[0]
    with pytest.raises(StoreError, match="no dead letter has the key 'xyz'"):
        revive(tmp_path / "journal", [first.key, "xyz"])
    assert len(dead_letters(tmp_path / "journal")) == 2


def test_an_older_epoch_may_not_send(tmp_path, scripted_endpoint):
    lease = tmp_path / "LEASE"
    lease.write_text(json.dumps({"epoch": 3}))
    inner = scripted_endpoint([GOOD])
    fence = lease_fence(tmp_path, 3)
    assert asked(tmp_path, inner, call(0), fence=fence) == [GOOD]
    lease.write_text("")  # a new driver is just signing it
    assert asked(tmp_path, inner, call(1), writer="b", fence=fence) == [GOOD]
    lease.write_text(json.dumps({"epoch": 4}))
    with pytest.raises(StoreError, match="another driver has taken this run over"):
        asked(tmp_path, inner, call(2), writer="c", fence=fence)
    lease.unlink()  # once lost, lost for good
    with pytest.raises(StoreError, match="another driver"):
        asked(tmp_path, inner, call(2), writer="d", fence=fence)
    assert inner.n_calls == 2
    # What is on record is still told.
    assert asked(tmp_path, inner, call(0), writer="e", fence=fence) == [GOOD]


def test_sums_over_all_writers_follow_from_the_replies(tmp_path, scripted_endpoint):
    relations = Prompt("", "Analyse", "relations")
    latencies_s = [1.0, 2.0, 3.0, 4.0, 10.0]
    for number, latency_s in enumerate(latencies_s):
        reply = Completion("t", "m", Usage(1, 1_000_000, 100_000, 400_000), "stop", latency_s)
        asked(tmp_path, scripted_endpoint([reply]), call(number), writer=f"w{number}")
    cut = Completion("t", "m2", Usage(1, 10, 20, 0), "length", 0.5)
    asked(tmp_path, scripted_endpoint([cut]), call(0, chain="c"), prompt=relations, writer="z")
    summary = summarise(tmp_path / "journal", PRICES)
    assert (summary.n_calls, summary.n_writers, summary.n_attempts) == (6, 6, 6)
    phase = summary.by_phase["generation"]
    assert (phase.n_calls, phase.latency_p50_s, phase.latency_max_s) == (5, 3.0, 10.0)
    assert phase.latency_p95_s == pytest.approx(8.8)  # four fifths of the way from 4 to 10
    assert phase.usage == Usage(5, 5_000_000, 500_000, 2_000_000)
    assert summary.by_phase["relations"].usage == Usage(1, 10, 20, 0)
    # Five times 0.6 million at 1, 0.4 million at 0.5 and 0.1 million at 10 dollars a million.
    assert summary.cost_usd == pytest.approx(5 * (0.6 + 0.2 + 1.0) + 10e-6 + 200e-6)
    assert summary.models == {"m": 5, "m2": 1}
    assert summary.finish_reasons == {"stop": 5, "length": 1}
    assert summary.first_unix_s < summary.last_unix_s


def test_a_call_is_found_by_its_place_or_key_and_shown_in_full(tmp_path, scripted_endpoint):
    long = Prompt("system", "row 1,2,3\n" * 500, "generation", 0.5, 100)
    inner = scripted_endpoint([TransientLLMError("busy", 503), GOOD])
    with pytest.raises(TransientLLMError):
        asked(tmp_path, inner, call(1, 2), prompt=long)
    asked(tmp_path, inner, call(1, 2), prompt=long, writer="later")
    asked(tmp_path, inner, call(0, 2), writer="other")
    record = find_call(tmp_path / "journal", "sick/rddg/g0/2/1")
    assert (record.call, record.prompt, record.reply) == (call(1, 2), long, GOOD)
    assert [(attempt.writer, attempt.ended) for attempt in record.attempts] == [
        ("w", "refused"),
        ("later", None),
    ]
    assert find_call(tmp_path / "journal", record.key[:10]) == record
    assert find_call(tmp_path / "journal", "sick/rddg/g0/2/0").prompt == PROMPT
    for query in ("", "sick/rddg/g0/9/9", "nope"):
        with pytest.raises(StoreError, match="fits no call"):
            find_call(tmp_path / "journal", query)


def test_a_reply_that_tells_no_tokens_counts_at_its_bound(tmp_path, scripted_endpoint):
    silent = Completion("x", "m", Usage(1))
    asked(tmp_path, scripted_endpoint([silent]), call())
    paid = spent(tmp_path / "journal")
    assert paid.usage == Usage(1)
    assert (paid.unknown.n_calls, paid.unknown.completion_tokens) == (0, 100)


def test_attempts_of_one_process_are_counted_with_the_reply(tmp_path, scripted_endpoint):
    async def main():
        own = journal(tmp_path)
        inner = MarkingEndpoint(scripted_endpoint([TransientLLMError("b", 503), GOOD]), own)
        with pytest.raises(TransientLLMError):
            await inner.complete(PROMPT, call())
        await own.put(PROMPT, call(), await inner.complete(PROMPT, call()))
        own.close()

    asyncio.run(main())
    with closing(sqlite3.connect(tmp_path / "journal" / "w.sqlite")) as db:
        assert db.execute("SELECT attempts FROM calls").fetchall() == [(2,)]


def test_an_empty_folder_has_empty_sums(tmp_path):
    summary = summarise(tmp_path / "journal", PRICES)
    assert (summary.n_calls, summary.total.n_calls, summary.cost_usd) == (0, 0, 0.0)
    assert dead_letters(tmp_path / "journal") == []


@pytest.mark.parametrize("content", [b"not a database at all, not at all", b"SQLite format 3\0x"])
def test_a_file_that_is_no_journal_is_named(tmp_path, content):
    folder = tmp_path / "journal"
    folder.mkdir()
    (folder / "odd.sqlite").write_bytes(content * 100)
    with pytest.raises(StoreError, match=r"odd\.sqlite"):
        read_replies(folder, "sick", "rddg/g0")


def test_a_journal_of_another_version_is_refused_not_misread(tmp_path):
    folder = tmp_path / "journal"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "w.sqlite")) as db:
        db.execute("CREATE TABLE calls (key TEXT PRIMARY KEY)")
    with pytest.raises(StoreError, match=r"w\.sqlite: a journal of version 0"):
        summarise(folder)
    with pytest.raises(StoreError, match="version 0"):
        journal(tmp_path)


def test_a_closed_journal_says_so(tmp_path):
    own = journal(tmp_path)
    own.close()
    own.close()
    with pytest.raises(StoreError, match="closed"):
        asyncio.run(own.put(PROMPT, call(), GOOD))


def test_a_write_that_fails_reaches_all_who_wait_for_it(tmp_path):
    async def main():
        own = journal(tmp_path)
        with closing(sqlite3.connect(tmp_path / "journal" / "w.sqlite")) as db:
            db.execute("DROP TABLE calls")
            db.commit()
        puts = (own.put(PROMPT, call(i), GOOD) for i in range(3))
        results = await asyncio.gather(*puts, return_exceptions=True)
        own.close()
        return results

    results = asyncio.run(main())
    assert all(isinstance(result, StoreError) for result in results)
    assert "w.sqlite" in str(results[0])


def test_a_file_that_is_just_being_made_is_never_taken_for_another_version(tmp_path):
    stop, failures = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            try:
                summarise(tmp_path)
            except StoreError as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(60):
        Journal(tmp_path, f"w{number}", "fingerprint").close()
    stop.set()
    reader.join()
    assert failures == []
