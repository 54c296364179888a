"""What a server charges, told from what it reports as left."""

from __future__ import annotations

import numpy as np
import pytest

from rddg_ray.config import EmbeddedSettings
from rddg_ray.llm.accounting import AccountingLearner
from rddg_ray.llm.embedded.enforcement import Enforcer

LIMIT = 600_000
LATENCY_S = 1.0


def learned(policy: str, accounting: str, n_calls: int, cap: int = 900, period_s: float = 0.1):
    """Play calls of 100 prompt tokens and replies of 50 to 150 against a real enforcer."""
    settings = EmbeddedSettings(tokens_per_minute=LIMIT, policy=policy, token_accounting=accounting)
    enforcer, learner = Enforcer(settings), AccountingLearner()
    rng = np.random.default_rng(0)
    replies = rng.integers(50, 151, n_calls)
    events = [(i * period_s, 0, i) for i in range(n_calls)]
    events += [(at_s + LATENCY_S, 1, i) for at_s, _, i in events]
    charged = {}
    for at_s, is_end, i in sorted(events):
        if not is_end:
            learner.send(at_s, 100 + cap)
            charged[i] = enforcer.admit(at_s, 100, cap).charged_tokens
            continue
        enforcer.settle(at_s, 100, int(replies[i]), charged[i])
        left = int(enforcer.headers(at_s)["x-ratelimit-remaining-tokens"])
        learner.observe(at_s, 100 + int(replies[i]), LIMIT, left)
    return learner


@pytest.mark.parametrize("policy", ["sliding_window", "fixed_window"])
@pytest.mark.parametrize("accounting", ["reserve", "actual"])
def test_a_window_shows_which_accounting_it_has(policy, accounting):
    learner = learned(policy, accounting, 100)
    assert learner.is_done
    assert learner.accounting == accounting


@pytest.mark.parametrize("policy", ["minute_bucket", "second_bucket", "fixed_window"])
def test_a_server_that_reserves_is_never_taken_for_one_that_does_not(policy):
    for cap in (60, 150, 900):
        assert learned(policy, "reserve", 300, cap).accounting == "reserve"


def test_a_bucket_that_is_drawn_on_shows_that_it_charges_what_is_used():
    # 100 calls a second: a reserving bucket would be drained by 100,000 tokens each second.
    learner = learned("minute_bucket", "actual", 300, period_s=0.01)
    assert learner.accounting == "actual"


def test_without_headers_or_with_few_replies_the_safe_side_is_taken():
    learner = AccountingLearner()
    for i in range(100):
        learner.send(i, 1000)
        learner.observe(i + 0.5, 100)
    assert (learner.accounting, learner.is_done) == ("reserve", False)
    assert learned("fixed_window", "actual", 20).accounting == "reserve"


def test_a_refusal_takes_the_finding_of_actual_use_back_for_good():
    learner = learned("fixed_window", "actual", 100)
    learner.refuse()
    learner.observe(1e6, 100, LIMIT, LIMIT)
    assert (learner.accounting, learner.is_done) == ("reserve", True)
