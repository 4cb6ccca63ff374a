"""Scores of a backtest: from the long frame of forecasts to one summary, plain JSON."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.forecasters.frame import BANDS, find_band, probability_below, read_quantiles
from models.scoring import metrics as m
from models.scoring.significance import diebold_mariano, model_confidence_set

LEVELS = tuple(sorted({*m.PERCENTILES, 0.025, 0.975}))
"""Levels of the forecasts of a backtest: the percentiles, and the ends of the 95 % band."""

PIT_BINS = 10
BLOCK_DAYS = 20
# Density of a log return where neighbouring quantiles coincide is bounded by this.
LEAST_GAP = 1e-9

Summary = dict[str, Any]


def summarise_backtest(frame: pd.DataFrame, baselines: tuple[str, ...], seed: int) -> Summary:
    """Summarise scored forecasts by step: every model's scores, tests of all pairs, by year too.

    `frame` holds the forecasts of several models on the same days, one under the other, with their
    CRPS (`with_crps`). Every recipe is tested against every baseline and every other recipe: `a` is
    better where `t` and `crps_diff_pct` are negative; `best_baseline` has the lowest CRPS.
    `all_steps`: each model's mean over steps of CRPS divided by naive's at that step, empty without
    naive. Raises ValueError where days differ between models.
    """
    first = frame.loc[frame["step"] == 1]
    summary: Summary = {
        "n_origins": int(first["origin"].nunique()),
        "first_origin": f"{first['origin'].min():%Y-%m-%d}",
        "last_origin": f"{first['origin'].max():%Y-%m-%d}",
        "horizons": {},
    }
    for step, rows in frame.groupby("step"):
        by_model = {
            str(name): part.sort_values("origin", ignore_index=True)
            for name, part in rows.groupby("model", sort=False)
        }
        summary["horizons"][str(step)] = _summarise_step(by_model, int(str(step)), baselines, seed)
    steps = [horizon["models"] for horizon in summary["horizons"].values()]
    summary["all_steps"] = {
        name: float(np.mean([1 - models[name]["skill_naive"] for models in steps]))
        for name in steps[0]
        if "naive" in steps[0]
    }
    return summary


def _summarise_step(
    by_model: dict[str, pd.DataFrame], step: int, baselines: tuple[str, ...], seed: int
) -> Summary:
    _check_same_days(by_model)
    crps = {name: rows["crps_bp"].to_numpy(dtype=np.float64) for name, rows in by_model.items()}
    blocks = min(BLOCK_DAYS + step - 1, max(2, len(next(iter(crps.values()))) // 5))
    confidence = model_confidence_set(crps, block_days=blocks, seed=seed)
    models = {}
    for name, rows in by_model.items():
        years = rows.groupby(rows["target_date"].dt.year)
        models[name] = score_rows(rows) | {
            "mcs_p": confidence[name],
            "by_year": {str(year): score_rows(part, brief=True) for year, part in years},
        }
        if "naive" in by_model:
            models[name]["skill_naive"] = 1 - crps[name].mean() / crps["naive"].mean()
            models[name]["mae_skill_naive"] = 1 - models[name]["mae_bp"] / _mae(by_model["naive"])
    recipes = [name for name in by_model if name not in baselines]
    rivals = [name for name in by_model if name in baselines]
    pairs = [(a, b) for a in recipes for b in rivals]
    return {
        "models": models,
        "dm": [_compare(crps, a, b, step) for a, b in [*pairs, *combinations(recipes, 2)]],
        "mcs_90": [name for name, p in confidence.items() if p >= 0.10],
        "best_baseline": min(rivals, key=lambda name: crps[name].mean(), default=None),
    }


def _mae(rows: pd.DataFrame) -> float:
    return 1e4 * m.mae(rows["actual"], rows["q0.5"])


def _compare(crps: dict[str, NDArray[np.float64]], a: str, b: str, step: int) -> Summary:
    enough = len(crps[a]) > 2 * step
    test = diebold_mariano(crps[a], crps[b], step=step) if enough else None
    return {
        "a": a,
        "b": b,
        "t": None if test is None or np.isnan(test.t) else test.t,
        "p": None if test is None or np.isnan(test.p) else test.p,
        "crps_diff_pct": 100 * (float(crps[a].mean() / crps[b].mean()) - 1),
    }


def _check_same_days(by_model: dict[str, pd.DataFrame]) -> None:
    names = list(by_model)
    columns = ["origin", "target_date", "actual"]
    for name in names[1:]:
        if not by_model[name][columns].equals(by_model[names[0]][columns]):
            raise ValueError(f"backtest: {name!r} and {names[0]!r} were asked about other days")


def score_rows(rows: pd.DataFrame, *, brief: bool = False) -> Summary:
    """Score one model's rows at one step; `brief` leaves out what few days cannot say.

    Names end in their unit: `_bp` basis points of log return, `_usd`; coverage and width of the
    central bands as fractions and log returns. The point forecast is the median.
    """
    actual = rows["actual"].to_numpy(dtype=np.float64)
    quantiles, levels = read_quantiles(rows)
    scores: Summary = {"n": len(rows), "crps_bp": float(rows["crps_bp"].mean())}
    for band in BANDS:
        if ends := find_band(band, levels):
            low, high = (quantiles[:, end] for end in ends)
            scores[f"coverage_{100 * band:.0f}"] = m.coverage(actual, low, high)
            scores[f"width_{100 * band:.0f}"] = float(np.mean(high - low))
    scores["mae_bp"] = _mae(rows)
    if brief:
        return scores
    median_usd = rows["close_origin"].to_numpy() * np.exp(rows["q0.5"].to_numpy())
    pit = probability_below(actual, quantiles, levels)
    return scores | {
        "crps_usd": float(rows["crps_usd"].mean()),
        "pinball_bp": 1e4 * float(m.pinball_loss(actual, quantiles, levels).mean()),
        "rmse_bp": 1e4 * m.rmse(actual, rows["q0.5"]),
        "mae_usd": m.mae(rows["actual_usd"], median_usd),
        "rmse_usd": m.rmse(rows["actual_usd"], median_usd),
        "log_score": float(log_scores(actual, quantiles, levels).mean()),
        "pit": np.histogram(pit, bins=PIT_BINS, range=(0, 1))[0].tolist(),
    }


def log_scores(
    actual: NDArray[np.float64], quantiles: NDArray[np.float64], levels: tuple[float, ...]
) -> NDArray[np.float64]:
    """Minus the log density (n,) of the outcomes, smaller is better (Good 1952).

    The density is even between neighbouring quantiles (n, n_levels) and falls exponentially beyond
    the outermost ones, from the density of the outermost gap, holding what probability is left.
    """
    tau = np.asarray(levels)
    gaps = np.maximum(np.diff(quantiles, axis=1), LEAST_GAP)
    density = np.diff(tau) / gaps
    below = np.sum(quantiles < actual[:, None], axis=1)
    inside = np.clip(below - 1, 0, len(tau) - 2)
    logs = np.log(density[np.arange(len(actual)), inside])
    # A tail of mass p that starts at density d has rate d / p.
    under = (quantiles[:, 0] - actual) * density[:, 0] / tau[0]
    over = (actual - quantiles[:, -1]) * density[:, -1] / (1 - tau[-1])
    return -(logs - np.where(below == 0, under, 0) - np.where(below == len(tau), over, 0))
