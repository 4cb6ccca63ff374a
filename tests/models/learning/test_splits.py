"""Folds are in the order of time, purged by the horizon, and as large as they say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config.judging import Judging
from models.config.recipe import Recipe
from models.errors import InputError
from models.learning.splits import (
    MAX_VALIDATION,
    MIN_TEST,
    MIN_TRAIN,
    MIN_VALIDATION,
    Fold,
    Span,
    holdout_split,
    naive_first_origin,
    serving_split,
    span_split,
)

SIZES = {
    "first_row": st.integers(0, 60),
    "lookback": st.integers(1, 200),
    "horizon": st.integers(1, 60),
    "test_share": st.floats(0.01, 0.89),
    "validation_share": st.floats(0.01, 0.49),
}


def recipe_of(lookback: int, horizon: int, *, patience: int = 0, **more: Any) -> Recipe:
    training = {"chunk_days": 2000, "patience": patience}
    return Recipe.model_validate(
        {"lookback": lookback, "horizon": horizon, "training": training} | more
    )


def split_off(n_rows, *, first_row, lookback, horizon, test_share, validation_share) -> Fold:
    """The fold of a holdout."""
    recipe = recipe_of(lookback, horizon, validation_share=validation_share)
    return holdout_split(recipe, Judging(test_share=test_share))(n_rows, first_row)


def test_hand_computed_fold():
    fold = split_off(
        343, first_row=1, lookback=10, horizon=3, test_share=0.2, validation_share=0.25
    )
    # Origins 10…339, of which int(330 x 0.8) = 264 come before the test; two are purged each time.
    # Of the 262 that are known, int(262 x 0.75) = 196 come before the validation.
    assert fold == Fold(
        train=range(10, 204),
        validation=range(206, 272),
        test=range(274, 340),
        train_rows=range(1, 207),
        history=range(207),
    )


def test_long_histories_validate_on_the_newest_thousand_origins_and_train_on_the_rest():
    fold = split_off(
        40_000, first_row=0, lookback=1, horizon=1, test_share=0.2, validation_share=0.1
    )
    assert fold.validation == range(fold.test.start - MAX_VALIDATION, fold.test.start)
    assert fold.train == range(fold.validation.start)
    serving = serving_split(recipe_of(1, 1, patience=1, validation_share=0.1))(40_000, 0)
    assert serving.validation == range(39_999 - MAX_VALIDATION, 39_999)
    assert serving.train.stop == serving.validation.start


@settings(deadline=None, max_examples=300)
@given(n_rows=st.integers(1, 3000), **SIZES)
def test_parts_share_no_target_and_no_row_is_read_that_is_not_there(n_rows, **shares):
    try:
        fold = split_off(n_rows, **shares)
    except InputError:
        return
    horizon, lookback = shares["horizon"], shares["lookback"]
    for earlier, later in ((fold.train, fold.validation), (fold.validation, fold.test)):
        last_target, first_target = earlier[-1] + horizon, later[0] + 1
        assert last_target == first_target - 1
    assert fold.train[0] - lookback + 1 == shares["first_row"] == fold.train_rows[0]
    assert fold.train_rows[-1] == fold.history[-1] == fold.train[-1] + horizon
    assert fold.test[-1] + horizon == n_rows - 1
    assert len(fold.train) >= MIN_TRAIN
    assert len(fold.validation) >= MIN_VALIDATION
    assert len(fold.test) >= MIN_TEST
    assert fold.test[0] >= naive_first_origin(horizon)


@settings(deadline=None, max_examples=200)
@given(n_rows=st.integers(0, 400), **SIZES)
def test_the_number_that_is_asked_for_is_enough_and_one_fewer_is_not(n_rows, **shares):
    try:
        split_off(n_rows, **shares)
    except InputError as error:
        needed = int(re.search(r"at least (\d+)", str(error)).group(1))
        assert str(error).startswith(f"too few candles: {n_rows} rows")
    else:
        return
    split_off(needed, **shares)
    for fewer in {needed - 1, (needed + n_rows) // 2, n_rows} - {needed}:
        with pytest.raises(InputError, match=f"at least {needed}"):
            split_off(fewer, **shares)


@pytest.mark.parametrize(("patience", "n_validation"), [(1, 48), (0, 10)])
def test_serving_fold_reaches_the_newest_candle_and_is_purged(
    patience: int, n_validation: int
) -> None:
    fold = serving_split(recipe_of(10, 7, patience=patience))(500, 1)
    assert len(fold.validation) == n_validation
    assert fold.validation[-1] + 7 == 499
    assert len(fold.test) == 0
    # The last target that is trained on comes before the first that validates.
    assert fold.train[-1] + 7 == fold.validation[0]
    assert fold.train_rows[-1] == fold.history[-1] == fold.train[-1] + 7
    assert fold.train[0] == 10


def test_serving_fold_says_what_is_missing() -> None:
    with pytest.raises(InputError, match="too few candles: 60 rows"):
        serving_split(recipe_of(30, 7))(60, 1)


@pytest.mark.parametrize("known", [range(501), range(100, 501)])
def test_a_fold_of_a_backtest_knows_the_first_origin_and_nothing_later(known: range) -> None:
    span = Span(known, range(500, 530))
    first = max(known.start, 29) + 9
    fold = span_split(recipe_of(10, 7), span)(900, 29)
    assert fold.train == range(first, 494) and len(fold.validation) == 0
    # The last target is the close of the first origin.
    assert fold.train[-1] + 7 == fold.train_rows[-1] == fold.history[-1] == 500
    assert fold.train_rows.start == max(known.start, 29) and fold.history.start == known.start
    assert fold.test == span.origins

    stops = span_split(recipe_of(10, 7, patience=1), span)(900, 29)
    assert stops.validation[-1] + 7 == 500
    assert len(stops.validation) == int(0.1 * (494 - first))
    assert stops.train[-1] + 7 == stops.validation[0]
    assert stops.train_rows[-1] == stops.history[-1] == stops.train[-1] + 7


def test_a_fold_of_a_backtest_says_where_its_candles_are_too_few() -> None:
    with pytest.raises(InputError, match="120 candles before origin 119 are too few"):
        span_split(recipe_of(10, 7), Span(range(120), range(119, 130)))(900, 29)
