"""Readers fed with damaged replies and files: valid candles or one clear line, nothing else."""

from __future__ import annotations

import datetime as dt
import io
import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from models.config.data import Ingestion, RepairPolicy
from models.data.candles import check_candles
from models.data.files.parse import parse_prices
from models.data.store_table import check_table
from models.errors import InputError, SourceError
from tasks.sources.collection import collect_candles
from tasks.sources.exchange import ExchangeClient
from tasks.storage.candle_store import CandleStore
from tests.replay.market import at, made_candles, table_of
from tests.replay.venues import VENUES, served

N_CASES = 200
FIRST, LAST = dt.date(2024, 1, 1), dt.date(2024, 1, 30)
CANDLES = made_candles(str(FIRST), 31)
ROWS = served(CANDLES, at("2024-01-31"))
SYMBOLS = {"binance": "BTC/USDT"}
DAY_S = "86400"
QUERIES = {
    "bitstamp": ("/api/v2/ohlc/btcusd/", {"step": DAY_S, "limit": "1000"}),
    "coinbaseexchange": (
        "/products/BTC-USD/candles",
        {"granularity": DAY_S, "start": "2024-01-01T00:00:00Z", "end": "2024-01-31T00:00:00Z"},
    ),
    "kraken": ("/0/public/OHLC", {"pair": "XXBTZUSD", "interval": "1440"}),
    "binance": ("/api/v3/klines", {"symbol": "BTCUSDT"}),
}
MARKET_PATHS = {
    "bitstamp": "/api/v2/markets/",
    "coinbaseexchange": "/products",
    "kraken": "/0/public/AssetPairs",
    "binance": "/api/v3/exchangeInfo",
}
ODD = [None, True, "", "x", "NaN", -1, 0, 1e308, -0.0, 2**70, [], {}, "1e999", "0x10", "١٢", "1 2"]


def mutated(body: bytes, rng: random.Random) -> bytes:
    """The body with some bytes changed, cut, doubled, or one JSON value replaced."""
    kind = rng.randrange(6)
    at_, end = sorted(rng.choices(range(len(body) + 1), k=2))
    if kind == 0:
        return body[:at_]
    if kind == 1:
        return body[:at_] + body[min(end, at_ + 40) :]
    if kind == 2:
        return body[:at_] + body[at_ : at_ + 60] * 2 + body[at_ + 60 :]
    if kind == 3:
        return bytes(rng.randrange(256) if rng.random() < 0.01 else byte for byte in body)
    if kind == 4:
        digits = [i for i, byte in enumerate(body) if chr(byte) in '0123456789.-",[]']
        spoiled = bytearray(body)
        for i in rng.choices(digits, k=rng.randrange(1, 4)):
            spoiled[i] = ord(rng.choice('0123456789.-e",[]'))
        return bytes(spoiled)
    return b"".join((rng.choice((b"", b"\x00", b"\xef\xbb\xbf", b"<html>", b"\n")), body))


def with_odd_value(value: object, rng: random.Random) -> object:
    """A copy of decoded JSON in which one value, at any depth, is an odd one."""
    if rng.random() < 0.15 or not isinstance(value, (list, dict)) or not value:
        return rng.choice(ODD)
    if isinstance(value, dict):
        key = rng.choice(list(value))
        return value | {key: with_odd_value(value[key], rng)}
    index = rng.randrange(len(value))
    return [*value[:index], with_odd_value(value[index], rng), *value[index + 1 :]]


class FakeSession(requests.Session):
    """Answers like an exchange, with the body of the moment."""

    def __init__(self, body: Callable[[str], bytes]) -> None:
        super().__init__()
        self.body = body

    def request(self, method: str, url: str, **options: object) -> requests.Response:
        response = requests.Response()
        response.status_code, response.reason, response.url = 200, "OK", url
        response.headers["Content-Type"] = "application/json"
        response._content = self.body(url)
        return response


@pytest.mark.slow
@pytest.mark.parametrize("venue", VENUES, ids=lambda venue: venue.__name__)
@pytest.mark.parametrize("spoil_markets", [False, True], ids=["candles", "markets"])
def test_damaged_replies_give_valid_candles_or_one_line(
    venue, spoil_markets, tmp_path, monkeypatch
):
    monkeypatch.setenv("BTC_HOME", str(tmp_path))
    name = venue.__name__
    symbol = SYMBOLS.get(name, "BTC/USD")
    store = CandleStore(f"exchange:{name}", symbol)
    kept = table_of(CANDLES[:20], symbol)
    store.write(kept, kept.slice(0, 0))
    markets = venue(ROWS, MARKET_PATHS[name], {})
    candles = venue(ROWS, *QUERIES[name])
    rng = random.Random(f"{name}{spoil_markets}")
    policy = Ingestion(attempts=1, backoff_s=0, start=FIRST)
    current = {"markets": json.dumps(markets).encode(), "candles": json.dumps(candles).encode()}
    make = ExchangeClient.__init__

    def offline(self: ExchangeClient, *arguments: Any) -> None:
        make(self, *arguments)
        self._ccxt.enableRateLimit = False
        self._ccxt.session = FakeSession(
            lambda url: current[
                "markets" if urlsplit(url).path == MARKET_PATHS[name] else "candles"
            ]
        )

    monkeypatch.setattr(ExchangeClient, "__init__", offline)
    part, whole = ("markets", markets) if spoil_markets else ("candles", candles)
    outcomes = {"taken": 0, "refused": 0}
    for _ in range(N_CASES // (3 if spoil_markets else 1)):
        if rng.random() < 0.5:
            current[part] = json.dumps(with_odd_value(whole, rng)).encode()
        else:
            current[part] = mutated(json.dumps(whole).encode(), rng)
        before = store.read()
        try:
            collected = collect_candles(f"exchange:{name}", symbol, LAST, policy)
        except (SourceError, InputError) as error:
            outcomes["refused"] += 1
            assert "\n" not in str(error) and 20 < len(str(error)) < 400
            check_table(store.read())
            store.write(before, store.read())
        else:
            outcomes["taken"] += 1
            check_table(collected.candles)
        for file in tmp_path.rglob("*.parquet"):
            file.unlink()
        store.write(kept, kept.slice(0, 0))
    assert min(outcomes.values()) > 10


def test_damaged_files_give_valid_candles_or_one_line():
    frame = CANDLES.rename(columns={"open_time": "date"})
    frame["date"] = frame["date"].dt.strftime("%Y-%m-%d")
    body = frame.to_csv(index=False).encode()
    rng = random.Random(5)
    outcomes = {"taken": 0, "refused": 0}
    for _ in range(2 * N_CASES):
        damaged = mutated(body, rng)
        try:
            parsed = parse_prices(lambda raw=damaged: io.BytesIO(raw), "candles.csv").candles
            checked = check_candles(
                parsed, RepairPolicy(), as_of=LAST, newest_closed=dt.date(2024, 1, 31)
            )
        except InputError as error:
            outcomes["refused"] += 1
            assert "\n" not in str(error) and 20 < len(str(error)) < 400
        else:
            outcomes["taken"] += 1
            assert (checked.candles.drop(columns="open_time") >= 0).all(axis=None)
    assert min(outcomes.values()) > 10
