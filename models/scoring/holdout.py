"""Scores of a holdout: a forecaster and naive on the same days, and a verdict in plain words."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict

from models.config.judging import Judging
from models.forecasters.baselines import (
    Question,
    least_history,
    naive_quantiles,
    predict_baseline,
)
from models.forecasters.frame import BANDS, COLUMNS, find_band, make_predictions, read_quantiles
from models.learning.splits import Fold
from models.scoring import metrics as m
from models.wording import signed_skill, skill_kind, with_interval

REFERENCE = "naive"
# The usual econometric model, and the best baseline of docs/experiments.md.
REFERENCES = ("garch", "scale_regression")
# With fewer blocks than this, resampling them says little about how far the skill can swing.
MIN_BLOCKS = 5
# A skill nearer to zero than this is the rounding of floating point numbers.
ROUNDING = 1e-9
# A skill and the ends of its 95 % interval.
ENDS = ("", "_low", "_high")

if TYPE_CHECKING:
    from models.forecasters.forecaster import Forecaster  # loads TensorFlow

Verdict = Literal["skill", "no evidence of skill", "worse than naive"]
Number = int | float | None
Metrics = dict[str, Number]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Echo(_Frozen):
    """Whether the predicted price path repeats yesterday's change; see `measure_echo`."""

    correlation_today: float | None
    correlation_yesterday: float | None
    is_echo: bool


class Evaluation(_Frozen):
    """What the test days say about a model and naive; `model_dump(mode="json")` is plain JSON.

    metrics: model -> step as text -> metric -> number, None where it is not defined; the units are
    in the names, and `mape`, `mase*`, `directional_accuracy*` and `coverage_*` are fractions.
    skill: step as text -> `skill_rmse` (of log returns) and `skill_crps`, each with `_low` and
    `_high`, its 95 % interval, None where there are too few days for one.
    """

    model: str
    reference: str
    metrics: dict[str, dict[str, Metrics]]
    skill: dict[str, Metrics]
    echo: Echo
    verdict: Verdict
    verdict_text: str


def score_holdout(
    forecaster: Forecaster, candles: pd.DataFrame, fold: Fold, judging: Judging
) -> tuple[pd.DataFrame, Evaluation]:
    """Forecast every test origin with the holdout model and naive, and score both on what came.

    Returns the long frame (see forecasters/frame.py) and the evaluation. The frame has the other
    `REFERENCES` too, fitted once before the test days as the network is, unless their history is
    too short.
    """
    recipe, levels = forecaster.recipe, forecaster.recipe.quantile_levels
    close = candles["close"].to_numpy(dtype=np.float64)
    ours = forecaster.predict(candles, fold.test).quantiles
    naive = naive_quantiles(close, fold.test, recipe.horizon, levels)
    forecasts = {recipe.name: ours, REFERENCE: naive}
    if fold.test.start >= least_history(recipe.horizon):
        asked = Question(candles, fold.test, recipe.horizon, levels, refit_days=len(fold.test))
        forecasts |= {name: predict_baseline(name, asked) for name in REFERENCES}
    frames = [
        make_predictions(name, candles, fold.test, quantiles, levels)
        for name, quantiles in forecasts.items()
    ]
    predictions = pd.concat(frames, ignore_index=True)
    train_close = close[fold.train_rows.start : fold.train_rows.stop]
    return predictions, evaluate(predictions, recipe.name, train_close, judging, recipe.seed)


def evaluate(
    predictions: pd.DataFrame, model: str, train_close: ArrayLike, judging: Judging, seed: int
) -> Evaluation:
    """Score `model` and naive on a frame of forecasts, step by step, and give a verdict.

    `train_close` (n,): closes of the training rows in USD, whose naive errors scale MASE. The
    verdict is about step 1 and the point forecast: "skill" where the 95 % block bootstrap interval
    of the RMSE skill of log returns is all above zero, "worse than naive" where it is all below,
    else "no evidence of skill", also where there are too few days for an interval.
    Raises ValueError where a model is missing or the two were not asked about the same days.
    """
    closes = np.asarray(train_close, dtype=np.float64)
    pairs = _same_days(predictions, model)
    metrics: dict[str, dict[str, Metrics]] = {model: {}, REFERENCE: {}}
    skill: dict[str, Metrics] = {}
    for step, (ours, naive) in pairs.items():
        metrics[model][str(step)] = score_step(ours, closes)
        metrics[REFERENCE][str(step)] = score_step(naive, closes)
        skill[str(step)] = score_skill(ours, naive, judging, seed)
    first = min(pairs)
    next_day, _ = pairs[first]
    echo = measure_echo(next_day)
    verdict = decide_verdict(skill[str(first)])
    return Evaluation(
        model=model,
        reference=REFERENCE,
        metrics=metrics,
        skill=skill,
        echo=echo,
        verdict=verdict,
        verdict_text=describe_verdict(verdict, len(next_day), skill[str(first)], echo),
    )


