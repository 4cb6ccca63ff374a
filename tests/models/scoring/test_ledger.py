from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest

from models.data.sample import make_sample
from models.forecasters.baselines import predict_baseline
from models.forecasters.distribution import probability_below, tabulate_forecast
from models.forecasters.frame import Forecast
from models.scoring.ledger import score_forecasts
from models.scoring.metrics import crps_from_quantiles

LEVELS = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
CANDLES = make_sample(dt.date(2024, 12, 31), n_days=400)
LONG = make_sample(dt.date(2024, 12, 31), n_days=700)


def ledger_rows(
    origins: range,
    steps: range = range(1, 4),
    seed: int = 1,
    candles: pd.DataFrame = CANDLES,
) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    days = candles["open_time"].dt.date
    rows = [
        {
            "as_of": days[origin],
            "target_date": days[origin + step],
            "step": step,
            "close_origin": candles["close"][origin],
            "levels": json.dumps(LEVELS),
            "quantiles": json.dumps(np.sort(0.03 * generator.standard_normal(9)).tolist()),
        }
        for origin in origins
        for step in steps
    ]
    return pd.DataFrame(rows)


def test_scores_are_those_of_a_loop_over_rows() -> None:
    rows = ledger_rows(range(300, 310))
    scores = score_forecasts(rows, CANDLES)
    close = dict(zip(CANDLES["open_time"].dt.date, CANDLES["close"], strict=True))
    gaps = np.diff(LEVELS)
    weights = np.concatenate([gaps[:1], gaps]) + np.concatenate([gaps, gaps[-1:]])
    weights = weights / weights.sum()
    for i, row in rows.iterrows():
        actual = np.log(close[row["target_date"]] / row["close_origin"])
        quantiles = json.loads(row["quantiles"])
        pinball = [
            max(level * (actual - q), (level - 1) * (actual - q))
            for level, q in zip(LEVELS, quantiles, strict=True)
        ]
        assert scores["actual_usd"][i] == close[row["target_date"]]
        assert scores["crps_bp"][i] == pytest.approx(2e4 * float(np.dot(weights, pinball)))
        assert json.loads(scores["pinball_bp"][i]) == pytest.approx(
            [1e4 * loss for loss in pinball], abs=1e-4
        )
        assert scores["inside_90"][i] == (quantiles[1] <= actual <= quantiles[7])
        assert 0 < scores["pit"][i] < 1
        assert (scores["pit"][i] < 0.5) == (actual < quantiles[4])
        assert scores["inside_80"][i] == (0.1 <= scores["pit"][i] <= 0.9)


@pytest.mark.parametrize("name", ["naive", "ewma"])
def test_references_are_the_baselines_of_that_name(name: str) -> None:
    origins = range(620, 640)
    rows = ledger_rows(origins, candles=LONG)
    scores = score_forecasts(rows, LONG)
    quantiles = predict_baseline(name, LONG, origins, horizon=3, levels=LEVELS)
    actual = rows["target_date"].map(LONG.set_index(LONG["open_time"].dt.date)["close"])
    expected = 1e4 * crps_from_quantiles(
        np.log(actual.to_numpy() / rows["close_origin"].to_numpy()),
        quantiles.reshape(-1, len(LEVELS)),
        LEVELS,
    )
    np.testing.assert_allclose(scores[f"{name}_crps_bp"], expected, rtol=1e-12)


@pytest.mark.parametrize(("name", "days"), [("naive", 250), ("ewma", 530)])
def test_references_are_scored_only_with_a_past(name: str, days: int) -> None:
    rows = ledger_rows(range(days + 2, days + 4), candles=LONG)
    scores = score_forecasts(rows, LONG)[f"{name}_crps_bp"]
    assert scores[:3].isna().all()
    assert scores[3:].notna().all()


def test_rows_of_other_levels_are_scored_apart_and_stay_in_order() -> None:
    rows = ledger_rows(range(300, 303), range(1, 2))
    rows.loc[1, "levels"] = json.dumps([0.25, 0.5, 0.75])
    rows.loc[1, "quantiles"] = json.dumps([-0.01, 0.0, 0.01])
    scores = score_forecasts(rows, CANDLES)
    assert list(scores.index) == [0, 1, 2]
    assert scores["inside_90"][1] is None
    assert scores["inside_50"][1] in (True, False)


def test_scores_do_not_depend_on_later_candles() -> None:
    rows = ledger_rows(range(600, 605), candles=LONG)
    changed = LONG.copy()
    changed.loc[610:, "close"] *= 3
    scores = score_forecasts(rows, LONG)
    assert scores["ewma_crps_bp"].notna().all()
    pd.testing.assert_frame_equal(scores, score_forecasts(rows, changed))


def test_day_without_a_candle_is_refused() -> None:
    with pytest.raises(ValueError, match="no candle of"):
        score_forecasts(ledger_rows(range(395, 397)), CANDLES.iloc[:396])


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
