"""The one frame of forecasts, and how probabilities and tables are read from quantiles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.config.recipe import DEFAULT_LEVELS
from models.forecasters.frame import (
    COLUMNS,
    Forecast,
    central_band,
    find_band,
    levels_of,
    make_predictions,
    probability_below,
    quantile_column,
    read_quantiles,
    tabulate_forecast,
)

LEVELS = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)


def test_a_frame_has_one_row_per_origin_and_step_with_what_came(candles):
    quantiles = np.random.default_rng(0).normal(size=(20, 3, len(LEVELS)))
    frame = make_predictions("net", candles, range(300, 320), quantiles, LEVELS)
    assert list(frame.columns) == [*COLUMNS, *map(quantile_column, LEVELS)]
    assert set(frame["model"]) == {"net"}
    assert (
        frame[["origin", "target_date"]].dtypes.astype(str).tolist() == ["datetime64[us, UTC]"] * 2
    )
    days, close = candles["open_time"], candles["close"]
    rows = iter(frame.to_dict("records"))
    for i, t in enumerate(range(300, 320)):
        for step in (1, 2, 3):
            row = next(rows)
            assert (row["origin"], row["target_date"], row["step"]) == (
                days[t],
                days[t + step],
                step,
            )
            assert (row["close_origin"], row["actual_usd"]) == (close[t], close[t + step])
            assert row["actual"] == pytest.approx(np.log(close[t + step] / close[t]))
            assert [row[quantile_column(p)] for p in LEVELS] == quantiles[i, step - 1].tolist()
    back, levels = read_quantiles(frame)
    assert levels == LEVELS and np.array_equal(back, quantiles.reshape(60, -1))


def test_rows_whose_outcome_has_not_come_are_left_out(candles):
    quantiles = np.tile(np.linspace(-0.1, 0.1, len(LEVELS)), (10, 3, 1))
    frame = make_predictions("net", candles, range(390, 400), quantiles, LEVELS)
    assert frame.groupby("step").size().to_dict() == {1: 9, 2: 8, 3: 7}
    close = np.log(candles["close"].to_numpy())
    row = frame[(frame["step"] == 3) & (frame["origin"] == candles["open_time"][391])].iloc[0]
    assert row["actual"] == pytest.approx(close[394] - close[391])
    assert row["target_date"] == candles["open_time"][394]


def test_quantile_columns_and_levels():
    assert quantile_column(0.025) == "q0.025"
    assert quantile_column(0.1 + 0.2) == "q0.3"
    frame = pd.DataFrame(columns=["q0.9", "quality", "q0.5", "q1", "q0.025", "qx"])
    assert levels_of(frame) == (0.025, 0.5, 0.9)
    columns = [*COLUMNS, *map(quantile_column, DEFAULT_LEVELS)]
    assert levels_of(pd.DataFrame(columns=columns)) == DEFAULT_LEVELS
    with pytest.raises(ValueError, match=r"q0\.5"):
        levels_of(pd.DataFrame(columns=["q0.1"]))


def test_central_bands_only_where_the_levels_allow():
    assert central_band(0.9, DEFAULT_LEVELS) == ("q0.05", "q0.95")
    assert central_band(0.5, DEFAULT_LEVELS) == ("q0.25", "q0.75")
    assert central_band(0.9, (0.05, 0.5)) is None
    assert find_band(0.8, LEVELS) == (2, 6)
    assert find_band(0.8, (0.5, 0.9)) is None


def test_probability_by_hand() -> None:
    levels = (0.25, 0.5, 0.75)
    quantiles = np.array([[-1.0, 0.0, 2.0]])
    for value, expected in [(-1, 0.25), (-0.5, 0.375), (0, 0.5), (1, 0.625), (2, 0.75)]:
        assert probability_below([value], quantiles, levels)[0] == pytest.approx(expected)
    # Beyond the ends: 0.25 exp(-density x / 0.25), density 0.25 on the left, 0.125 on the right.
    assert probability_below([-2.0], quantiles, levels)[0] == pytest.approx(0.25 * np.exp(-1))
    assert probability_below([4.0], quantiles, levels)[0] == pytest.approx(1 - 0.25 * np.exp(-1))


def test_probability_grows_with_the_value_also_where_quantiles_coincide() -> None:
    quantiles = np.tile([0.0, 0.0, 0.0, 0.5, 0.5], (200, 1))
    values = np.linspace(-1, 1, 200)
    below = probability_below(values, quantiles, (0.1, 0.3, 0.5, 0.7, 0.9))
    assert (np.diff(below) >= 0).all()
    assert ((below >= 0) & (below <= 1)).all()


def test_table_of_a_forecast() -> None:
    quantiles = np.log(np.array([[[80, 85, 90, 95, 100, 105, 110, 115, 120]]]) / 100)
    forecast = Forecast(
        origins=pd.DatetimeIndex(["2024-12-31"], tz="UTC"),
        close=np.array([100.0]),
        quantiles=quantiles,
        levels=LEVELS,
    )
    row = tabulate_forecast(forecast, below_usd=90.0).iloc[0]
    assert row["target_date"] == pd.Timestamp("2025-01-01", tz="UTC")
    assert row["median"] == pytest.approx(100)
    assert (row["low_50"], row["high_90"]) == pytest.approx((95, 115))
    assert row["p_up"] == pytest.approx(0.5)
    assert row["p_move_5"] == pytest.approx(0.25 + 0.25)
    assert row["p_below"] == pytest.approx(0.1)
