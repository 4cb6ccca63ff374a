"""Configuration is frozen, complete and refuses what it does not know."""

from __future__ import annotations

import datetime as dt
import math
from typing import get_args

import pytest
from pydantic import ValidationError

from models.config.data import Ingestion
from models.config.flows import RetrainConfig
from models.config.judging import Judging, Promotion, Watch
from models.config.recipe import DEFAULT_LEVELS, PRESETS, Cell, Recipe


def test_configuration_is_frozen_and_hashed_by_content():
    config = RetrainConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.recipe = Recipe()
    with pytest.raises(ValidationError, match="frozen"):
        config.recipe.units = 3
    assert config.digest() == RetrainConfig().digest()
    assert config.digest() != RetrainConfig(recipe=Recipe(units=33)).digest()
    assert len(config.digest()) == 12


@pytest.mark.parametrize("model", [RetrainConfig, Recipe, Judging])
def test_unknown_keys_are_refused(model):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        model.model_validate({"untis": 3})


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_gives_a_recipe_that_survives_json(name):
    recipe = Recipe(preset=name)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    for key, value in PRESETS[name].items():
        assert getattr(recipe, key) == value


def test_every_cell_has_a_preset_of_its_name():
    assert {cell: Recipe(preset=cell).cell for cell in get_args(Cell)} == {
        cell: cell for cell in get_args(Cell)
    }


def test_the_assignment_is_the_classroom_recipe_to_the_letter():
    recipe = Recipe(preset="assignment")
    network = (recipe.cell, recipe.units, recipe.layers, recipe.dropout, recipe.dense_units)
    assert network == ("lstm", 200, 1, 0.2, 100)
    data = (recipe.features, recipe.target, recipe.scaler, recipe.scale_on)
    assert data == (("close",), "price", "minmax", "all")
    assert (recipe.lookback, recipe.horizon, recipe.output_activation) == (99, 1, "sigmoid")
    training = (recipe.epochs, recipe.batch_size, recipe.shuffle, recipe.patience)
    assert training == (15, 32, False, 0)
    assert recipe.validation_share == 0.1
    assert Judging().test_share == 0.15
    assert recipe.reproduction and recipe.name == "assignment"


def test_what_is_given_beats_the_preset():
    recipe = Recipe(preset="assignment", units=5)
    assert (recipe.units, recipe.lookback) == (5, 99)
    assert Recipe(preset="gru", cell="rnn").cell == "rnn"
    assert Recipe(preset="gru").name == "gru"


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
        ("epochs", 0), ("batch_size", 0), ("learning_rate", 0), ("learning_rate", math.nan),
        ("learning_rate", math.inf), ("patience", -1), ("seed", -1), ("seed", 2**31),
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


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("test_share", 0), ("test_share", 0.9), ("test_share", 1e-9), ("bootstrap_samples", 99),
        ("block_days", 0),
    ],
)  # fmt: skip
def test_judging_values_out_of_range_are_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        Judging.model_validate({key: value})


@pytest.mark.parametrize("symbol", ["BTC", "btc/usd", "BTC/", "BTC/USD/X", ""])
def test_a_symbol_is_base_and_quote(symbol):
    with pytest.raises(ValidationError, match="symbol"):
        RetrainConfig(symbol=symbol)


def test_every_field_has_a_description_for_the_form():
    for model in (RetrainConfig, Recipe, Judging, Ingestion, Promotion, Watch):
        for name, field in model.model_fields.items():
            nested = name in {"recipe", "repair", "judging", "ingestion", "promotion", "watch"}
            assert nested or field.description, name


def test_defaults_are_usable():
    assert list(DEFAULT_LEVELS) == sorted(set(DEFAULT_LEVELS))
    assert {0.05, 0.5, 0.95} <= set(DEFAULT_LEVELS)
    assert RetrainConfig(as_of="2024-12-31").as_of == dt.date(2024, 12, 31)
