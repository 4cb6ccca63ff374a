"""The network and naive are asked about the very same days, and scored on what came."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.scoring.holdout import judge


@pytest.fixture(scope="module")
def judged(fitted):
    stages, forecaster = fitted("lstm", "log_return")
    return judge(forecaster, stages.candles, stages.arrays.fold, stages.config.judging)


def test_both_are_asked_about_every_test_day_and_step(judged, fitted):
    stages, _ = fitted("lstm", "log_return")
    predictions, evaluation = judged
    assert (evaluation.model, evaluation.reference) == ("lstm", "naive")
    days = stages.candles["open_time"]
    for model in ("lstm", "naive"):
        rows = predictions[predictions["model"] == model].reset_index(drop=True)
        expected = [(days[t], step) for t in stages.arrays.fold.test for step in (1, 2, 3)]
        assert list(zip(rows["origin"], rows["step"], strict=True)) == expected
    columns = ["origin", "target_date", "step", "close_origin", "actual", "actual_usd"]
    ours, theirs = (
        predictions.loc[predictions["model"] == model, columns].reset_index(drop=True)
        for model in ("lstm", "naive")
    )
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_what_came_is_the_close_of_the_target_day(judged, fitted):
    stages, _ = fitted("lstm", "log_return")
    closes = stages.candles.set_index("open_time")["close"]
    predictions = judged[0]
    assert predictions["actual_usd"].tolist() == closes[predictions["target_date"]].tolist()
    assert predictions["close_origin"].tolist() == closes[predictions["origin"]].tolist()
    np.testing.assert_allclose(
        predictions["actual"], np.log(predictions["actual_usd"] / predictions["close_origin"])
    )


def test_naive_scores_by_hand(judged, fitted):
    stages, _ = fitted("lstm", "log_return")
    close, fold = stages.candles["close"].to_numpy(), stages.arrays.fold
    test, train = np.array(fold.test), close[list(fold.train_rows)]
    for step in (1, 2, 3):
        scores = judged[1].metrics["naive"][str(step)]
        errors = close[test + step] - close[test]
        scale = np.abs(train[step:] - train[:-step]).mean()
        assert scores["n_days"] == len(test)
        assert scores["rmse_usd"] == pytest.approx(np.sqrt((errors**2).mean()))
        assert scores["mae_usd"] == pytest.approx(np.abs(errors).mean())
        assert scores["mase"] == pytest.approx(np.abs(errors).mean() / scale)


def test_skill_is_one_less_the_ratio_of_errors(judged):
    evaluation = judged[1]
    for step in ("1", "2", "3"):
        ours, naive = (evaluation.metrics[model][step] for model in ("lstm", "naive"))
        expected = 1 - ours["rmse_log_return"] / naive["rmse_log_return"]
        assert evaluation.skill[step]["skill_rmse"] == pytest.approx(expected)


def test_candles_after_the_last_target_change_nothing(judged, fitted):
    stages, forecaster = fitted("lstm", "log_return")
    later = stages.candles.tail(5).assign(
        open_time=lambda f: f["open_time"] + pd.Timedelta(days=5), close=lambda f: f["close"] * 9
    )
    longer = pd.concat([stages.candles, later], ignore_index=True)
    predictions, evaluation = judge(forecaster, longer, stages.arrays.fold, stages.config.judging)
    pd.testing.assert_frame_equal(predictions, judged[0], check_exact=True)
    assert evaluation == judged[1]
