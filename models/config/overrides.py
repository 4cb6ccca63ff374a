"""From what a user types to one checked configuration."""

from __future__ import annotations

from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from models.config.base import nearest, shorten
from models.config.flows import Fitting, RetrainConfig
from models.config.recipe import Chunks, Windows
from models.config.text import parse_value
from models.errors import InputError

C = TypeVar("C", bound=Fitting)


def make_config(
    values: dict[str, Any],
    assignments: list[str],
    kind: type[C] = RetrainConfig,  # type: ignore[assignment]
) -> C:
    """Build the configuration from nested `values`, then `assignments` such as 'units=64'.

    A key is a dotted path ('recipe.units') or its last part alone ('units'), since no two
    sections share a name. Raises InputError that names the key, what was expected and what came.
    """
    tree: dict[str, Any] = {}
    for key, value in _leaves(values):
        _put(tree, key, value, kind)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            given = shorten(assignment, quoted=False)
            raise InputError(f"--set {given}: expected KEY=VALUE, for example units=64")
        _put(tree, key.strip(), parse_value(f"--set {shorten(key, quoted=False)}", text), kind)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise InputError(one_line(error)) from error


def parse_exogenous(texts: list[str] | None) -> list[Any] | None:
    """Read what --exogenous was given: NAME=PATH stays a text, '{name: …}' becomes its keys."""
    return [parse_value("--exogenous", text) for text in texts] if texts else None


def one_line(error: ValidationError) -> str:
    """Say what pydantic found in one line: key, expectation and what was received."""
    faults = []
    for fault in error.errors(include_url=False):
        parts = [str(part) for part in fault["loc"]]
        # Pydantic names the kind of training as if it were a key.
        at = parts.index("training") + 1 if "training" in parts else len(parts)
        kind = parts.pop(at) if parts[at : at + 1] in (["chunks"], ["windows"]) else ""
        key = shorten(".".join(parts), quoted=False)
        message = shorten(fault["msg"].removeprefix("Value error, "), 300, quoted=False)
        given = fault["input"]
        received = "" if isinstance(given, dict) else f", received {shorten(given)}"
        hint = ""
        if fault["type"] == "extra_forbidden":
            message = f"not a setting of training {kind!r}" if kind else "unknown key"
            known = {"chunks": Chunks.model_fields, "windows": Windows.model_fields}.get(kind)
            received = nearest(parts[-1], known or _paths_by_leaf())
        elif fault["type"] == "literal_error":
            hint = nearest(str(fault["input"]), _words(fault["ctx"]["expected"]))
            message, received = f"unknown value {shorten(given)}", ""
        faults.append(f"{key}: {message}{received}{hint}" if key else f"{message}{received}{hint}")
    more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
    return "configuration: " + "; ".join(faults[:5]) + more


def _words(expected: str) -> list[str]:
    return [word.strip(" '") for word in expected.replace(" or ", ", ").split(",")]


def _leaves(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        path = f"{prefix}{key}"
        found += _leaves(value, f"{path}.") if isinstance(value, dict) else [(path, value)]
    return found


def _paths_by_leaf(kind: type[Fitting] = RetrainConfig) -> dict[str, tuple[str, ...]]:
    """Map the last part of every key, 'units', to its whole path, ('recipe', 'units')."""
    paths: dict[str, tuple[str, ...]] = {}

    def walk(model: type[BaseModel], prefix: tuple[str, ...]) -> None:
        for name, field in model.model_fields.items():
            inner = [
                model
                for model in (field.annotation, *get_args(field.annotation))
                if isinstance(model, type) and issubclass(model, BaseModel)
            ]
            # A union such as Chunks | Windows; a tuple of models is given as a whole.
            if inner and get_origin(field.annotation) is not tuple:
                for model in inner:
                    walk(model, (*prefix, name))
            if not inner or len(inner) > 1 or get_origin(field.annotation) is tuple:
                paths[name] = (*prefix, name)

    walk(kind, ())
    return paths


def _put(tree: dict[str, Any], key: str, value: Any, kind: type[Fitting]) -> None:
    parts = tuple(key.split("."))
    paths = _paths_by_leaf(kind)
    path = paths.get(parts[-1])
    if path is None or parts != path[-len(parts) :]:
        known = paths if len(parts) == 1 else [".".join(path) for path in paths.values()]
        raise InputError(f"unknown configuration key {shorten(key)}{nearest(key, known)}")
    if path[-1] == "training" and isinstance(value, str):
        path = (*path, "kind")
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise InputError(f"configuration: {part} is given twice, as a value and as keys")
    tree[path[-1]] = value
