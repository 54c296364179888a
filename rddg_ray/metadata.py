"""What a metadata file (SDV Metadata V2, with a few keys more) says of columns."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rddg_ray.errors import DataError
from rddg_ray.schema import Column, Kind

_SDTYPES: dict[str, Kind] = {
    "numerical": "numerical",
    "categorical": "categorical",
    "boolean": "boolean",
    "datetime": "datetime",
    "id": "id",
}
_KEYS = {
    "sdtype", "computer_representation", "datetime_format", "regex_format", "pii",
    "description", "unit", "role", "decimals",
}  # fmt: skip
_ROLES = {"feature", "target", "id", "ignore"}


def columns_of_metadata(content: object, source: str) -> dict[str, dict[str, Any]]:
    """Return what Metadata V2 says of each column, as plain keys.

    Args:
        content: Parsed JSON: a single-table file, or a multi-table file with one table.
        source: The file's name, for errors.

    Returns:
        By column name: `kind` and any of `decimals`, `datetime_format`, `description`, `unit`.

    Raises:
        DataError: If the structure, an sdtype, a key or a role is not known.
    """
    if not isinstance(content, Mapping):
        raise DataError(f"{source}: expected a JSON object, found {type(content).__name__}")
    if tables := content.get("tables"):
        if not isinstance(tables, Mapping) or len(tables) != 1:
            raise DataError(f"{source}: 'tables' must hold exactly one table")
        content = next(iter(tables.values()))
    columns = content.get("columns") if isinstance(content, Mapping) else None
    if not isinstance(columns, Mapping):
        raise DataError(f"{source}: there is no 'columns' object; see SDV Metadata V2")
    said = {str(name): _of_metadata(entry, f"{source}: column {name!r}")
            for name, entry in columns.items()}  # fmt: skip
    if isinstance(content, Mapping) and str(content.get("primary_key")) in said:
        said[str(content.get("primary_key"))]["kind"] = "id"
    return said


def _of_metadata(entry: object, where: str) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        raise DataError(f"{where}: expected an object, found {entry!r}")
    if unknown := sorted(set(entry) - _KEYS):
        raise DataError(f"{where}: unknown key {unknown[0]!r}; known: {sorted(_KEYS)}")
    role = entry.get("role", "feature")
    if role not in _ROLES:
        raise DataError(f"{where}: role {role!r} is not one of {sorted(_ROLES)}")
    said = {key: entry[key] for key in ("decimals", "datetime_format", "description", "unit")
            if key in entry}  # fmt: skip
    _check_values(said, where)
    if sdtype := entry.get("sdtype"):
        said["kind"] = _kind_of(str(sdtype), where)
    if role in ("id", "ignore"):
        said["kind"] = "id"
    if "Int" in str(entry.get("computer_representation", "")):
        said.setdefault("decimals", 0)
    return said


def _check_values(said: Mapping[str, Any], where: str) -> None:
    for key, value in said.items():
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if not (is_count if key == "decimals" else isinstance(value, str)):
            wanted = "a whole number from 0" if key == "decimals" else "a text"
            raise DataError(f"{where}: {key} = {value!r} must be {wanted}")


def _kind_of(sdtype: str, where: str) -> Kind:
    if (kind := _SDTYPES.get(sdtype)) is not None:
        return kind
    if close := difflib.get_close_matches(sdtype.casefold(), _SDTYPES, n=1, cutoff=0.75):
        raise DataError(f"{where}: sdtype {sdtype!r} is not known; did you mean {close[0]!r}?")
    # Personal data (sdtype "email", "name", ...) is an id here: never shown to an endpoint.
    return "id"


def describe(column: Column, said: Mapping[str, Any]) -> Column:
    """Return the column with the words (not the kind) that metadata gives for it."""
    words = {key: str(said[key]) for key in ("description", "unit") if key in said}
    return replace(column, **words)  # type: ignore[arg-type]  # both keys are texts
