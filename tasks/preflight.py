"""What can be seen to be wrong before any work begins."""

from __future__ import annotations

import datetime as dt

from models.candles import COLUMNS
from models.config import RetrainConfig
from models.features import usable_features
from tasks.home import check_home
from tasks.sources import fetch_candles, is_exchange, is_synthetic
from tasks.tracking import check_tracking


def check_request(config: RetrainConfig) -> None:
    """Raise InputError for a state folder, tracking server, source or feature that is no use."""
    if not is_synthetic(config.source) and not is_exchange(config.source):
        # A file is read once more than needed: cheaper than a server started in vain.
        fetch_candles(config.source, symbol=config.symbol, last_day=dt.date.max)
    usable_features(config.recipe.features, COLUMNS)
    check_home()
    check_tracking()
