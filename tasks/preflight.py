"""What can be seen to be wrong before any work begins."""

from __future__ import annotations

from models.candles import COLUMNS
from models.config import RetrainConfig
from models.features import usable_features
from models.naming import model_name
from tasks.home import check_home
from tasks.registry import find_named
from tasks.sources import is_synthetic
from tasks.tracking import check_tracking, connect


def check_request(config: RetrainConfig) -> None:
    """Raise InputError for a state folder, server, source, feature or warm start that is no use."""
    synthetic = is_synthetic(config.source)
    usable_features(config.recipe.features, COLUMNS)
    check_home()
    check_tracking()
    if config.recipe.warm_start:
        find_named(connect(), model_name(config.symbol, synthetic), config.recipe.warm_start)
