"""Rules that a row passes or fails: read, checked on the real rows first, then enforced.

A rule is written as JSON, by the model beside its prose or by a user in a file. It is taken only
where the real training rows keep it.
"""

from __future__ import annotations

from rddg_ray.constraints.cells import Cells
from rddg_ray.constraints.enforcing import Enforcer, Judged
from rddg_ray.constraints.grammar import GrammarReader
from rddg_ray.constraints.records import Rules, Unreadable
from rddg_ray.constraints.replies import RulesReply, split_reply
from rddg_ray.constraints.rule import Rule
from rddg_ray.constraints.user_rules import user_rules
from rddg_ray.constraints.values import RuleError
from rddg_ray.constraints.verifying import TOLERANCE, Verdict, verify
from rddg_ray.constraints.wording import RuleWords, holds_in, why_dropped
from rddg_ray.rules_file import read_rules_file

__all__ = [
    "TOLERANCE",
    "Cells",
    "Enforcer",
    "GrammarReader",
    "Judged",
    "Rule",
    "RuleError",
    "RuleWords",
    "Rules",
    "RulesReply",
    "Unreadable",
    "Verdict",
    "holds_in",
    "read_rules_file",
    "split_reply",
    "user_rules",
    "verify",
    "why_dropped",
]
