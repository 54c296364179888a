"""Everything that talks to a chat endpoint; the only importer of openai and tenacity.

A client or wrapper has the one method of `rddg_ray.exchange.Endpoint`, and a wrapper takes
another endpoint, so they stack in any order: journal, budget, limit, retry, client.
"""

from rddg_ray.llm.concurrency import ConcurrencyLimitedEndpoint
from rddg_ray.llm.connection import connect
from rddg_ray.llm.endpoint import OpenAIEndpoint
from rddg_ray.llm.keys import resolve_key
from rddg_ray.llm.replay import RecordingEndpoint, ReplayEndpoint
from rddg_ray.llm.retry import RetryingEndpoint

__all__ = [
    "ConcurrencyLimitedEndpoint",
    "OpenAIEndpoint",
    "RecordingEndpoint",
    "ReplayEndpoint",
    "RetryingEndpoint",
    "connect",
    "resolve_key",
]
