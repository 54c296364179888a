"""The journal: what was asked, what came back, what it cost, and what is not known.

A reply is durable before anyone uses it, and a call whose reply is on record is never made
again. Each attempt is marked as sent, durably, before it goes out, so that after a kill the
calls whose outcome nobody knows are known by name (chat completions have no idempotency key).

    schema          the tables, and how a file is opened
    commits         one thread a file that commits many writes at once
    reading         a chain's records, over the files of all writers
    settling        which of several replies to one call counts
    writing         `Journal`: one writer's file
    endpoints       the wrappers: `JournaledEndpoint` outermost, `MarkingEndpoint` innermost
    fencing         a driver that was replaced sends no more
    inspection      sums over all calls
    lookup          one call in full
    dead_letters    calls that are not asked again, and their revival
"""

from rddg_ray.llm.journal.dead_letters import dead_letters, revive
from rddg_ray.llm.journal.endpoints import JournaledEndpoint, MarkingEndpoint
from rddg_ray.llm.journal.fencing import lease_fence
from rddg_ray.llm.journal.inspection import JournalSummary, PhaseSummary, spent, summarise
from rddg_ray.llm.journal.lookup import CallRecord, find_call
from rddg_ray.llm.journal.reading import DeadLetter, Replies, find, read_replies
from rddg_ray.llm.journal.writing import Journal

__all__ = [
    "CallRecord",
    "DeadLetter",
    "Journal",
    "JournalSummary",
    "JournaledEndpoint",
    "MarkingEndpoint",
    "PhaseSummary",
    "Replies",
    "dead_letters",
    "find",
    "find_call",
    "lease_fence",
    "read_replies",
    "revive",
    "spent",
    "summarise",
]
