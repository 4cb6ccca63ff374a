"""Configuration is frozen, complete and refuses what it does not know."""

from __future__ import annotations

import datetime as dt

import pytest
from pydantic import ValidationError

from models.config.data import Ingestion
from models.config.flows import RetrainConfig, Workers
from models.config.judging import Judging, Promotion, Retention, Watch
from models.config.recipe import DEFAULT_LEVELS, Recipe


def test_configuration_is_frozen_and_hashed_by_content():
    config = RetrainConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.recipe = Recipe()
    with pytest.raises(ValidationError, match="frozen"):
        config.recipe.units = 3
    assert config.digest() == RetrainConfig().digest()
    assert config.digest() != RetrainConfig(recipe=Recipe(units=33)).digest()
    assert len(config.digest()) == 12


def test_a_source_names_the_file_of_its_symbol_or_of_each():
    asked = {"source": "csv:{base}-{quote}.csv", "symbol": "ETH/USDT:USDT"}
    assert RetrainConfig.model_validate(asked).source == "csv:ETH-USDT.csv"
    several = RetrainConfig(source=asked["source"], symbols=("BTC/USD", "XRP/USD"))
    assert several.source == asked["source"]
    assert several.for_symbol("XRP/USD").source == "csv:XRP-USD.csv"


@pytest.mark.parametrize("model", [RetrainConfig, Recipe, Judging])
def test_unknown_keys_are_refused(model):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        model.model_validate({"untis": 3})


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
    for model in (
        RetrainConfig, Recipe, Judging, Ingestion, Promotion, Watch, Retention, Workers,
    ):  # fmt: skip
        for name, field in model.model_fields.items():
            nested = name in {
                "recipe",
                "file",
                "repair",
                "judging",
                "ingestion",
                "promotion",
                "watch",
                "retention",
                "workers",
            }
            assert nested or field.description, name


def test_defaults_are_usable():
    assert list(DEFAULT_LEVELS) == sorted(set(DEFAULT_LEVELS))
    assert {0.05, 0.5, 0.95} <= set(DEFAULT_LEVELS)
    assert RetrainConfig(as_of="2024-12-31").as_of == dt.date(2024, 12, 31)
