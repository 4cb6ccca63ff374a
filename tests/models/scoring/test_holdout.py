from __future__ import annotations

import json
import statistics

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from models.config.judging import Judging
from models.config.recipe import DEFAULT_LEVELS
from models.forecasters.frame import COLUMNS, quantile_column
from models.forecasters.walk_forward import predict_holdout
from models.scoring import metrics as m
from models.scoring.holdout import evaluate, measure_echo, score_holdout, score_step

N, HORIZON, SD = 400, 2, 0.03
CLOSES = 30_000 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, SD, N + HORIZON + 1)))
JUDGING = Judging(bootstrap_samples=300)


def make_rows(model, median=lambda origin, step: 0.0, sd=SD, closes=CLOSES, n=N):
    """Rows of one model whose quantiles are normal around `median(origin index, step)`."""
    days = pd.date_range("2022-01-01", periods=len(closes), freq="D", tz="UTC").as_unit("us")
    rows = []
    for step in range(1, HORIZON + 1):
        for i in range(1, n + 1):
            actual = np.log(closes[i + step] / closes[i])
            quantiles = median(i, step) + sd * np.sqrt(step) * norm.ppf(DEFAULT_LEVELS)
            known = (days[i], days[i + step], step, closes[i], actual, closes[i + step])
            rows.append([model, *known, *quantiles])
    return pd.DataFrame(rows, columns=[*COLUMNS, *map(quantile_column, DEFAULT_LEVELS)])


def make_predictions(median, **keywords):
    return pd.concat([make_rows("lstm", median, **keywords), make_rows("naive")])


def score(predictions, model="lstm"):
    return evaluate(predictions, model, CLOSES, JUDGING, seed=1)


def actual_move(i, step):
    return np.log(CLOSES[i + step] / CLOSES[i])


NOISE = np.random.default_rng(1).normal(0, SD, N + HORIZON + 1)


@pytest.mark.parametrize(
    ("median", "verdict"),
    [
        (actual_move, "skill"),
        (lambda i, step: 0.4 * actual_move(i, step), "skill"),
        (lambda i, step: 0.0, "no evidence of skill"),
        (lambda i, step: 0.02 * NOISE[i], "no evidence of skill"),
        (lambda i, step: 1e-15 * actual_move(i, step), "no evidence of skill"),
        (lambda i, step: NOISE[i], "worse than naive"),
    ],
    ids=["perfect", "knows 40 %", "naive", "a little noise", "rounding", "noise"],
)
def test_verdict(median, verdict):
    result = score(make_predictions(median))
    assert result.verdict == verdict
    assert f"The price itself: {verdict}, " in result.verdict_text
    assert result.verdict_text.startswith("The range of prices ")
    assert "CRPS" in result.verdict_text
    assert "over 400 test days" in result.verdict_text


def test_verdict_is_about_the_next_day_and_the_point_forecast():
    knows_the_second_day = score(make_predictions(lambda i, s: actual_move(i, 2) * (s == 2)))
    assert knows_the_second_day.verdict == "no evidence of skill"
    assert knows_the_second_day.skill["2"]["skill_rmse"] == pytest.approx(1)
    knows_the_width = score(
        pd.concat([make_rows("lstm"), make_rows("naive", sd=5 * SD)], ignore_index=True)
    )
    assert knows_the_width.verdict == "no evidence of skill"
    assert knows_the_width.skill["1"]["skill_crps_low"] > 0


def test_too_few_days_give_no_interval_and_no_verdict_of_skill():
    few = pd.concat([make_rows("lstm", actual_move, n=99), make_rows("naive", n=99)])
    result = score(few)
    assert result.verdict == "no evidence of skill"
    assert result.skill["1"]["skill_rmse"] == 1
    assert result.skill["1"]["skill_rmse_low"] is None
    assert "too few days for an interval" in result.verdict_text


def test_blocks_grow_with_the_overlap_of_the_forecasts():
    # Five blocks of 20 days fit into 100 days, five of 21 do not.
    frames = [make_rows("lstm", lambda i, step: NOISE[i], n=100), make_rows("naive", n=100)]
    skill = score(pd.concat(frames)).skill
    assert skill["1"]["skill_rmse_low"] is not None
    assert skill["2"]["skill_rmse_low"] is None


