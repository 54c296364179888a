"""From a chat request's messages to the reply's text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rddg_ray.config import EmbeddedSettings
from rddg_ray.llm.embedded.analysis import relation_lines
from rddg_ray.llm.embedded.generation import generation_reply, generation_rows
from rddg_ray.llm.embedded.reading import Reading, read_prompt
from rddg_ray.llm.embedded.rule_json import asks_for_json, rule_block
from rddg_ray.llm.embedded.rules import rule_lines
from rddg_ray.llm.embedded.structured import structured_reply

_WHO = "I am the embedded sampler, a statistical sampler and not a language model."


def reply(
    messages: Sequence[tuple[str, str]],
    settings: EmbeddedSettings,
    schema: Mapping[str, Any] | None = None,
) -> str:
    """Return the text that answers a conversation.

    The text depends on the messages, the settings and the schema alone, so the same prompt gets
    the same reply from every server that is set alike, before and after a restart. Under a schema
    it is JSON: the rows that were asked for, or none where the prompt asks for something else.

    Args:
        messages: Role and text of each message; the last one of the user is answered.
        settings: Random state and flaws.
        schema: What the reply must follow (see `structured`), or None for text.
    """
    user = next((text for role, text in reversed(messages) if role == "user"), "")
    reading = read_prompt(user)
    if schema is not None:
        is_asked = reading.phase == "generation" and reading.columns
        rows = generation_rows(reading, settings, _rng(messages, settings)) if is_asked else ()
        return structured_reply(rows, reading.columns, schema)
    if reading.phase == "generation" and reading.columns:
        return generation_reply(reading, settings, _rng(messages, settings))
    if reading.phase == "constraints":
        return _constraints(reading) + (rule_block(reading) if asks_for_json(user) else "")
    if reading.phase == "relations":
        return "\n".join([f"{_WHO} In the rows shown:", "", *relation_lines(reading)]) + "\n"
    return (
        f"{_WHO} I answer prompts that show a block of rows (a CSV header line, then rows under "
        "class letters such as `A.`) and ask for relations, rules or new rows.\n"
    )


def _constraints(reading: Reading) -> str:
    lines = rule_lines(reading)
    if not lines:
        return f"{_WHO} I can read no relation in the text above, and so write no rule.\n"
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1)) + "\n"


def _rng(messages: Sequence[tuple[str, str]], settings: EmbeddedSettings) -> np.random.Generator:
    # Flaws are not hashed: replies of two servers that differ in one flaw share their noise,
    # so that the flaw's effect can be measured without it.
    content = json.dumps([settings.random_state, list(messages)])
    digest = hashlib.sha256(content.encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
