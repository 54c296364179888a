"""Strict reading of settings: YAML without its traps, and errors that name file, key and value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from rddg_ray.errors import ConfigError

_MAX_SHOWN = 80
_SECRET = re.compile(r"(?i)key|token|secret|password")


class _Loader(yaml.SafeLoader):
    """YAML in which a key stands once, and yes, no, on and off are words (as in YAML 1.2).

    Otherwise classes called `yes` and `no` would become booleans, and the first of two equal
    keys would be lost in silence.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if key.tag != "tag:yaml.org,2002:merge" and name in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {name!r} is given twice",
                                           key.start_mark)  # fmt: skip
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


# A copy of its own: resolvers hang on the class that PyYAML shares with everyone.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the keys and values of a YAML file.

    Raises:
        ConfigError: If it cannot be read, gives a key twice, or holds no keys and values.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values at the top, found {content!r}")
    return content


def explain(
    error: ValidationError, content: Mapping[str, Any], model: type[BaseModel], source: str
) -> str:
    """Return what is wrong with settings, one line a key.

    Args:
        error: What the model said of `content`.
        content: The settings as given.
        model: The model that refused them.
        source: The file's name.
    """
    wrong: dict[str, tuple[object, list[str]]] = {}
    for item in error.errors(include_url=False):
        path = _given_path(item["loc"], content)
        key = ".".join(map(str, path)) or "(top)"
        words = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            words = "there is no such key" + _hint(path, model)
        shown = wrong.setdefault(key, (item["input"], []))
        shown[1].append(words)
    return "\n".join(
        f"{source}: {key} = {_shown(key, value)}: {' or: '.join(words)}"
        for key, (value, words) in wrong.items()
        # What holds a wrong value is wrong by that alone.
        if not any(other.startswith(f"{key}.") for other in wrong)
    )


def _given_path(loc: tuple[int | str, ...], content: object) -> tuple[int | str, ...]:
    """Return the part of an error's place that names keys, without the branches of a union."""
    path: list[int | str] = []
    for position, part in enumerate(loc):
        is_key = isinstance(content, Mapping) and part in content
        is_item = isinstance(content, list | tuple) and isinstance(part, int)
        if is_key or is_item:
            content = content[part]  # type: ignore[index]  # just checked
        elif position < len(loc) - 1 or not isinstance(content, Mapping) or "[" in str(part):
            continue
        path.append(part)
    return tuple(path)


def _shown(key: str, value: object) -> str:
    if _SECRET.search(key.rpartition(".")[2]) and isinstance(value, str):
        return "(not shown)"
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def _hint(path: tuple[int | str, ...], model: type[BaseModel]) -> str:
    for part in path[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    names = sorted(model.model_fields)
    close = difflib.get_close_matches(str(path[-1]), names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in get_args(annotation))
    return next((model for model in found if model is not None), None)