def test_metrics_agree_with_the_formulas_on_the_rows():
    predictions = make_predictions(lambda i, step: 0.3 * actual_move(i, step) + 0.5 * NOISE[i])
    result = score(predictions)
    usd, log = (
        {step: np.abs(values[step:] - values[:-step]).mean() for step in (1, 2)}
        for values in (CLOSES, np.log(CLOSES))
    )
    for name in ("lstm", "naive"):
        for step in (1, 2):
            rows = predictions.query("model == @name and step == @step")
            errors = rows["actual_usd"] - rows["close_origin"] * np.exp(rows["q0.5"])
            errors_log = rows["actual"] - rows["q0.5"]
            got = result.metrics[name][str(step)]
            expected = {
                "n_days": N,
                "rmse_usd": (errors**2).mean() ** 0.5,
                "mae_usd": errors.abs().mean(),
                "mape": (errors / rows["actual_usd"]).abs().mean(),
                "mase": errors.abs().mean() / usd[step],
                "rmse_log_return": (errors_log**2).mean() ** 0.5,
                "mae_log_return": errors_log.abs().mean(),
                "mase_log_return": errors_log.abs().mean() / log[step],
                "coverage_50": rows["actual"].between(rows["q0.25"], rows["q0.75"]).mean(),
                "coverage_80": rows["actual"].between(rows["q0.1"], rows["q0.9"]).mean(),
                "coverage_90": rows["actual"].between(rows["q0.05"], rows["q0.95"]).mean(),
                "coverage_95": rows["actual"].between(rows["q0.025"], rows["q0.975"]).mean(),
                "width_90": (rows["q0.95"] - rows["q0.05"]).mean(),
            }
            assert {key: got[key] for key in expected} == pytest.approx(expected)


def test_crps_in_both_units_and_skill_by_hand():
    predictions = make_predictions(lambda i, step: 0.3 * actual_move(i, step))
    result = score(predictions)
    names = [quantile_column(level) for level in DEFAULT_LEVELS]
    crps = {}
    for name in ("lstm", "naive"):
        rows = predictions.query("model == @name and step == 1")
        quantiles = rows[names].to_numpy()
        crps[name] = m.crps_from_quantiles(rows["actual"], quantiles, DEFAULT_LEVELS).mean()
        usd = rows["close_origin"].to_numpy()[:, None] * np.exp(quantiles)
        crps_usd = m.crps_from_quantiles(rows["actual_usd"], usd, DEFAULT_LEVELS).mean()
        assert result.metrics[name]["1"]["crps_bp"] == pytest.approx(1e4 * crps[name])
        assert result.metrics[name]["1"]["crps_usd"] == pytest.approx(crps_usd)
    skill = result.skill["1"]
    assert skill["skill_crps"] == pytest.approx(1 - crps["lstm"] / crps["naive"])
    assert skill["skill_rmse"] == pytest.approx(0.3)
    assert skill["skill_rmse_low"] == pytest.approx(0.3)
    assert skill["skill_rmse_high"] == pytest.approx(0.3)
    assert skill["skill_crps_low"] < skill["skill_crps"] < skill["skill_crps_high"]


def test_directional_accuracy_of_naive_is_none_and_of_truth_one():
    metrics = score(make_predictions(actual_move)).metrics
    assert metrics["naive"]["1"]["directional_accuracy"] is None
    assert metrics["lstm"]["1"]["directional_accuracy"] == 1
    assert metrics["lstm"]["1"]["directional_accuracy_low"] == m.wilson_interval(N, N)[0]


def test_result_is_json_without_nan_and_repeats():
    predictions = make_predictions(lambda i, step: NOISE[i])
    text = json.dumps(score(predictions).model_dump(mode="json"), allow_nan=False)
    assert text == json.dumps(score(predictions).model_dump(mode="json"), allow_nan=False)


