"""A fitted forecaster and naive persistence on the same test days."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.baselines import naive_quantiles
from models.config import Judging
from models.evaluation import Evaluation, evaluate
from models.forecast import Forecast, make_predictions
from models.forecaster import Forecaster
from models.splits import Fold
from models.windows import make_future


def judge(
    forecaster: Forecaster, candles: pd.DataFrame, fold: Fold, judging: Judging
) -> tuple[pd.DataFrame, Evaluation]:
    """Forecast every test origin with both and score them on what came.

    Returns the long predictions frame (see models/evaluation.py) and the evaluation. MASE is scaled
    by naive's mean absolute error on the training origins, by step.
    """
    recipe = forecaster.recipe
    close = candles["close"].to_numpy(dtype=np.float64)
    future = make_future(close, recipe.horizon)
    test = slice(fold.test.start, fold.test.stop)
    forecast = forecaster.predict(candles, fold.test)
    naive = Forecast(
        origins=forecast.origins,
        close=forecast.close,
        quantiles=naive_quantiles(close, fold.test, recipe.horizon, recipe.quantile_levels),
        levels=recipe.quantile_levels,
    )
    predictions = pd.concat(
        [
            make_predictions(recipe.name, forecast, future[test]),
            make_predictions("naive", naive, future[test]),
        ],
        ignore_index=True,
    )
    train = slice(fold.train.start, fold.train.stop)
    moves_usd = future[train] - close[train, None]
    moves_log = np.log(future[train] / close[train, None])
    steps = range(1, recipe.horizon + 1)
    evaluation = evaluate(
        predictions,
        model=recipe.name,
        judging=judging,
        mase_scale_usd=dict(zip(steps, np.abs(moves_usd).mean(axis=0), strict=True)),
        mase_scale_log=dict(zip(steps, np.abs(moves_log).mean(axis=0), strict=True)),
        seed=recipe.seed,
    )
    return predictions, evaluation
