"""The recipe: presets, what is refused, how it is trained, and versions of earlier releases."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from models.config.judging import Judging
from models.config.recipe import PRESETS, READS_BOTH_WAYS, Chunks, Recipe, Windows


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_gives_a_recipe_that_survives_json(name):
    recipe = Recipe(preset=name)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    values = recipe.model_dump()
    for key, value in PRESETS[name].items():
        assert values[key] == value


def test_every_cell_has_a_preset_of_its_name():
    assert {cell: Recipe(preset=cell).cell for cell in tuple(READS_BOTH_WAYS)} == {
        cell: cell for cell in tuple(READS_BOTH_WAYS)
    }


def test_the_assignment_is_the_classroom_recipe_to_the_letter():
    recipe = Recipe(preset="assignment")
    network = (recipe.cell, recipe.units, recipe.layers, recipe.dropout, recipe.dense_units)
    assert network == ("lstm", 200, 1, 0.2, 100)
    data = (recipe.features, recipe.target, recipe.scaler, recipe.scale_on)
    assert data == (("close",), "price", "minmax", "all")
    assert (recipe.lookback, recipe.horizon, recipe.output_activation) == (99, 1, "sigmoid")
    assert recipe.training == Windows(
        epochs=15, batch_size=32, learning_rate=1e-3, patience=0, shuffle=False
    )
    assert recipe.validation_share == 0.1
    assert Judging().test_share == 0.15
    assert recipe.reproduction and recipe.name == "assignment"


def test_what_is_given_beats_the_preset():
    recipe = Recipe(preset="assignment", units=5)
    assert (recipe.units, recipe.lookback) == (5, 99)
    assert Recipe(preset="gru", cell="rnn").cell == "rnn"
    assert Recipe(preset="gru").name == "gru"
    assert Recipe(cell="lstm").name == "lstm + regression"
    assert Recipe(cell="lstm", econometric="egarch").name == "lstm + EGARCH"


def test_a_price_target_sees_prices_unless_told_otherwise():
    assert Recipe(target="price").features == ("close",)
    assert Recipe(target="price", features=("log_return",)).features == ("log_return",)


def test_only_a_reproduction_may_leak():
    with pytest.raises(ValidationError, match="leaks the future"):
        Recipe(scale_on="all")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("units", 0), ("units", 1.5), ("units", "many"), ("layers", 5), ("dropout", 1),
        ("dropout", -0.1), ("lookback", 0), ("lookback", 1001), ("horizon", 0), ("horizon", 61),
        ("seed", -1), ("seed", 2**31), ("training", "chunks"), ("training", {"kind": "folds"}),
        ("validation_share", 0), ("validation_share", 0.5), ("validation_share", math.nan),
        ("validation_share", 1e-9), ("features", ()), ("features", ("close", "close")),
        ("quantile_levels", ()), ("quantile_levels", (0.1, 0.9)),
        ("quantile_levels", (0.5, 0.1)), ("quantile_levels", (0.5, 0.5)),
        ("quantile_levels", (0, 0.5)), ("quantile_levels", (0.5, math.nan)), ("cell", "LSTM"),
        ("target", "close"), ("scaler", "none"),
    ],
)  # fmt: skip
def test_recipe_values_out_of_range_are_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        Recipe.model_validate({key: value})


@pytest.mark.parametrize("kind", ["chunks", "windows"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0), ("learning_rate", 0), ("learning_rate", math.nan),
        ("learning_rate", math.inf), ("patience", -1), ("batch_size", 0), ("chunk_days", 1),
        ("chunks_per_update", 0), ("updates_per_epoch", 0),
    ],
)  # fmt: skip
def test_settings_of_the_training_out_of_range_are_refused(kind, key, value):
    """Those of the other kind are refused as unknown."""
    with pytest.raises(ValidationError, match=key):
        Recipe.model_validate({"training": {"kind": kind, key: value}})


def test_an_unknown_cell_is_refused_with_the_known_ones():
    with pytest.raises(ValidationError, match="Input should be 'rnn' or 'lstm' or 'gru'"):
        Recipe(cell="LSTM")
    schema = Recipe.model_json_schema()["properties"]["cell"]
    assert schema["enum"] == list(READS_BOTH_WAYS)


@pytest.mark.parametrize(
    ("values", "training"),
    [
        ({}, Chunks()),
        ({"cell": "bigru"}, Windows()),
        ({"head": "point", "target": "log_return"}, Windows()),
        ({"target": "price"}, Windows()),
        ({"training": {"epochs": 3}}, Chunks(epochs=3)),
        ({"cell": "bilstm", "training": {"epochs": 3}}, Windows(epochs=3)),
        ({"training": {"kind": "windows"}}, Windows()),
        ({"training": {"kind": "windows", "shuffle": False}}, Windows(shuffle=False)),
        (
            {"preset": "assignment", "training": {"epochs": 1}},
            Windows(epochs=1, batch_size=32, learning_rate=1e-3, patience=0, shuffle=False),
        ),
    ],
)
def test_a_recipe_is_trained_as_its_network_asks_for_unless_told_otherwise(values, training):
    assert Recipe.model_validate(values).training == training


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cell": "bigru", "training": {"kind": "chunks"}}, "reads both ways and takes 'windows'"),
        ({"head": "point", "training": {"kind": "chunks"}}, "training 'windows', received"),
        ({"lookback": 120}, "chunk_days above lookback"),
        ({"dense_units": 8}, "dense_units 0, received"),
        ({"head": "point", "members": 2}, "members 1"),
        ({"head": "student_t", "target": "price"}, "target: 'price' takes head 'point'"),
        ({"head": "point", "target": "standardized_return"}, "takes 'student_t'"),
        ({"training": {"shuffle": True}}, "shuffle"),
        ({"cell": "bigru", "training": {"chunk_days": 50}}, "chunk_days"),
    ],
)
def test_what_does_not_fit_together_is_refused(values, words):
    with pytest.raises(ValidationError, match=words):
        Recipe.model_validate(values)


# What a version of release 0.1.0 stores as its recipe; the settings of the training lie beside the
# others, and two of them are gone.
EARLIER: dict[str, Any] = {
    "preset": "default", "cell": "gru", "units": 32, "layers": 1, "dropout": 0.3, "dense_units": 0,
    "output_activation": "linear", "lookback": 40, "horizon": 7, "head": "student_t", "members": 5,
    "blend": 0.5, "target": "standardized_return", "features": ["log_return", "log_volatility"],
    "scaler": "standard", "scale_on": "train", "validation_share": 0.1, "training": "chunks",
    "chunk_days": 100, "chunks_per_update": 16, "companion_share": 0.6, "updates_per_epoch": 9,
    "epochs": 5, "batch_size": 128, "learning_rate": 0.004, "patience": 0, "shuffle": True,
    "seed": 7, "warm_start": "champion", "quantile_levels": [0.05, 0.5, 0.95],
    "reproduction": False,
}  # fmt: skip


def test_a_version_of_an_earlier_release_is_read():
    recipe = Recipe.from_stored(EARLIER)
    assert recipe.training == Chunks(
        chunk_days=100, updates_per_epoch=9, epochs=5, learning_rate=0.004
    )
    assert (recipe.cell, recipe.seed, recipe.features) == (
        "gru", 7, ("log_return", "log_volatility"),
    )  # fmt: skip
    assert Recipe.from_stored(recipe.model_dump(mode="json")) == recipe
    bigru = {"preset": "bigru", "cell": "bigru", "members": 2, "blend": 0.0, "training": "windows"}
    windows = Recipe.from_stored(EARLIER | bigru | {"epochs": 30, "patience": 4})
    assert windows.training == Windows(epochs=30, learning_rate=0.004)


def test_the_reproduction_of_an_earlier_release_is_the_same_recipe_still():
    classroom = EARLIER | {
        "preset": "assignment", "cell": "lstm", "units": 200, "dropout": 0.2, "dense_units": 100,
        "output_activation": "sigmoid", "lookback": 99, "horizon": 1, "head": "point",
        "members": 1, "blend": 0.0, "target": "price", "features": ["close"], "scaler": "minmax",
        "scale_on": "all", "training": "windows", "epochs": 15, "batch_size": 32,
        "learning_rate": 0.001, "shuffle": False, "warm_start": "", "reproduction": True,
    }  # fmt: skip
    stored = classroom | {"quantile_levels": list(Recipe().quantile_levels)}
    assert Recipe.from_stored(stored).digest() == Recipe(preset="assignment").digest()
