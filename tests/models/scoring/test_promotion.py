"""What a promotion is decided by: scores of every origin, and two models on the shared ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

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
    compared = compare_scores(ours.iloc[4:], theirs.iloc[:-2])
    a, b = (
        scores["crps_bp"].to_numpy()[4:-2].reshape(-1, 2).mean(axis=1) for scores in (ours, theirs)
    )
    assert compared["n_shared"] == N - 3
    assert compared["challenger_crps_bp"] == pytest.approx(a.mean())
    assert compared["crps_bp"] == pytest.approx(b.mean())
    assert compared["dm_p"] == pytest.approx(diebold_mariano(a, b, step=2).p)


def test_there_is_no_p_value_where_the_test_cannot_be_made():
    ours = score_origins(predictions_of(seed=0), "gru")
    theirs = score_origins(predictions_of(seed=1), "gru")
    few = compare_scores(ours.head(8), theirs)
    assert few["n_shared"] == 4 and few["dm_p"] is None
    assert compare_scores(ours.head(10), theirs)["dm_p"] is not None
    same = compare_scores(ours, ours)
    assert same["dm_p"] is None and same["crps_bp"] == same["challenger_crps_bp"]
    later = ours.assign(origin=ours["origin"] + pd.Timedelta(days=N))
    assert compare_scores(later, theirs) == {
        "n_shared": 0, "challenger_crps_bp": None, "crps_bp": None, "dm_p": None,
    }  # fmt: skip


def test_a_forecast_without_a_score_is_left_out_for_both_models():
    ours = score_origins(predictions_of(seed=0), "gru")
    theirs = score_origins(predictions_of(seed=1), "gru")
    holed = ours.assign(crps_bp=ours["crps_bp"].where(ours.index != 5))
    assert compare_scores(holed, theirs) == compare_scores(ours.drop(5), theirs)
    assert (
        compare_scores(theirs, holed)["crps_bp"] == compare_scores(theirs, ours.drop(5))["crps_bp"]
    )