def score_step(rows: pd.DataFrame, train_close: np.ndarray) -> Metrics:
    """Every metric of one model at one step: `rows` of a frame of forecasts with their CRPS.

    `train_close` (n,): closes of the training rows, USD.
    """
    step = int(rows["step"].iloc[0])
    quantiles, levels = read_quantiles(rows)
    close, actual, actual_usd = (
        rows[name].to_numpy(np.float64) for name in ("close_origin", "actual", "actual_usd")
    )
    point = quantiles[:, levels.index(0.5)]
    point_usd = close * np.exp(point)
    direction = m.directional_accuracy(actual, point)
    scores: dict[str, float | int] = {
        "n_days": len(rows),
        "rmse_usd": m.rmse(actual_usd, point_usd),
        "mae_usd": m.mae(actual_usd, point_usd),
        "mape": m.mape(actual_usd, point_usd),
        "mase": m.mase(actual_usd, point_usd, m.naive_scale(train_close, step)),
        "rmse_log_return": m.rmse(actual, point),
        "mae_log_return": m.mae(actual, point),
        "mase_log_return": m.mase(actual, point, m.naive_scale(np.log(train_close), step)),
        "directional_accuracy": direction.value,
        "directional_accuracy_low": direction.low,
        "directional_accuracy_high": direction.high,
        "crps_bp": float(rows["crps_bp"].mean()),
        "crps_usd": float(rows["crps_usd"].mean()),
    }
    for band in BANDS:
        if ends := find_band(band, levels):
            low, high = (quantiles[:, end] for end in ends)
            scores[f"coverage_{band * 100:.0f}"] = m.coverage(actual, low, high)
            if band == 0.9:
                scores["width_90"] = float(np.mean(high - low))
    return {name: _or_none(value) for name, value in scores.items()}


def score_skill(ours: pd.DataFrame, naive: pd.DataFrame, judging: Judging, seed: int) -> Metrics:
    """Skill of the RMSE and of the CRPS of log returns at one step, with 95 % intervals.

    Forecasts `step` days ahead share step - 1 days with the next one, so that blocks grow by that.
    """
    block_days = judging.block_days + int(ours["step"].iloc[0]) - 1
    enough = len(ours) >= MIN_BLOCKS * block_days
    squared = [np.square((rows["actual"] - rows["q0.5"]).to_numpy()) for rows in (ours, naive)]
    crps = [rows["crps_bp"].to_numpy() for rows in (ours, naive)]
    scores: Metrics = {}
    for name, (loss, reference_loss) in (("skill_rmse", squared), ("skill_crps", crps)):
        result = m.block_bootstrap_skill(
            loss,
            reference_loss,
            block_days=block_days if enough else 1,
            samples=judging.bootstrap_samples if enough else 1,
            seed=seed,
            root=name == "skill_rmse",
        )
        scores[name] = result.value
        scores[f"{name}_low"] = result.low if enough else None
        scores[f"{name}_high"] = result.high if enough else None
    return scores


def measure_echo(rows: pd.DataFrame) -> Echo:
    """Whether the predicted price path moves with yesterday's price change more than today's.

    `rows` are one model's at one step, by target date. The day's change of the predicted price, in
    logs, is correlated with the actual change of the same day and of the day before; the naive
    forecast has 1 with the day before. Only target dates one day apart are compared. None where a
    correlation is not defined (fewer than three days, or no movement).
    """
    dates = rows["target_date"].to_numpy("datetime64[us]")
    predicted = np.log(rows["close_origin"].to_numpy(np.float64)) + rows["q0.5"].to_numpy()
    price = np.log(rows["actual_usd"].to_numpy(np.float64))
    moves = np.diff(price)
    one_day = np.diff(dates) == np.timedelta64(1, "D")
    kept = one_day[1:] & one_day[:-1]
    path = np.diff(predicted)[1:][kept]
    today, yesterday = (_correlation(path, move[kept]) for move in (moves[1:], moves[:-1]))
    is_echo = today is not None and yesterday is not None and yesterday > today
    return Echo(correlation_today=today, correlation_yesterday=yesterday, is_echo=is_echo)


