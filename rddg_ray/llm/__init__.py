"""Everything that talks to a chat endpoint; the only importer of openai and tenacity.

A client or wrapper has the one method of `rddg_ray.exchange.Endpoint`, and a wrapper takes
another endpoint; `stacked` puts them together.
"""

from rddg_ray.llm.breaker import Breaker, BreakingEndpoint
from rddg_ray.llm.budget import BudgetedEndpoint, Ledger, LocalLedger, Prices
from rddg_ray.llm.connection import connect
from rddg_ray.llm.endpoint import OpenAIEndpoint
from rddg_ray.llm.explaining import explain_failure
from rddg_ray.llm.journal import Journal, JournaledEndpoint, MarkingEndpoint
from rddg_ray.llm.keys import resolve_key
from rddg_ray.llm.limiter import LimitedEndpoint, LocalPacer, Pacer, PacerSnapshot
from rddg_ray.llm.replay import RecordingEndpoint, ReplayEndpoint
from rddg_ray.llm.retry import RetryingEndpoint
from rddg_ray.llm.stack import stacked

__all__ = [
    "Breaker",
    "BreakingEndpoint",
    "BudgetedEndpoint",
    "Journal",
    "JournaledEndpoint",
    "Ledger",
    "LimitedEndpoint",
    "LocalLedger",
    "LocalPacer",
    "MarkingEndpoint",
    "OpenAIEndpoint",
    "Pacer",
    "PacerSnapshot",
    "Prices",
    "RecordingEndpoint",
    "ReplayEndpoint",
    "RetryingEndpoint",
    "connect",
    "explain_failure",
    "resolve_key",
    "stacked",
]
