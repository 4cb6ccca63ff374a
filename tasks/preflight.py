"""What can be seen to be wrong before any work begins."""

from __future__ import annotations

from models.candles import COLUMNS
from models.config import RetrainConfig
from models.features import usable_features
from tasks.exogenous import read_series
from tasks.home import check_home
from tasks.sources import is_synthetic
from tasks.tracking import check_tracking


def check_request(config: RetrainConfig) -> None:
    """Raise InputError for a state folder, tracking server, source, feature or series of no use."""
    is_synthetic(config.source)
    joined = tuple(series.feature for series in config.exogenous)
    usable_features(config.recipe.features, COLUMNS + joined)
    for series in config.exogenous:
        read_series(series)
    check_home()
    check_tracking()