def decide_verdict(skill: Metrics) -> Verdict:
    """The verdict from the RMSE skill's interval alone."""
    low, high = skill["skill_rmse_low"], skill["skill_rmse_high"]
    if low is not None and low > ROUNDING:
        return "skill"
    if high is not None and high < -ROUNDING:
        return "worse than naive"
    return "no evidence of skill"


def say_briefly(verdict: Verdict, skill: Metrics) -> str:
    """The verdict in a line, the distribution first: `skill` is that of one day ahead."""
    value, low, high = (skill[f"skill_crps{end}"] for end in ENDS)
    judged = {
        "better": "better than naive's",
        "worse": "worse than naive's",
        "unclear": "not provably better than naive's",
        "untested": "not yet told from naive's",
    }[skill_kind(low, high)]
    return f"range {judged} ({signed_skill(value or 0.0)}); price: {verdict}"


def say_range(skill: Metrics) -> str:
    """What is told of the range against naive's, in a cell of a table: better, +2.1 %."""
    value, low, high = (skill[f"skill_crps{end}"] for end in ENDS)
    kind = skill_kind(low, high)
    return f"{'not proven' if kind == 'unclear' else kind}, {signed_skill(value or 0.0)}"


def describe_verdict(verdict: Verdict, n_days: int, skill: Metrics, echo: Echo) -> str:
    """The verdict in plain sentences: the range of prices first, then the price itself."""
    crps, rmse = (
        [None if (v := skill[f"skill_{name}{end}"]) is None else float(v) for end in ENDS]
        for name in ("crps", "rmse")
    )
    value = crps[0] or 0.0
    judged = {
        "better": "is better than naive's",
        "worse": "is worse than naive's",
        "unclear": "is not provably better than naive's",
        "untested": "cannot be told from naive's yet",
    }[skill_kind(crps[1], crps[2])]
    told = with_interval(value, crps[1], crps[2])
    text = (
        f"The range of prices {judged}: one day ahead, over {n_days} test days, its error (CRPS) "
        f"{'is' if value < -1 else 'has a skill of'} {told}. The price itself: {verdict}, "
        f"{with_interval(rmse[0] or 0.0, rmse[1], rmse[2])} by RMSE."
    )
    if echo.is_echo:
        text += (
            " The forecast price follows yesterday's move, not today's, so a chart of prices "
            "flatters it."
        )
    return text


def _same_days(
    predictions: pd.DataFrame, model: str
) -> dict[int, tuple[pd.DataFrame, pd.DataFrame]]:
    """Rows of both models by step, in order of time, with their CRPS.

    Raises ValueError where their days differ.
    """
    missing = [name for name in COLUMNS if name not in predictions.columns]
    if missing:
        raise ValueError(f"predictions: expected the columns {list(COLUMNS)}, missing {missing}")
    frames = []
    for name in (model, REFERENCE):
        rows = predictions[predictions["model"] == name].sort_values(["step", "origin"])
        if rows.empty:
            known = sorted(set(predictions["model"]))
            raise ValueError(f"predictions: expected rows of model {name!r}, received {known}")
        frames.append(m.with_crps(rows.reset_index(drop=True)))
    ours, theirs = frames
    shared = [name for name in COLUMNS if name != "model"]
    if ours.duplicated(["step", "origin"]).any() or not ours[shared].equals(theirs[shared]):
        raise ValueError(
            f"predictions: expected {model!r} and {REFERENCE!r} on the same days once each, with "
            f"the same actual values; received {len(ours)} and {len(theirs)} rows that differ"
        )
    steps = [int(step) for step in ours["step"].unique()]
    return {step: (ours[ours["step"] == step], theirs[theirs["step"] == step]) for step in steps}


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    if len(a) < 3 or np.ptp(a) < ROUNDING or np.ptp(b) < ROUNDING:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _or_none(value: float | int) -> Number:
    return None if isnan(value) else value
