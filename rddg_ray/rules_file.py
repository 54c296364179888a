"""A user's file of rules, as it is written; `constraints` gives it its meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rddg_ray.errors import ConfigError
from rddg_ray.strict import read_yaml


def read_rules_file(path: Path | str) -> list[Any]:
    """Return the rules as a YAML or JSON file writes them: a list under the key `rules`.

    Raises:
        ConfigError: If it cannot be read or holds no such list; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file of rules")
    # YAML's reader takes most JSON, but not its tabs.
    content = _read_json(path) if path.suffix.lower() == ".json" else read_yaml(path)
    for key in content:
        if key != "rules":
            raise ConfigError(f"{path}: {key} = {content[key]!r:.80}: there is no such key; the "
                              "rules stand in a list under 'rules'")  # fmt: skip
    rules = content.get("rules")
    if not isinstance(rules, list) or not rules:
        raise ConfigError(f"{path}: rules = {rules!r:.80} must be a list of at least one rule")
    return rules


def _read_json(path: Path) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, _ in pairs:
            if sum(key == other for other, _ in pairs) > 1:
                raise ConfigError(f"{path}: the key {key!r} is given twice")
        return dict(pairs)

    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values at the top, found {content!r:.80}")
    return content
