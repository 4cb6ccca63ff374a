"""The layouts in which people have prices: one table, and what the words of a header mean.

A header is compared word by word without case and signs, so that 'Close/Last', '<CLOSE>' and
'close*' are 'close last', 'close' and 'close'.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from models.data.files.refusal import shown
from models.data.rules import PRICES


@dataclass(frozen=True)
class Format:
    """A layout by its name, the words that its header has, and what is special about it.

    `close` and `time` are names of columns where the usual words do not tell. With
    `closes_day_before` a price of 00:00 is the close of the day that ends then.
    """

    name: str
    words: frozenset[str]
    close: str = ""
    time: str = ""
    closes_day_before: bool = False


@dataclass(frozen=True)
class Bare:
    """A layout without a header: its columns in order, '' for one that is not read."""

    name: str
    columns: tuple[str, ...]


def _format(name: str, words: str, **special: object) -> Format:
    return Format(name, frozenset(words.split(", ")), **special)  # type: ignore[arg-type]


FORMATS = (
    _format("CoinMarketCap export", "timeopen, timeclose, open, high, low, close, marketcap"),
    _format("CoinMarketCap page", "date, open, high, low, close, volume, market cap"),
    _format("Kaggle's file of one coin", "sno, name, symbol, date, high, low, open, close"),
    _format("CoinGecko export", "snapped at, price, total volume", closes_day_before=True),
    _format("CoinGecko export", "snapped at", closes_day_before=True),
    _format("CryptoDataDownload file", "unix, date, symbol, open, high, low, close"),
    _format("CryptoDataDownload file", "date, symbol, open, high, low, close, volume usd"),
    _format("Gemini or CryptoDataDownload file", "unix timestamp, date, symbol, open, close"),
    _format("Binance klines", "open time, open, high, low, close, volume, close time"),
    _format("Kaggle's one-minute file", "timestamp, open, high, low, close, weighted price"),
    _format("Quandl table", "date, open, high, low, close, weighted price"),
    _format("Investing.com export", "date, price, open, high, low, change"),
    _format("Investing.com export", "datum, zuletzt, eröffn, hoch, tief"),
    _format("Investing.com export", "fecha, último, apertura, máximo, mínimo"),
    _format("Investing.com export", "date, dernier, ouv, plus haut, plus bas"),
    _format("Investing.com export", "data, ultimo, apertura, massimo, minimo"),
    _format("Investing.com export", "data, último, abertura, máxima, mínima"),
    _format("Nasdaq export", "date, close last, open, high, low"),
    _format("yfinance export", "date, open, high, low, close, volume, dividends, stock splits"),
    _format("yfinance export", "date, open, high, low, close, capital gains"),
    _format("Yahoo Finance export", "date, open, high, low, close, adj close, volume"),
    _format("CryptoCompare export", "time, open, high, low, close, volumefrom, volumeto"),
    _format("CoinDesk export", "date, closing price usd, 24h open usd, 24h high usd"),
    _format("Blockchain.com export", "timestamp, market price", close="market price"),
    _format("FRED series", "observation date, cbbtcusd", close="cbbtcusd"),
    _format("FRED series", "date, cbbtcusd", close="cbbtcusd"),
    _format("Quandl series", "date, value", close="value"),
    _format("Stooq or MetaTrader file", "date, time, open, high, low, close"),
    _format("Dukascopy export", "gmt time, open, high, low, close"),
    _format("TradingView or Coinbase file", "time, open, high, low, close"),
    _format("Bitstamp or Kraken file", "timestamp, open, high, low, close"),
    _format("file with plain columns", "date, open, high, low, close"),
    _format("file with plain columns", "date, close"),
)

BARE_FORMATS = (
    Bare("Binance klines", ("time", *PRICES, "volume", *[""] * 6)),
    Bare("Kraken OHLC reply", ("time", *PRICES, "", "volume", "")),
    Bare("Kraken OHLCVT file", ("time", *PRICES, "volume", "")),
    Bare("KuCoin candles", ("time", "open", "close", "high", "low", "volume", "")),
    Bare("Coinbase candles", ("time", "low", "high", "open", "close", "volume")),
    Bare("Bitfinex candles", ("time", "open", "close", "high", "low", "volume")),
    Bare("columns without names", ("time", *PRICES, "volume")),
    Bare("columns without names", ("time", *PRICES)),
    Bare("days and prices without names", ("time", "close")),
)

_TIMES = (
    "unix", "unix timestamp", "unix time", "open time", "opentime", "timeopen", "time open",
    "open timestamp", "open time utc", "time period start", "period start", "start time", "start",
    "gmt time", "utc time", "time utc", "date utc", "datetime utc", "timestamp utc", "datetime",
    "date time", "timestamp", "date", "time", "day", "snapped at", "observation date",
    "tradedate", "trade date", "begins at", "local time", "datum", "fecha", "data", "ts", "t",
)  # fmt: skip
_WORDS = {
    "open": (
        "open", "open price", "price open", "opening price", "open usd", "24h open usd", "o",
        "first", "eröffn", "eröffnung", "apertura", "abertura", "ouv", "ouverture",
    ),
    "high": (
        "high", "high price", "price high", "high usd", "24h high usd", "h", "hoch", "máximo",
        "máxima", "massimo", "plus haut", "max", "highest",
    ),
    "low": (
        "low", "low price", "price low", "low usd", "24h low usd", "l", "tief", "mínimo",
        "mínima", "minimo", "plus bas", "min", "lowest",
    ),
    "close": (
        "close", "close last", "close price", "price close", "closing price", "close usd",
        "closing price usd", "close close price adjusted for splits", "c", "last", "last price",
        "schluss", "zuletzt", "último", "ultimo", "dernier", "cierre", "clôture", "price",
        "price usd", "market price", "market price usd", "adj close",
    ),
    "volume": (
        "volume", "vol", "volume base", "base volume", "basevolume", "volumefrom", "total volume",
        "tick volume", "tickvol", "v", "volumen", "24h volume usd", "volume 24h",
    ),
}  # fmt: skip
_CLOSES_ALONE = (
    "price", "price usd", "market price", "market price usd", "adj close",
)  # fmt: skip
"""Beside an open, high or low these may be something else, and the close may be misspelt."""
SYMBOLS = ("symbol", "ticker", "pair", "name", "coin", "asset", "currency")
_QUOTES = ("usd", "usdt", "usdc", "eur", "currency", "quote", "gbp", "busd")


@dataclass(frozen=True)
class Columns:
    """Where the columns of a file stand: time first, in order of preference."""

    times: tuple[int, ...]
    roles: dict[str, int]
    symbols: tuple[int, ...] = ()
    clock: int | None = None


def plain(cell: str) -> str:
    """Words of a header's cell, as they are compared."""
    text = unicodedata.normalize("NFC", cell).lower()
    if text.startswith("('") and text.endswith(")"):  # a pandas name of two levels
        text = text.split("'")[1]
    text = " ".join(re.findall(r"[^\W_]+", text))
    if text.startswith("adj close"):
        return "adj close"
    return text


