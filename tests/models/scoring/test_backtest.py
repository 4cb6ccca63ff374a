"""Scores of a backtest against closed forms and other people's code."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scoringrules as sr
from scipy.stats import norm

from models.forecasters.frame import probability_below
from models.scoring.backtest import LEVELS, log_scores, score_rows, summarise_backtest
from models.scoring.metrics import PERCENTILES, crps_from_quantiles, pinball_loss, with_crps

NORMAL = norm.ppf(LEVELS)


def frame_of(name, actual, quantiles, step=1):
    n = len(actual)
    days = pd.date_range("2020-01-01", periods=n, tz="UTC")
    data = {
        "model": name, "origin": days, "target_date": days + pd.Timedelta(days=step),
        "step": step, "close_origin": 100.0, "actual": actual,
        "actual_usd": 100 * np.exp(actual),
    }  # fmt: skip
    columns = {f"q{level:g}": quantiles[:, i] for i, level in enumerate(LEVELS)}
    return with_crps(pd.DataFrame(data | columns))


def test_crps_and_pinball_are_the_closed_form_and_scoringrules():
    rng = np.random.default_rng(0)
    actual = rng.normal(size=200)
    quantiles = np.tile(norm.ppf(PERCENTILES), (200, 1))
    ours = crps_from_quantiles(actual, quantiles, PERCENTILES)
    np.testing.assert_allclose(ours.mean(), np.mean(sr.crps_normal(actual, 0.0, 1.0)), rtol=0.02)
    np.testing.assert_allclose(
        ours, sr.crps_quantile(actual, quantiles, np.array(PERCENTILES)), rtol=1e-9
    )
    np.testing.assert_allclose(
        pinball_loss(actual, quantiles, PERCENTILES)[:, 4],
        sr.quantile_score(actual, quantiles[:, 4], 0.05),
    )


def test_pit_is_even_where_the_forecast_is_right():
    actual = np.random.default_rng(1).normal(size=5000)
    pit = probability_below(actual, np.tile(NORMAL, (5000, 1)), LEVELS)
    np.testing.assert_allclose(pit, norm.cdf(actual), atol=0.003)
    counts = score_rows(frame_of("right", actual, np.tile(NORMAL, (5000, 1))))["pit"]
    assert counts == np.histogram(norm.cdf(actual), bins=10, range=(0, 1))[0].tolist()


def test_log_score_is_minus_the_log_density():
    rng = np.random.default_rng(2)
    actual = rng.normal(size=3000)
    ours = log_scores(actual, np.tile(NORMAL, (3000, 1)), LEVELS)
    assert ours.mean() == pytest.approx(-norm.logpdf(actual).mean(), abs=0.02)
    # In the tail: density 0.4 / 1 at the end, falling by 0.4 / 0.2 a unit.
    one = log_scores(np.array([-1.0]), np.array([[0.0, 1.0]]), (0.2, 0.6))
    assert one[0] == pytest.approx(-(np.log(0.4) - 1.0 * 0.4 / 0.2))


def test_bands_cover_what_they_say_and_widths_are_theirs():
    rng = np.random.default_rng(3)
    actual = rng.normal(size=20_000)
    scores = score_rows(frame_of("right", actual, np.tile(NORMAL, (20_000, 1))))
    for band in (50, 80, 90, 95):
        assert scores[f"coverage_{band}"] == pytest.approx(band / 100, abs=0.01)
        assert scores[f"width_{band}"] == pytest.approx(2 * norm.ppf(0.5 + band / 200))
    assert sum(scores["pit"]) == 20_000 and min(scores["pit"]) > 1800
    assert scores["crps_bp"] == pytest.approx(1e4 / np.sqrt(np.pi), rel=0.03)


def test_the_better_model_wins_every_comparison():
    rng = np.random.default_rng(4)
    actual = rng.normal(size=600)
    right, wide = np.tile(NORMAL, (600, 1)), np.tile(2 * NORMAL, (600, 1))
    frames = [frame_of("net", actual, right), frame_of("naive", actual, wide)]
    summary = summarise_backtest(pd.concat(frames), ("naive",), 1)
    assert summary["n_origins"] == 600
    assert (summary["first_origin"], summary["last_origin"]) == ("2020-01-01", "2021-08-22")
    horizon = summary["horizons"]["1"]
    (test,) = horizon["dm"]
    assert (test["a"], test["b"]) == ("net", "naive")
    assert test["t"] < -5 and test["p"] < 1e-6 and test["crps_diff_pct"] < -5
    assert horizon["mcs_90"] == ["net"]
    assert horizon["best_baseline"] == "naive"
    assert summary["all_steps"]["naive"] == 1
    assert summary["all_steps"]["net"] == pytest.approx(1 + test["crps_diff_pct"] / 100)
    net = horizon["models"]["net"]
    assert net["skill_naive"] == pytest.approx(-test["crps_diff_pct"] / 100)
    assert net["mae_skill_naive"] == 0
    assert sum(year["n"] for year in net["by_year"].values()) == 600


def test_the_best_baseline_is_named_and_steps_count_alike_in_the_score_of_all():
    rng = np.random.default_rng(5)
    actual = rng.normal(size=300)
    models = {"net": 1.0, "naive": 3.0, "garch": 1.5, "har": 1.3}
    frames = [
        frame_of(name, size * actual, np.tile(size * width * NORMAL, (300, 1))).assign(step=step)
        for name, width in models.items()
        for step, size in ((1, 1.0), (2, 100.0))
    ]
    baselines = ("naive", "garch", "har")
    summary = summarise_backtest(pd.concat(frames), baselines, 1)
    one, two = summary["horizons"]["1"], summary["horizons"]["2"]
    assert one["best_baseline"] == two["best_baseline"] == "har"
    # The second step is a hundred times as large, and counts no more.
    skill = one["models"]["net"]["skill_naive"]
    assert summary["all_steps"]["net"] == pytest.approx(1 - skill)
    alone = summarise_backtest(pd.concat(frames[:2]), (), 1)
    assert alone["horizons"]["1"]["best_baseline"] is None and alone["all_steps"] == {}


def test_models_asked_about_other_days_are_refused():
    actual = np.zeros(100)
    frames = [
        frame_of("a", actual, np.tile(NORMAL, (100, 1))),
        frame_of("naive", actual + 1, np.tile(NORMAL, (100, 1))),
    ]
    with pytest.raises(ValueError, match="other days"):
        summarise_backtest(pd.concat(frames), ("naive",), 1)
