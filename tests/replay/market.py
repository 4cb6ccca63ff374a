"""Candles for the replay exchange: generated ones, and the real history where it is at hand."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from models.data.store_table import candle_schema

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def made_candles(first: str, n_days: int, seed: int = 1) -> pd.DataFrame:
    """A random walk of plausible daily candles, two decimals, volume never zero."""
    rng = np.random.default_rng(seed)
    close = np.round(20_000 * np.exp(np.cumsum(rng.normal(0, 0.02, n_days))), 2)
    open_ = np.append(close[0], close[:-1])
    high = np.round(np.maximum(open_, close) * (1 + rng.uniform(0, 0.02, n_days)), 2)
    low = np.round(np.minimum(open_, close) * (1 - rng.uniform(0, 0.02, n_days)), 2)
    days = pd.date_range(first, periods=n_days, freq="D", tz="UTC", unit="us")
    volume = np.round(rng.gamma(4, 500, n_days) + 1, 8)
    columns = {"open": open_, "high": high, "low": low, "close": close, "volume": volume}
    return pd.DataFrame({"open_time": days} | columns)


def table_of(frame: pd.DataFrame, symbol: str = "BTC/USD") -> pa.Table:
    """The candle table of a frame that has every column."""
    schema = candle_schema(symbol)
    return pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)


def real_candles(name: str = "btc_usd_bitstamp_daily.csv") -> pd.DataFrame:
    """The real history beside the repository; skips the test where there is none."""
    path = SHARED / "data" / name
    if not path.exists():
        pytest.skip(f"no real history at ../shared/data/{name}")
    frame = pd.read_csv(path).rename(columns={"date": "open_time"})
    frame["open_time"] = pd.to_datetime(frame["open_time"], utc=True).dt.as_unit("us")
    return frame


def at(day: str, hour: int = 0, minute: int = 20) -> dt.datetime:
    """A time of that day, UTC."""
    return dt.datetime.fromisoformat(day).replace(hour=hour, minute=minute, tzinfo=dt.UTC)
