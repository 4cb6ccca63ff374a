"""Text that users write: YAML, JSON and TOML, read without running anything in it.

YAML may refer to itself, repeat itself without end, or nest deeper than Python can follow: its
parts are counted before anything is built of them.
"""

from __future__ import annotations

import tomllib
from typing import Any

import yaml

from models.config.base import shorten
from models.errors import InputError

MAX_CHARACTERS = 1_000_000
MAX_DEPTH, MAX_PARTS, MAX_SCALAR = 20, 100_000, 10_000
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What the readers raise at values that look like a date or number and are none.
_UNREADABLE = (ValueError, yaml.YAMLError, AttributeError, TypeError, KeyError, RecursionError)


def parse_value(option: str, text: str) -> Any:
    """Parse one value as YAML; raises InputError that names the option."""
    try:
        return _parse_yaml(text)
    except _UNREADABLE as error:
        raise InputError(f"{option}: cannot read the value {shorten(text)}") from error


def parse_config(text: str, name: str) -> dict[str, Any]:
    """Parse a configuration file by the ending of its `name`: .toml, .yaml, .yml or .json.

    Raises InputError for another ending, for a text that is too long, nests too deep or does not
    parse, and for one that is not a table of keys.
    """
    ending = name.rpartition(".")[2].lower()
    if ending not in {"toml", "yaml", "yml", "json"}:
        raise InputError(f"--config {name}: expected a .toml, .yaml, .yml or .json file")
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"--config {name}: more than 1 MB; a configuration is a few lines of keys")
    try:
        values = _parse_toml(text) if ending == "toml" else _parse_yaml(text)
    except _UNREADABLE as error:
        reason = shorten(" ".join(str(error).split()), 150, quoted=False)
        raise InputError(f"--config {name}: not valid {ending.upper()}: {reason}") from error
    if not isinstance(values, dict):
        raise InputError(f"--config {name}: expected keys with values, such as units: 64")
    return values


def _parse_yaml(text: str) -> Any:
    depth = 0
    for n, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ValueError("anchors (&) and aliases (*) are not taken; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        if n > MAX_PARTS:
            raise ValueError(f"more than {MAX_PARTS:,} keys and values")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_SCALAR:
            raise ValueError(f"a value of more than {MAX_SCALAR:,} characters")
    return yaml.load(text, Loader=_LOADER)  # nosec B506  # it is the safe loader, in C


def _parse_toml(text: str) -> Any:
    if any(line.count(".") > 1000 for line in text.splitlines() if "=" in line or "[" in line):
        raise ValueError("a key of more than 1,000 parts")
    values = tomllib.loads(text)
    level: list[Any] = [values]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return values
    raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