def find_columns(header: Sequence[str], base: str) -> Columns:
    """Find what each column holds; `base` is the coin that is asked for, such as BTC."""
    names = [plain(cell) for cell in header]
    times = [names.index(word) for word in _TIMES if word in names]
    clock = names.index("time") if "time" in names and "date" in names else None
    values = {}
    for role, words in _WORDS.items():
        found = [names.index(word) for word in words if word in names]
        if found:
            values[role] = found[0]
    special = find_format(header)
    if special and special.close:
        values["close"] = names.index(special.close)
    elif (
        special is None
        and {"open", "high", "low"} & values.keys()
        and names[values.get("close", 0)] in _CLOSES_ALONE
    ):
        values.pop("close", None)
    volume = _find_volume(names, base)
    if "volume" not in values and volume is not None:
        values["volume"] = volume
    symbols = tuple(names.index(word) for word in SYMBOLS if word in names)
    return Columns(tuple(times), values, symbols, clock)


def _find_volume(names: list[str], base: str) -> int | None:
    """The column of the volume in coins; where there is none, that in money."""
    volumes = [name for name in names if re.match(r"(volume|vol) ", name)]
    coins = [
        name for name in volumes if name.split()[-1] in (base.lower(), "xbt", "base", "crypto")
    ]
    money = [name for name in volumes if name.split()[-1] in _QUOTES]
    others = [name for name in volumes if name not in money]
    found = [*coins, *others, *money]
    return names.index(found[0]) if found else None


def find_format(header: Sequence[str]) -> Format | None:
    """The first format whose words are all in the header."""
    words = {plain(cell) for cell in header}
    return next((known for known in FORMATS if known.words <= words), None)


def nearest_format(header: Sequence[str]) -> str:
    """A sentence on the format that the header is most like; empty where it is like none."""
    words = {plain(cell) for cell in header}
    near = [known for known in FORMATS if len(known.words & words) > 1 and known.words - words]
    if not near:
        return ""
    best = max(near, key=lambda known: len(known.words & words) / len(known.words))
    missing = ", ".join(shown(word) for word in sorted(best.words - words))
    return f"it is most like a {best.name}, which also has {missing}"
