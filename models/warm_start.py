"""Going on from the weights of an earlier version: when they fit, and when that is honest."""

from __future__ import annotations

import datetime as dt

from models.errors import InputError
from models.forecaster import Forecaster
from models.recipe import Recipe

# What decides the shape of the weights, and what their numbers mean.
SHAPING = (
    "cell", "units", "layers", "dense_units", "output_activation", "members", "head", "horizon",
    "target", "scaler",
)  # fmt: skip
COLD = "or leave warm_start empty for a cold start"


def check_fit(
    recipe: Recipe, feature_names: tuple[str, ...], parent: Forecaster, label: str
) -> None:
    """Raise InputError unless `recipe` on `feature_names` can go on from the weights of `parent`.

    `label` names the parent. Network, features, their order, and target must be the same; a
    reproduction leaks the future, and so would whoever went on from it.
    """
    if parent.recipe.reproduction:
        raise InputError(f"warm_start: {label} is a reproduction that leaks the future; {COLD}")
    theirs = {name: getattr(parent.recipe, name) for name in SHAPING}
    ours = {name: getattr(recipe, name) for name in SHAPING}
    theirs["features"], ours["features"] = list(parent.feature_names), list(feature_names)
    other = [
        f"{name} {theirs[name]}, not {ours[name]}" for name in ours if ours[name] != theirs[name]
    ]
    if other:
        raise InputError(
            f"warm_start: {label} has {'; '.join(other)}: its weights do not fit this recipe; "
            f"set the same, {COLD}"
        )


def check_no_later(label: str, part: str, known: dt.date, allowed: dt.date) -> None:
    """Raise InputError where the weights of a parent know a later day than the new ones may.

    `part` says which weights; `known` is the last day whose close they may have learned from.
    """
    if known > allowed:
        raise InputError(
            f"warm_start: the {part} weights of {label} know the days up to {known}, those of this "
            f"run may know none after {allowed}; take an earlier version, {COLD}"
        )
