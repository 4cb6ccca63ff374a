"""What a promotion is decided by: scores of every origin, and two models on the shared ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter
from scipy.stats import norm

from models.config.judging import Promotion
from models.forecasters.frame import quantile_column
from models.scoring.metrics import crps_from_quantiles
from models.scoring.promotion import compare_scores, last_origins, score_origins
from models.scoring.significance import diebold_mariano

LEVELS = (0.05, 0.5, 0.95)
N = 40


def predictions_of(model="gru", seed=0, n=N, horizon=2):
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=n, tz="UTC", unit="us")
    frame = pd.DataFrame(
        {
            "model": model,
            "origin": days.repeat(horizon),
            "step": np.tile(np.arange(1, horizon + 1), n),
            "actual": rng.normal(0, 0.03, n * horizon),
            "close_origin": 100.0,
        }
    )
    frame["actual_usd"] = 100 * np.exp(frame["actual"])
    quantiles = np.sort(rng.normal(0, 0.03, (n * horizon, 3)), axis=1)
    return frame.assign(**{quantile_column(p): quantiles[:, i] for i, p in enumerate(LEVELS)})


def test_every_origin_and_step_is_scored_in_order_and_other_models_are_left_out():
    predictions = predictions_of()
    shuffled = pd.concat([predictions, predictions_of("naive", 1)]).sample(frac=1, random_state=0)
    scores = score_origins(shuffled, "gru")
    pd.testing.assert_frame_equal(
        scores[["origin", "step"]], predictions[["origin", "step"]], check_exact=True
    )
    for row, score in zip(predictions.to_dict("records"), scores.to_dict("records"), strict=True):
        quantiles = [row[quantile_column(level)] for level in LEVELS]
        crps = crps_from_quantiles(row["actual"], quantiles, LEVELS)
        assert score["crps_bp"] == pytest.approx(1e4 * float(crps))
        assert score["inside_90"] == (quantiles[0] <= row["actual"] <= quantiles[2])


def test_a_forecast_that_is_not_finite_has_no_score_and_the_others_have():
    predictions = predictions_of()
    predictions.loc[[3, 7], "q0.5"] = [np.nan, np.inf]
    scores = score_origins(predictions, "gru")
    assert np.flatnonzero(scores["crps_bp"].isna()).tolist() == [3, 7]


def test_levels_without_the_90_percent_band_are_refused():
    with pytest.raises(ValueError, match=r"expected the levels 0\.05 and 0\.95"):
        score_origins(predictions_of().drop(columns="q0.95"), "gru")


def test_the_last_origins_are_kept_with_all_their_steps():
    scores = score_origins(predictions_of(), "gru")
    kept = last_origins(scores, 3)
    pd.testing.assert_frame_equal(kept, scores.tail(6).reset_index(drop=True))
    assert last_origins(scores, N + 1).equals(scores)


def test_two_models_are_compared_on_the_origins_and_steps_that_both_have():
    ours = score_origins(predictions_of(seed=0), "gru")
    theirs = score_origins(predictions_of(seed=1), "gru")
    naive = score_origins(predictions_of("naive", seed=2), "naive")
    compared = compare_scores(ours.iloc[4:], theirs.iloc[:-2], naive)
    by_step = naive["crps_bp"].to_numpy().reshape(-1, 2).mean(axis=0)
    a, b = (
        (scores["crps_bp"].to_numpy()[4:-2].reshape(-1, 2) / by_step).mean(axis=1)
        for scores in (ours, theirs)
    )
    assert compared["n_shared"] == N - 3
    assert compared["challenger_score"] == pytest.approx(a.mean())
    assert compared["score"] == pytest.approx(b.mean())
    expected = diebold_mariano(a, b, step=2)
    assert compared["dm_p"] == pytest.approx(expected.p)
    assert compared["dm_t"] == pytest.approx(expected.t)


def test_every_step_counts_alike_whatever_its_size():
    ours, theirs, naive = (score_origins(predictions_of(seed=seed), "gru") for seed in range(3))
    far = [scores["crps_bp"].where(scores["step"] == 1, 9e3 * scores["crps_bp"])
           for scores in (ours, theirs, naive)]  # fmt: skip
    grown = [scores.assign(crps_bp=values)
             for scores, values in zip((ours, theirs, naive), far, strict=True)]  # fmt: skip
    assert compare_scores(*grown) == pytest.approx(compare_scores(ours, theirs, naive))
    assert compare_scores(naive, ours, naive)["challenger_score"] == pytest.approx(1)


def test_there_is_no_p_value_where_the_test_cannot_be_made():
    ours, theirs, naive = (score_origins(predictions_of(seed=seed), "gru") for seed in range(3))
    few = compare_scores(ours.head(8), theirs, naive)
    assert few["n_shared"] == 4 and few["dm_p"] is None
    assert compare_scores(ours.head(10), theirs, naive)["dm_p"] is not None
    same = compare_scores(ours, ours, naive)
    assert same["dm_p"] is None and same["score"] == same["challenger_score"]
    later = ours.assign(origin=ours["origin"] + pd.Timedelta(days=N))
    nothing = {"n_shared": 0} | dict.fromkeys(["challenger_score", "score", "dm_t", "dm_p"])
    assert compare_scores(later, theirs, naive) == nothing
    assert compare_scores(ours, theirs, naive.assign(crps_bp=0.0)) == nothing


def test_a_forecast_without_a_score_is_left_out_for_both_models():
    ours, theirs, naive = (score_origins(predictions_of(seed=seed), "gru") for seed in range(3))
    holed = ours.assign(crps_bp=ours["crps_bp"].where(ours.index != 5))
    without = ours.drop(5)
    assert compare_scores(holed, theirs, naive) == compare_scores(without, theirs, naive)
    assert compare_scores(theirs, holed, naive) == compare_scores(theirs, without, naive)


# How often the rules are wrong, on ledgers simulated many times: 180 origins of seven days each.

HORIZON, ORIGINS, LEDGERS = 7, 180, 100
STEPS = np.arange(1, HORIZON + 1)
TAUS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def simulate_scores(rng, errors, weights):
    """Scores of forecasters whose log volatility errs by `errors`, and counts by `weights`.

    The market's volatility changes slowly; a forecaster with weight 0 knows its mean alone.
    """
    n = ORIGINS + HORIZON
    shocks = 0.12 * rng.standard_normal(n + 300)
    logs = lfilter([1], [1, -0.98], shocks)[300:]
    moves = np.concatenate([[0], np.cumsum(0.03 * np.exp(logs) * rng.standard_t(4, n) / 1.41)])
    origins = np.arange(ORIGINS)
    days = pd.date_range("2024-01-01", periods=ORIGINS, tz="UTC", unit="us")
    points = norm.ppf(TAUS) * 0.85
    index = {"origin": np.tile(days, HORIZON), "step": np.repeat(STEPS, ORIGINS)}
    frames = []
    for error, weight in zip(errors, weights, strict=True):
        noise = lfilter([error * np.sqrt(1 - 0.9**2)], [1, -0.9], rng.standard_normal(n + 100))
        scale = 0.03 * np.exp(weight * logs + noise[100:])[:ORIGINS]
        actual = (moves[origins + STEPS[:, None]] - moves[origins]).ravel()
        quantiles = np.outer((scale * np.sqrt(STEPS)[:, None]).ravel(), points)
        crps = 1e4 * crps_from_quantiles(actual, quantiles, TAUS)
        frames.append(pd.DataFrame(index | {"crps_bp": crps}))
    return frames


@pytest.mark.slow
@pytest.mark.parametrize(
    ("errors", "weights", "most"),
    [
        # As good as naive: twice the stated 5 %, for the test counts only the targets' overlap.
        ((0.3, 0.3), (1, 1), 0.10),
        # Better by little, of which every third has the larger mean by chance; and by more.
        ((0.25, 0.35), (1, 1), 0.05),
        ((0.1, 0.0), (1, 0), 0.05),
    ],
)
def test_no_more_good_versions_are_rejected_than_the_rate_that_is_stated(errors, weights, most):
    policy, rng = Promotion(), np.random.default_rng(0)
    rejected = by_the_mean = 0
    for _ in range(LEDGERS):
        ours, naive = simulate_scores(rng, errors, weights)
        found = compare_scores(ours, naive, naive)
        rejected += found["dm_t"] > 0 and found["dm_p"] / 2 < policy.naive_significance
        by_the_mean += found["challenger_score"] >= 1
    assert rejected / LEDGERS <= most
    # What a comparison of the means alone would have rejected.
    assert by_the_mean > rejected


@pytest.mark.slow
def test_a_bad_version_is_rejected_and_one_as_good_as_the_champion_seldom_promoted():
    policy, rng = Promotion(), np.random.default_rng(1)
    rejected = promoted = 0
    for _ in range(LEDGERS):
        ours, theirs, bad = simulate_scores(rng, (0.3, 0.3, 1.2), (1, 1, 1))
        found = compare_scores(bad, theirs, theirs)
        rejected += found["dm_t"] > 0 and found["dm_p"] / 2 < policy.naive_significance
        equal = compare_scores(ours, theirs, theirs)
        promoted += equal["dm_t"] < 0 and equal["dm_p"] < policy.significance
    assert rejected / LEDGERS > 0.8
    assert promoted / LEDGERS <= policy.significance + 0.02
