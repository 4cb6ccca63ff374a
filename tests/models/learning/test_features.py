"""Features against hand-computed values and a slow oracle."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from models.data.candles import COLUMNS
from models.errors import InputError
from models.learning.features import (
    FEATURES,
    VOLUME_WINDOW,
    first_complete_row,
    make_features,
    usable_features,
)


def test_hand_computed_values():
    frame = pd.DataFrame(
        {"high": [2.0, 8.0, 3.0], "low": [1.0, 2.0, 3.0], "close": [1.0, math.e, math.e**3]}
    )
    values = make_features(frame, ("close", "log_return", "log_range"))
    expected = [[1, np.nan, math.log(2)], [math.e, 1, math.log(4)], [math.e**3, 2, 0]]
    np.testing.assert_allclose(values, expected, rtol=1e-15)


def test_volume_ratio_against_a_slow_oracle(candles):
    volume = candles["volume"].to_list()
    ratio = FEATURES["log_volume_ratio"].make(candles)
    for t in range(len(volume)):
        if t < VOLUME_WINDOW - 1:
            assert math.isnan(ratio[t])
        else:
            mean = math.fsum(volume[t - VOLUME_WINDOW + 1 : t + 1]) / VOLUME_WINDOW
            assert ratio[t] == pytest.approx(math.log1p(volume[t]) - math.log1p(mean), abs=1e-9)


def test_volume_ratio_bears_days_without_trade():
    still = pd.DataFrame({"volume": [0.0] * 40})
    assert FEATURES["log_volume_ratio"].make(still)[VOLUME_WINDOW - 1 :].tolist() == [0.0] * 11


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_reads_no_more_columns_than_it_names(candles, name):
    before = candles.copy(deep=True)
    alone = make_features(candles[list(FEATURES[name].needs)], (name,))
    assert alone.shape == (len(candles), 1) and alone.dtype == np.float64
    assert alone.tobytes() == make_features(candles, (name,)).tobytes()
    pd.testing.assert_frame_equal(candles, before)
    assert set(FEATURES[name].needs) <= set(COLUMNS)


def test_features_without_their_columns_are_left_out_in_order():
    wanted = ("log_volume_ratio", "log_return", "log_range")
    assert usable_features(wanted, COLUMNS) == (wanted, ())
    left_out = ("log_volume_ratio", "log_range")
    assert usable_features(wanted, ("open_time", "close")) == (("log_return",), left_out)
    # High alone gives no range.
    assert usable_features(wanted, ("high", "close"))[1] == left_out


def test_unknown_and_impossible_features_are_refused():
    with pytest.raises(InputError, match="'log_retrun'; did you mean 'log_return'"):
        usable_features(("log_retrun",), COLUMNS)
    with pytest.raises(InputError, match="none of log_range can be made"):
        usable_features(("log_range",), ("open_time", "close"))


def test_first_complete_row_is_where_the_warm_up_ends():
    nan = np.nan
    assert first_complete_row(np.array([[nan, 1], [1, nan], [1, 1], [2, 2]])) == 2
    assert first_complete_row(np.ones((3, 1))) == 0
    assert first_complete_row(np.full((3, 1), nan)) == 3
    for wrong in (nan, np.inf):
        with pytest.raises(ValueError, match="row 2 has a value that is not finite"):
            first_complete_row(np.array([[nan], [1.0], [wrong], [1.0]]))