def test_order_of_rows_and_other_models_do_not_matter_and_the_frame_is_left_alone():
    predictions = make_predictions(lambda i, step: NOISE[i])
    third = make_rows("gru", actual_move)
    shuffled = pd.concat([third, predictions]).sample(frac=1, random_state=0)
    before = shuffled.copy()
    assert score(shuffled) == score(predictions)
    pd.testing.assert_frame_equal(shuffled, before)


# Echo.


def test_echo_fires_on_a_shifted_series_and_not_on_the_truth():
    shifted = score(make_predictions(lambda i, step: 0.0))
    assert shifted.echo.is_echo
    assert shifted.echo.correlation_yesterday == pytest.approx(1)
    assert abs(shifted.echo.correlation_today) < 0.2
    assert "follows yesterday's move, not today's" in shifted.verdict_text
    honest = score(make_predictions(actual_move))
    assert not honest.echo.is_echo
    assert honest.echo.correlation_today == pytest.approx(1)
    assert "yesterday" not in honest.verdict_text


def test_echo_agrees_with_a_plain_loop():
    rows = make_rows("lstm", lambda i, step: NOISE[i])
    rows = rows[rows["step"] == 1].reset_index(drop=True)
    price = np.log(rows["actual_usd"])
    path = np.log(rows["close_origin"]) + rows["q0.5"]
    changes, today, yesterday = [], [], []
    for t in range(2, len(rows)):
        changes.append(path[t] - path[t - 1])
        today.append(price[t] - price[t - 1])
        yesterday.append(price[t - 1] - price[t - 2])
    echo = measure_echo(rows)
    assert echo.correlation_today == pytest.approx(statistics.correlation(changes, today))
    assert echo.correlation_yesterday == pytest.approx(statistics.correlation(changes, yesterday))


def test_echo_skips_days_next_to_a_gap_and_is_none_where_undefined():
    rows = make_rows("naive").query("step == 1")
    gap = rows.drop(rows.index[200])
    assert measure_echo(gap).correlation_yesterday == pytest.approx(1)
    few = measure_echo(rows.head(4))
    assert few.correlation_today is None
    assert not few.is_echo
    flat = rows.assign(close_origin=1.0, actual=0.0, actual_usd=1.0)
    assert measure_echo(flat).correlation_today is None


def test_a_forecast_that_does_not_move_is_no_echo():
    """One price for every day, as the classroom recipe has it: what moves is rounding."""
    rows = make_rows("naive").query("step == 1")
    fixed = rows.assign(**{"q0.5": np.log(178.1) - np.log(rows["close_origin"])})
    echo = measure_echo(fixed)
    assert (echo.correlation_today, echo.correlation_yesterday, echo.is_echo) == (None, None, False)


# MASE and refusals.


def test_a_band_is_covered_only_where_the_levels_have_its_ends():
    names = [*COLUMNS, "q0.1", "q0.5", "q0.9"]
    metrics = score(make_predictions(actual_move)[names]).metrics["lstm"]["1"]
    assert "coverage_80" in metrics
    assert "coverage_90" not in metrics and "width_90" not in metrics


def test_mase_is_scaled_by_the_naive_errors_of_the_training_closes():
    rows = m.with_crps(make_rows("naive"))
    for step, usd, log in ((1, 1.5, np.log(2)), (2, 3.0, np.log(4))):
        scores = score_step(rows[rows["step"] == step], np.array([1.0, 2.0, 4.0]))
        assert scores["mase"] == pytest.approx(scores["mae_usd"] / usd)
        assert scores["mase_log_return"] == pytest.approx(scores["mae_log_return"] / log)


def test_other_days_are_refused():
    ours, naive = make_rows("lstm"), make_rows("naive")
    for broken in (naive.iloc[1:], naive.assign(actual=naive["actual"] + 1e-9)):
        with pytest.raises(ValueError, match="same days"):
            score(pd.concat([ours, broken]))
    twice = [pd.concat([part, part.head(1)]) for part in (ours, naive)]
    with pytest.raises(ValueError, match="same days once each"):
        score(pd.concat(twice))


def test_missing_model_and_missing_column_are_refused():
    predictions = make_predictions(actual_move)
    with pytest.raises(ValueError, match=r"expected rows of model 'gru', received \['lstm'"):
        score(predictions, model="gru")
    with pytest.raises(ValueError, match=r"missing \['close_origin'\]"):
        score(predictions.drop(columns="close_origin"))


