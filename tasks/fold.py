"""Fold: the forecasts of one unit of a backtest, where no earlier backtest made them."""

from __future__ import annotations

import numpy as np

from models.forecasters.baselines import Question, predict_baseline
from models.forecasters.walk_forward import predict_group
from models.learning.splits import Span
from models.records import FoldRecord, FoldUnit
from models.scoring.backtest import LEVELS
from tasks.service.life import check_same_home
from tasks.stage import stage
from tasks.storage.files import whole_file
from tasks.storage.snapshots import read_candles


@stage("fold")
def fold(unit: FoldUnit) -> FoldRecord:
    """Forecast a unit's origins, unless an earlier backtest did.

    Raises InputError on a worker that does not share the folder of state.
    """
    check_same_home(unit.home)
    if unit.path.exists():
        return FoldRecord(unit=unit, cached=True)
    candles = read_candles(unit.snapshot)
    spans = [Span(range(a, b), range(c, d)) for a, b, c, d in unit.spans]
    if unit.recipe is None:
        question = Question(
            candles, spans[0].origins, unit.horizon, LEVELS, unit.refit_days, unit.seed
        )
        quantiles = predict_baseline(unit.name, question)
    else:
        quantiles = predict_group(unit.recipe, candles, spans, unit.refit_days)
    with whole_file(unit.path) as temporary, temporary.open("wb") as file:
        np.savez(file, quantiles=quantiles)  # A zip verifies its checksums.
    return FoldRecord(unit=unit, cached=False)
