"""The search space holds what it must, and nothing of it reaches the test days."""

from __future__ import annotations

import random

import pytest

from models.config.flows import Search
from models.config.judging import Judging
from models.config.recipe import PRESETS, Recipe
from models.data.sample import make_sample
from models.errors import InputError
from models.forecasters import walk_forward
from models.forecasters.baselines import naive_quantiles
from models.learning.prepare import prepare
from models.learning.search_space import lookbacks, make_recipe, make_space, read_values
from models.learning.splits import holdout_split
from models.scoring.tuning import find_first_test_row, make_folds, score_fold
from tests.conftest import LAST_DAY

TUNED = [name for name in PRESETS if not Recipe(preset=name).reproduction]


@pytest.mark.parametrize("name", TUNED)
def test_the_recipe_that_a_search_begins_with_lies_in_its_space(name: str) -> None:
    base = Recipe(preset=name)
    space = make_space(base)
    values = read_values(base, space)
    assert all(space[key]._contains(value) for key, value in values.items())
    assert make_recipe(base, values) == base
    assert ("blend" in space) == bool(base.blend)


@pytest.mark.parametrize("name", TUNED)
def test_every_corner_and_any_point_of_the_space_is_a_recipe(name: str) -> None:
    base, draw = Recipe(preset=name, units=3, lookback=2, dropout=0.7), random.Random(1)
    space = make_space(base)
    for number in range(200):
        ends = [(d.low, d.high) for d in space.values()]  # type: ignore[attr-defined]
        values = {
            key: draw.choice(pair)
            if number % 2 or isinstance(pair[0], int)
            else draw.uniform(*pair)
            for key, pair in zip(space, ends, strict=True)
        }
        recipe = make_recipe(base, values)
        assert read_values(recipe, space) == values
        assert (recipe.cell, recipe.features) == (base.cell, base.features)


def test_no_recipe_of_the_search_is_tested_earlier_than_the_row_that_ends_it() -> None:
    candles, base = make_sample(LAST_DAY, n_days=700), Recipe()
    first = find_first_test_row(base, candles, Judging(), lookbacks(make_space(base)))
    starts = [
        prepare(recipe, candles, holdout_split(recipe, Judging())).fold.test.start
        for lookback in (10, 40, 90)
        if (recipe := make_recipe(base, {"lookback": lookback}))
    ]
    assert starts == sorted(starts) and starts[0] == first


def test_a_score_uses_the_last_day_before_the_test_and_is_the_same_each_time(tiny_recipe) -> None:
    candles, recipe = make_sample(LAST_DAY, n_days=500), tiny_recipe("rnn")
    [fold] = make_folds(len(candles), recipe.horizon, Search(folds=1, fold_days=60))
    other = candles.assign(close=candles["close"].where(candles.index < 499, candles["high"]))
    scores = [score_fold(recipe, frame, fold) for frame in (candles, candles, other)]
    assert scores[0] == scores[1] != scores[2]


def test_folds_lie_one_after_the_other_and_end_with_the_last_outcome_known() -> None:
    folds = make_folds(1000, 7, Search(folds=3, fold_days=100))
    assert [fold.origins for fold in folds] == [
        range(693, 793), range(793, 893), range(893, 993)
    ]  # fmt: skip
    assert [fold.known for fold in folds] == [range(694), range(794), range(894)]


def test_too_many_folds_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"5 folds of 180 days leave 93 of the 1000 candles"):
        make_folds(1000, 7, Search(folds=5))


def test_one_forecast_that_is_not_finite_makes_the_score_infinite(
    tiny_recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    candles, recipe = make_sample(LAST_DAY, n_days=500), tiny_recipe("rnn")
    [fold] = make_folds(len(candles), recipe.horizon, Search(folds=1, fold_days=60))
    levels = recipe.quantile_levels
    naive = naive_quantiles(candles["close"].to_numpy(), fold.origins, recipe.horizon, levels)
    monkeypatch.setattr(walk_forward, "predict_group", lambda *_, **__: naive)
    assert score_fold(recipe, candles, fold) == 1.0
    naive = naive.copy()
    naive[17, 1] = float("nan")
    assert score_fold(recipe, candles, fold) == float("inf")


def test_a_network_that_diverges_has_a_score_that_is_infinite(tiny_recipe) -> None:
    candles, recipe = make_sample(LAST_DAY, n_days=500), tiny_recipe("rnn")
    faster = recipe.training.model_copy(update={"learning_rate": 1e38})
    [fold] = make_folds(len(candles), recipe.horizon, Search(folds=1, fold_days=60))
    assert score_fold(recipe.model_copy(update={"training": faster}), candles, fold) == float("inf")
