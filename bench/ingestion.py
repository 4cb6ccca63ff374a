"""Ingestion: a whole history and one more day from loopback."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from models.config.data import Ingestion
from tasks.sources.collection import collect_candles
from tasks.sources.exchange import ExchangeClient
from tests.replay.exchange import ReplayExchange
from tests.replay.market import made_candles

N_DAYS = 3_700
DAY = dt.timedelta(days=1)


def run() -> None:
    """Print all figures."""
    _loopback()


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
