"""What can be seen to be wrong before any work begins."""

from __future__ import annotations

import datetime as dt

from models.candles import COLUMNS
from models.config import RetrainConfig
from models.features import usable_features
from tasks.exogenous import read_series
from tasks.home import check_home
from tasks.sources import fetch_candles, is_exchange, is_synthetic
from tasks.tracking import check_tracking


def check_request(config: RetrainConfig) -> None:
    """Raise InputError for a state folder, tracking server, source, feature or series of no use.

    Files are read once more than needed: cheaper than a server started in vain.
    """
    if not is_synthetic(config.source) and not is_exchange(config.source):
        fetch_candles(config.source, symbol=config.symbol, last_day=dt.date.max)
    joined = tuple(series.feature for series in config.exogenous)
    usable_features(config.recipe.features, COLUMNS + joined)
    for series in config.exogenous:
        read_series(series)
    check_home()
    check_tracking()
