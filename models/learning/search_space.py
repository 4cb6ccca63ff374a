"""What may vary in the search for a better recipe."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from models.config.recipe import Chunks, Recipe

Space = dict[str, BaseDistribution]
MOST_LOOKBACK = 90


def make_space(base: Recipe) -> Space:
    """What may vary, by dotted key of the recipe; `base` itself always lies inside.

    The cell, the features, the target and the members stay as they are.
    """
    longest = MOST_LOOKBACK
    if isinstance(base.training, Chunks):
        longest = min(longest, base.training.chunk_days - 1)
    space: Space = {
        "units": _whole(8, 64, base.units, log=True),
        "layers": _whole(1, 2, base.layers),
        "dropout": _real(0.0, 0.6, base.dropout),
        "lookback": _whole(10, longest, base.lookback),
        "training.learning_rate": _real(1e-3, 2e-2, base.training.learning_rate, log=True),
        "training.epochs": _whole(2, 12, base.training.epochs),
    }
    if base.blend:
        space["blend"] = _real(0.2, 0.9, base.blend)
    return space


def _whole(low: int, high: int, inside: int, *, log: bool = False) -> IntDistribution:
    low, high = min(low, inside), max(high, inside)
    return IntDistribution(max(low, 1) if log else low, high, log=log)


def _real(low: float, high: float, inside: float, *, log: bool = False) -> FloatDistribution:
    return FloatDistribution(min(low, inside), max(high, inside), log=log)


def read_values(recipe: Recipe, space: Space) -> dict[str, Any]:
    """What a recipe has for each key of the space."""
    values = recipe.model_dump()
    return {
        key: values["training"][key.partition(".")[2]] if "." in key else values[key]
        for key in space
    }


def make_recipe(base: Recipe, values: dict[str, Any]) -> Recipe:
    """The recipe `base` with other values by dotted key."""
    tree = base.model_dump()
    for key, value in values.items():
        section, _, leaf = key.rpartition(".")
        (tree[section] if section else tree)[leaf] = value
    return Recipe.model_validate(tree)


def lookbacks(space: Space) -> tuple[int, int]:
    """The shortest and the longest lookback of a space."""
    found: Any = space["lookback"]
    return found.low, found.high
