"""Folds are in the order of time, purged by the horizon, and as large as they say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputError
from models.learning.splits import (
    MAX_VALIDATION,
    MIN_TEST,
    MIN_TRAIN,
    MIN_VALIDATION,
    Fold,
    make_fold,
    make_serving_fold,
)

sizes = {
    "first_row": st.integers(0, 60),
    "lookback": st.integers(1, 200),
    "horizon": st.integers(1, 60),
    "test_share": st.floats(0.01, 0.89),
    "validation_share": st.floats(0.01, 0.49),
    "least_past": st.integers(0, 400),
}


def test_hand_computed_fold():
    fold = make_fold(
        120, first_row=1, lookback=10, horizon=3, test_share=0.2, validation_share=0.25,
        least_past=95,
    )  # fmt: skip
    # Origins 10…116, of which int(107 x 0.8) = 85 come before the test; two are purged each time.
    assert fold == Fold(
        train=range(10, 70), validation=range(72, 93), test=range(95, 117), train_rows=range(1, 73)
    )


def test_long_histories_validate_on_the_newest_thousand_origins_and_train_on_the_rest():
    fold = make_fold(
        40_000, first_row=0, lookback=1, horizon=1, test_share=0.2, validation_share=0.1,
        least_past=0,
    )  # fmt: skip
    assert fold.validation == range(fold.test.start - MAX_VALIDATION, fold.test.start)
    assert fold.train == range(fold.validation.start)
    serving = make_serving_fold(40_000, first_row=0, lookback=1, horizon=1, validation_share=0.1)
    assert serving.validation == range(39_999 - MAX_VALIDATION, 39_999)
    assert serving.train.stop == serving.validation.start


@settings(deadline=None, max_examples=300)
@given(n_rows=st.integers(1, 3000), **sizes)
def test_parts_share_no_target_and_no_row_is_read_that_is_not_there(n_rows, **shares):
    try:
        fold = make_fold(n_rows, **shares)
    except InputError:
        return
    horizon, lookback = shares["horizon"], shares["lookback"]
    for earlier, later in ((fold.train, fold.validation), (fold.validation, fold.test)):
        last_target, first_target = earlier[-1] + horizon, later[0] + 1
        assert last_target == first_target - 1
    assert fold.train[0] - lookback + 1 == shares["first_row"] == fold.train_rows[0]
    assert fold.train_rows[-1] == fold.train[-1] + horizon
    assert fold.test[-1] + horizon == n_rows - 1
    assert len(fold.train) >= MIN_TRAIN
    assert len(fold.validation) >= MIN_VALIDATION
    assert len(fold.test) >= MIN_TEST
    assert fold.test[0] >= shares["least_past"]


@settings(deadline=None, max_examples=200)
@given(n_rows=st.integers(0, 200), **sizes)
def test_the_number_that_is_asked_for_is_enough_and_one_fewer_is_not(n_rows, **shares):
    try:
        make_fold(n_rows, **shares)
    except InputError as error:
        needed = int(re.search(r"at least (\d+)", str(error)).group(1))
        assert str(error).startswith(f"too few candles: {n_rows} rows")
    else:
        return
    make_fold(needed, **shares)
    for fewer in {needed - 1, (needed + n_rows) // 2, n_rows} - {needed}:
        with pytest.raises(InputError, match=f"at least {needed}"):
            make_fold(fewer, **shares)


@pytest.mark.parametrize(("share", "n_validation"), [(0.1, 48), (0.0, 10)])
def test_serving_fold_reaches_the_newest_candle_and_is_purged(
    share: float, n_validation: int
) -> None:
    fold = make_serving_fold(500, first_row=1, lookback=10, horizon=7, validation_share=share)
    assert len(fold.validation) == n_validation
    assert fold.validation[-1] + 7 == 499
    assert len(fold.test) == 0
    # The last target that is trained on comes before the first that validates.
    assert fold.train[-1] + 7 == fold.validation[0]
    assert fold.train_rows[-1] == fold.train[-1] + 7
    assert fold.train[0] == 10


def test_serving_fold_says_what_is_missing() -> None:
    with pytest.raises(InputError, match="too few candles: 60 rows"):
        make_serving_fold(60, first_row=1, lookback=30, horizon=7, validation_share=0.1)
