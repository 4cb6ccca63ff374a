"""What can be seen to be wrong before any work begins."""

from __future__ import annotations

import datetime as dt

from models.config.flows import RetrainConfig
from models.data.candles import COLUMNS
from models.learning.features import usable_features
from tasks.registry.connection import check_tracking
from tasks.sources import fetch_candles, is_exchange, is_synthetic
from tasks.sources.exogenous import read_series
from tasks.storage.home import check_home


def check_request(config: RetrainConfig) -> None:
    """Raise InputError for what is no use: a state folder, server, source, feature, series.

    Files are read once more than needed: cheaper than a server started in vain.
    """
    synthetic = is_synthetic(config.source)
    if not synthetic and not is_exchange(config.source):
        fetch_candles(config, dt.date.max)
    joined = tuple(series.feature for series in config.exogenous)
    usable_features(config.recipe.features, COLUMNS + joined)
    for series in config.exogenous:
        read_series(series)
    check_home()
    check_tracking()
