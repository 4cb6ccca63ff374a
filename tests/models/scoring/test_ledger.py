from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest

from models.data.sample import make_sample
from models.forecasters.baselines import Question, predict_baseline
from models.scoring.ledger import score_forecasts, select_scores
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
    for i, row in rows.iterrows():
        actual = np.log(close[row["target_date"]] / row["close_origin"])
        quantiles = json.loads(row["quantiles"])
        pinball = [
            max(level * (actual - q), (level - 1) * (actual - q))
            for level, q in zip(LEVELS, quantiles, strict=True)
        ]
        assert scores["actual_usd"][i] == close[row["target_date"]]
        assert scores["crps_bp"][i] == pytest.approx(
            1e4 * float(crps_from_quantiles(actual, quantiles, LEVELS))
        )
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
    quantiles = predict_baseline(name, Question(LONG, origins, 3, LEVELS))
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


def test_live_scores_are_those_of_the_stored_quantiles_whatever_was_stored_as_score() -> None:
    rows = ledger_rows(range(300, 310)).assign(kind="live", version="1", issued_at=0)
    scored = rows.join(score_forecasts(rows, CANDLES))
    found = select_scores(scored)
    np.testing.assert_allclose(found["crps_bp"], scored["crps_bp"], rtol=1e-12)
    assert found["origin"].dt.date.tolist() == scored["as_of"].tolist()
    earlier = scored.assign(crps_bp=1.008 * scored["crps_bp"])
    few = [0.25, 0.5, 0.75]
    earlier.loc[4, ["levels", "quantiles"]] = [json.dumps(few), "[-0.01, 0.0, 0.01]"]
    expected = scored["crps_bp"].copy()
    expected[4] = 1e4 * crps_from_quantiles(scored["actual"][4], [-0.01, 0.0, 0.01], few)
    np.testing.assert_allclose(select_scores(earlier)["crps_bp"], expected, rtol=1e-12)
    waiting = earlier.assign(actual=earlier["actual"].where(earlier.index < 6))
    assert len(select_scores(waiting)) == 6
    assert select_scores(waiting.assign(kind="catch-up")).empty
