"""What can be seen to be wrong before any work begins."""

from __future__ import annotations

import datetime as dt
from http import HTTPStatus

import httpx

from models.config.flows import Fitting
from models.data.candles import COLUMNS
from models.errors import InputError
from models.learning.features import usable_features
from tasks.registry.connection import check_tracking
from tasks.secrets import guard_output, hide
from tasks.sources import fetch_candles, is_exchange, is_synthetic
from tasks.sources.exogenous import read_series
from tasks.storage.archive import check_archive
from tasks.storage.database import check_database
from tasks.storage.home import check_home
from tasks.storage.snapshots import find_newest_candles


def check_request(config: Fitting) -> None:
    """Raise InputError for what is no use: a state folder, server, source, feature, series.

    Files are read once more than needed: cheaper than a server started in vain.
    """
    guard_output()
    synthetic = is_synthetic(config.source)
    if not synthetic and not is_exchange(config.source):
        fetch_candles(config, dt.date.max)
    joined = tuple(series.feature for series in config.exogenous)
    usable_features(config.recipe.features, COLUMNS + joined)
    for series in config.exogenous:
        read_series(series)
    check_home()
    check_tracking()
    check_database()
    check_archive()


def check_clock(symbol: str, newest_closed: dt.date) -> None:
    """Raise InputError where a candle is kept of a day that has not closed by this clock."""
    newest = find_newest_candles().get(symbol)
    if newest is not None and newest > newest_closed:
        raise InputError(
            f"the clock says that {newest_closed} is the last day that has closed, and there is a "
            f"candle of {newest}: set the clock (timedatectl set-ntp true), then run again"
        )


def check_prefect() -> None:
    """Raise InputError unless the Prefect server, if one is named, answers and knows the user."""
    # Not before: once Prefect is imported it starts a server of its own where it needs one.
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL

    api_url = PREFECT_API_URL.value()
    if not api_url:
        return
    try:
        with get_client(sync_client=True) as client:
            client.api_version()
    except httpx.HTTPError as error:
        status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None
        shown = hide(api_url)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise InputError(
                f"PREFECT_API_URL: the server at {shown} does not know this user; set "
                "PREFECT_API_AUTH_STRING to name:password"
            ) from error
        raise InputError(
            f"PREFECT_API_URL: no Prefect server answers at {shown} ({type(error).__name__}); "
            "start it with `prefect server start`, or unset the variable"
        ) from error
