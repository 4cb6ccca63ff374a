"""What can be seen to be wrong before any work begins."""

from __future__ import annotations

import datetime as dt

from models.candles import COLUMNS
from models.config import RetrainConfig
from models.features import usable_features
from models.naming import model_name
from tasks.exogenous import read_series
from tasks.home import check_home
from tasks.registry import find_named
from tasks.sources import fetch_candles, is_exchange, is_synthetic
from tasks.tracking import check_tracking, connect


def check_request(config: RetrainConfig) -> None:
    """Raise InputError for what is no use: a state folder, server, source, feature, series, start.

    Files are read once more than needed: cheaper than a server started in vain.
    """
    synthetic = is_synthetic(config.source)
    if not synthetic and not is_exchange(config.source):
        fetch_candles(config.source, symbol=config.symbol, last_day=dt.date.max)
    joined = tuple(series.feature for series in config.exogenous)
    usable_features(config.recipe.features, COLUMNS + joined)
    for series in config.exogenous:
        read_series(series)
    check_home()
    check_tracking()
    if config.recipe.warm_start:
        find_named(connect(), model_name(config.symbol, synthetic), config.recipe.warm_start)
