"""Ingestion: a whole history and one more day from loopback, and bulk minutes through the store."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow as pa

from models.config.data import Ingestion
from models.data.store_table import candle_schema, digest_table
from tasks.sources.collection import collect_candles
from tasks.sources.exchange import ExchangeClient
from tasks.storage.candle_store import CandleStore
from tests.replay.exchange import ReplayExchange
from tests.replay.market import made_candles

N_DAYS, N_MINUTES = 3_700, 5_000_000
MINUTE, DAY = dt.timedelta(minutes=1), dt.timedelta(days=1)


def run() -> None:
    """Print all figures."""
    _loopback()
    _minutes()


def _loopback() -> None:
    candles = made_candles("2014-09-17", N_DAYS + 5)
    last = candles["open_time"].iloc[N_DAYS].to_pydatetime()
    with ReplayExchange(candles, last + dt.timedelta(minutes=20)) as exchange:
        policy = Ingestion(exchange_url=exchange.url)
        ExchangeClient("exchange:bitstamp", "BTC/USD", policy)  # ccxt is imported

        def collect() -> float:
            start = time.perf_counter()
            as_of = exchange.now.date() - DAY
            collect_candles("exchange:bitstamp", "BTC/USD", as_of, policy)
            return time.perf_counter() - start

        with tempfile.TemporaryDirectory() as folder:
            os.environ["BTC_STORE"] = folder
            first = collect()
            exchange.now += DAY
            next_day, asking = _seconds_and_asking(collect)
            del os.environ["BTC_STORE"]
    print(f"history of {N_DAYS:,} days from loopback, fetched, checked and stored: {first:.2f} s")
    print(f"one more day: {next_day - asking:.2f} s beside {asking:.2f} s of asking the exchange")


def _seconds_and_asking(collect: Callable[[], float]) -> tuple[float, float]:
    """Seconds of a collection, and those of them in ccxt: the network and its rate limit."""
    inside = 0.0
    original = ExchangeClient._ask

    def timed(self: ExchangeClient, *arguments: Any) -> Any:
        nonlocal inside
        start = time.perf_counter()
        try:
            return original(self, *arguments)
        finally:
            inside += time.perf_counter() - start

    with patch.object(ExchangeClient, "_ask", timed):
        seconds = collect()
    return seconds, inside


def _minutes() -> None:
    """Read, check, hash and write minutes in a process of its own, for the sake of its peak."""
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            pool.apply(_store_minutes, (folder,))
        with context.Pool(1) as pool:
            seconds, peak, raw = pool.apply(_pass_minutes, (folder,))
    print(
        f"{N_MINUTES:,} one-minute rows read, checked, hashed and written: {seconds:.2f} s, "
        f"{N_MINUTES / seconds / 1e6:.1f} million rows/s, peak memory {peak / raw:.1f} x the "
        f"{raw / 1e6:.0f} MB of raw arrays"
    )


def _store(folder: str, name: str) -> CandleStore:
    return CandleStore(f"bench:{name}", "BTC/USD", folder, MINUTE)


def _store_minutes(folder: str) -> None:
    rng = np.random.default_rng(1)
    close = np.round(20_000 * np.exp(np.cumsum(rng.normal(0, 4e-4, N_MINUTES))), 2)
    open_ = np.append(close[0], close[:-1])
    high, low = np.maximum(open_, close) + 0.5, np.minimum(open_, close) - 0.005
    times = pd.date_range("2015-01-01", periods=N_MINUTES, freq="min", tz="UTC", unit="us")
    volume = np.round(rng.gamma(1, 2, N_MINUTES), 4)
    columns = [times.to_numpy(), open_, high, low, close, volume]
    schema = candle_schema("BTC/USD")
    table = pa.Table.from_arrays(
        [pa.array(values).cast(field.type) for values, field in zip(columns, schema, strict=True)],
        schema=schema,
    )
    _store(folder, "in").write(table, table.slice(0, 0))


def _pass_minutes(folder: str) -> tuple[float, float, int]:
    """Seconds, peak memory above that of the idle process and size of the raw arrays, in bytes.

    Reading and writing check every row.
    """
    idle = _peak_memory()
    start = time.perf_counter()
    table = _store(folder, "in").read()
    digest_table(table)
    _store(folder, "out").write(table, table.slice(0, 0))
    return time.perf_counter() - start, _peak_memory() - idle, table.nbytes


def _peak_memory() -> int:
    """Bytes. On Linux not from getrusage, which starts a process with its parent's peak."""
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
