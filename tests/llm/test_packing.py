"""Prompts as the journal stores them."""

from __future__ import annotations

import json
import zlib

import pytest

from rddg_ray.exchange import Prompt
from rddg_ray.llm.journal.schema import pack, unpack

PLAIN = Prompt("be brief", "write rows", "generation", 0.5, 100)
STRUCTURED = Prompt("be brief", "write rows", "generation", None, None, '{"type":"object"}')


@pytest.mark.parametrize("prompt", [PLAIN, STRUCTURED, Prompt("", "é\ud83d" * 900, "relations")])
def test_a_stored_prompt_comes_back_whole(prompt):
    assert unpack(pack(prompt)) == prompt


def test_prompts_in_free_text_are_stored_as_before_there_were_schemas():
    assert pack(PLAIN) == b'["be brief", "write rows", "generation", 0.5, 100]'


def test_what_earlier_journals_stored_is_read():
    fields = json.dumps(["s", "u" * 600, "relations", None, None]).encode()
    assert unpack(zlib.compress(fields)) == Prompt("s", "u" * 600, "relations")
