"""A fitted forecaster and naive persistence on the same test days."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.baselines import naive_quantiles
from models.blend import first_origin
from models.config import Judging
from models.evaluation import Evaluation, evaluate, mase_scales
from models.forecast import Forecast, make_predictions
from models.forecaster import Forecaster
from models.recipe import Recipe
from models.splits import Fold, make_fold
from models.windows import make_future


def judged_fold(recipe: Recipe, judging: Judging, n_rows: int, first_row: int) -> Fold:
    """Split `n_rows` candles for a recipe and naive, whose forecasts are compared on the test part.

    Features are complete from `first_row` on. Raises InputError where the candles are too few.
    """
    return make_fold(
        n_rows,
        first_row=first_row,
        lookback=recipe.lookback,
        horizon=recipe.horizon,
        test_share=judging.test_share,
        validation_share=recipe.validation_share,
        least_past=first_origin(recipe.horizon),
    )


def judge(
    forecaster: Forecaster, candles: pd.DataFrame, fold: Fold, judging: Judging
) -> tuple[pd.DataFrame, Evaluation]:
    """Forecast every test origin with both and score them on what came.

    Returns the long predictions frame (see models/evaluation.py) and the evaluation. MASE is scaled
    by naive's mean absolute error on the training rows, by step.
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
    scale_usd, scale_log = mase_scales(
        close[fold.train_rows.start : fold.train_rows.stop], recipe.horizon
    )
    evaluation = evaluate(
        predictions,
        model=recipe.name,
        judging=judging,
        mase_scale_usd=scale_usd,
        mase_scale_log=scale_log,
        seed=recipe.seed,
    )
    return predictions, evaluation