# The network and naive are asked about the very same days, and scored on what came.


@pytest.fixture(scope="module")
def holdout(fitted):
    stages, forecaster = fitted("lstm", "log_return")
    return score_holdout(
        forecaster, stages.prepared.candles, stages.prepared.fold, stages.config.judging
    )


def test_both_are_asked_about_every_test_day_and_step(holdout, fitted):
    stages, _ = fitted("lstm", "log_return")
    predictions, evaluation = holdout
    assert (evaluation.model, evaluation.reference) == ("lstm", "naive")
    days = stages.prepared.candles["open_time"]
    for model in ("lstm", "naive"):
        rows = predictions[predictions["model"] == model].reset_index(drop=True)
        expected = [(days[t], step) for t in stages.prepared.fold.test for step in (1, 2, 3)]
        assert list(zip(rows["origin"], rows["step"], strict=True)) == expected
    columns = ["origin", "target_date", "step", "close_origin", "actual", "actual_usd"]
    ours, theirs = (
        predictions.loc[predictions["model"] == model, columns].reset_index(drop=True)
        for model in ("lstm", "naive")
    )
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_what_came_is_the_close_of_the_target_day(holdout, fitted):
    stages, _ = fitted("lstm", "log_return")
    closes = stages.prepared.candles.set_index("open_time")["close"]
    predictions = holdout[0]
    assert predictions["actual_usd"].tolist() == closes[predictions["target_date"]].tolist()
    assert predictions["close_origin"].tolist() == closes[predictions["origin"]].tolist()
    np.testing.assert_allclose(
        predictions["actual"], np.log(predictions["actual_usd"] / predictions["close_origin"])
    )


def test_naive_scores_by_hand(holdout, fitted):
    stages, _ = fitted("lstm", "log_return")
    close, fold = stages.prepared.candles["close"].to_numpy(), stages.prepared.fold
    test, train = np.array(fold.test), close[list(fold.train_rows)]
    for step in (1, 2, 3):
        scores = holdout[1].metrics["naive"][str(step)]
        errors = close[test + step] - close[test]
        scale = np.abs(train[step:] - train[:-step]).mean()
        assert scores["n_days"] == len(test)
        assert scores["rmse_usd"] == pytest.approx(np.sqrt((errors**2).mean()))
        assert scores["mae_usd"] == pytest.approx(np.abs(errors).mean())
        assert scores["mase"] == pytest.approx(np.abs(errors).mean() / scale)


def test_skill_is_one_less_the_ratio_of_errors(holdout):
    evaluation = holdout[1]
    for step in ("1", "2", "3"):
        ours, naive = (evaluation.metrics[model][step] for model in ("lstm", "naive"))
        expected = 1 - ours["rmse_log_return"] / naive["rmse_log_return"]
        assert evaluation.skill[step]["skill_rmse"] == pytest.approx(expected)


def test_candles_after_the_last_target_change_nothing(holdout, fitted):
    stages, forecaster = fitted("lstm", "log_return")
    later = stages.prepared.candles.tail(5).assign(
        open_time=lambda f: f["open_time"] + pd.Timedelta(days=5), close=lambda f: f["close"] * 9
    )
    longer = pd.concat([stages.prepared.candles, later], ignore_index=True)
    fold = stages.prepared.fold
    predictions, evaluation = score_holdout(forecaster, longer, fold, stages.config.judging)
    pd.testing.assert_frame_equal(predictions, holdout[0], check_exact=True)
    assert evaluation == holdout[1]


def test_a_rival_is_asked_and_trained_as_the_holdout_is(holdout, fitted):
    """The champion's recipe, trained again on this fold, gives what its own holdout would."""
    stages, forecaster = fitted("lstm", "log_return")
    rival = predict_holdout(forecaster.recipe, stages.prepared.candles, stages.config.judging)
    ours = holdout[0].query("model == 'lstm'").reset_index(drop=True)
    pd.testing.assert_frame_equal(rival, ours, check_exact=True)
