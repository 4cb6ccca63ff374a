"""Whose weights a recipe may go on from: those that fit, and that know no day too many."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from models.errors import InputError
from models.recipe import Recipe
from models.warm_start import SHAPING, check_fit, check_no_later

DAY = dt.date(2024, 6, 30)


@pytest.fixture
def parent(fitted):
    return fitted("gru", "standardized_return")[1]


def test_the_same_recipe_fits_whatever_its_training(parent):
    other = parent.recipe.model_copy(
        update={"epochs": 1, "learning_rate": 1e-3, "seed": 99, "lookback": 9, "dropout": 0.0}
    )
    check_fit(other, parent.feature_names, parent, "btc-usd version 3")


@pytest.mark.parametrize("name", SHAPING)
def test_what_shapes_the_weights_must_be_the_same(parent, name):
    value = getattr(parent.recipe, name)
    other = value + 1 if isinstance(value, int) else "other"
    recipe = parent.recipe.model_copy(update={name: other})
    words = f"version 3 has {name} {value}, not {other}: its weights do not fit"
    with pytest.raises(InputError, match=words):
        check_fit(recipe, parent.feature_names, parent, "btc-usd version 3")


def test_features_and_their_order_must_be_the_same(parent):
    with pytest.raises(InputError, match="version 3 has features"):
        check_fit(parent.recipe, parent.feature_names[::-1], parent, "btc-usd version 3")
    with pytest.raises(InputError, match="version 3 has features"):
        check_fit(parent.recipe, parent.feature_names[:-1], parent, "btc-usd version 3")


def test_nobody_goes_on_from_a_reproduction(parent):
    leaky = replace(parent, recipe=parent.recipe.model_copy(update={"reproduction": True}))
    with pytest.raises(InputError, match="reproduction that leaks the future"):
        check_fit(parent.recipe, parent.feature_names, leaky, "btc-usd version 3")


def test_weights_may_know_the_last_day_allowed_and_none_after_it():
    check_no_later("btc-usd version 3", "judged", DAY, DAY)
    with pytest.raises(InputError, match="judged weights of btc-usd version 3 know the days up to"):
        check_no_later("btc-usd version 3", "judged", DAY + dt.timedelta(days=1), DAY)


def test_a_warm_start_on_chunks_trains_little_unless_told_otherwise():
    warm = Recipe(warm_start="champion")
    assert (warm.epochs, warm.learning_rate) == (1, 1e-3)
    assert Recipe(warm_start="champion", epochs=4).epochs == 4
    cold = Recipe()
    assert cold.epochs > 1 and cold.learning_rate > 1e-3
    # On windows early stopping decides.
    assert Recipe(warm_start="champion", cell="bigru").epochs == Recipe(cell="bigru").epochs


def test_a_version_is_named_by_number_or_alias():
    assert Recipe(warm_start=3).warm_start == "3"  # as `--set warm_start=3` is read
    assert Recipe(warm_start="challenger").warm_start == "challenger"
    for wrong in ("0", "latest", "-1", "champion "):
        with pytest.raises(ValueError, match="warm_start"):
            Recipe(warm_start=wrong)
