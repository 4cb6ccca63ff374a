"""What four exchanges answer on their public OHLC endpoints: paths, shapes, order and limits.

Candles are a frame with `open_time` (UTC midnight), `open`, `high`, `low`, `close`, `volume`;
the row of the day that `now` falls on is served half formed, as an exchange would.
"""

from __future__ import annotations

import datetime as dt

import pandas as pd

DAY_S = 86_400
Query = dict[str, str]


class Refused(Exception):
    """The venue refuses the request; `args` are the HTTP status and the reply."""


def served(candles: pd.DataFrame, now: dt.datetime) -> list[list[float]]:
    """Rows `[unix seconds, open, high, low, close, volume]` up to now, the last one still open."""
    today = pd.Timestamp(now).floor("D")
    known = candles[candles["open_time"] <= today]
    seconds = (known["open_time"] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1)
    prices = known[["open", "high", "low", "close", "volume"]].to_numpy().tolist()
    rows = [[int(second), *row] for second, row in zip(seconds, prices, strict=True)]
    if rows and rows[-1][0] == int(today.timestamp()):
        time, open_, high, low, _, volume = rows[-1]
        rows[-1] = [time, open_, (open_ + high) / 2, (open_ + low) / 2, open_, volume / 2]
    return rows


def text(number: float) -> str:
    """Shortest decimal that reads back as the same number, as venues send prices."""
    return repr(float(number))


def bitstamp(rows: list[list[float]], path: str, query: Query) -> object:
    """`/api/v2/ohlc/{pair}/`: strings, seconds, oldest first; `end` beats `start`."""
    if path == "/api/v2/markets/":
        return [
            {"name": "BTC/USD", "market_symbol": "btcusd", "base_currency": "BTC"}
            | {"base_decimals": 8, "counter_currency": "USD", "counter_decimals": 0}
            | {"minimum_order_value": "10", "trading": "Enabled", "market_type": "SPOT"}
        ]
    if path != "/api/v2/ohlc/btcusd/":
        raise Refused(404, {"status": "error", "reason": "Not found", "code": "API0004"})
    limit = int(query["limit"])
    if query["step"] != str(DAY_S) or not 1 <= limit <= 1000:
        raise Refused(
            400, {"code": "validation-error", "field": "limit", "message": "out of range"}
        )
    if "end" in query:
        kept = [row for row in rows if row[0] <= int(query["end"])][-limit:]
    else:
        kept = [row for row in rows if row[0] >= int(query.get("start", 0))][:limit]
    names = ("timestamp", "open", "high", "low", "close", "volume")
    ohlc = [dict(zip(names, [str(row[0]), *map(text, row[1:])], strict=True)) for row in kept]
    return {"data": {"pair": "BTC/USD", "ohlc": ohlc}}


def coinbaseexchange(rows: list[list[float]], path: str, query: Query) -> object:
    """`/products/BTC-USD/candles`: bare arrays, low before high, newest first, at most 300."""
    if path == "/products":
        return [
            {"id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD"}
            | {"quote_increment": "0.01", "base_increment": "0.00000001", "status": "online"}
            | {"min_market_funds": "1", "margin_enabled": False}
        ]
    if path != "/products/BTC-USD/candles":
        raise Refused(404, {"message": "NotFound"})
    start, end = (dt.datetime.fromisoformat(query[name]).timestamp() for name in ("start", "end"))
    if query["granularity"] != str(DAY_S) or (end - start) / DAY_S >= 300:
        reason = "granularity too small for the requested time range. "
        raise Refused(400, {"message": reason + "Count of aggregations requested exceeds 300"})
    kept = [row for row in rows if start - DAY_S <= row[0] <= end and row[5] > 0]
    return [[t, low, high, open_, close, volume] for t, open_, high, low, close, volume in kept][
        ::-1
    ]


def kraken(rows: list[list[float]], path: str, query: Query) -> object:
    """`/0/public/OHLC`: the newest 720 whatever `since` says, the open candle always last."""
    if path == "/0/public/AssetPairs":
        pair: dict[str, object] = {
            "altname": "XBTUSD",
            "wsname": "XBT/USD",
            "base": "XXBT",
            "quote": "ZUSD",
        }
        pair |= {"pair_decimals": 1, "lot_decimals": 8, "ordermin": "0.0001", "status": "online"}
        return {"error": [], "result": {"XXBTZUSD": pair | {"fees": [[0, 0.4]]}}}
    if path != "/0/public/OHLC" or query.get("interval") != "1440":
        raise Refused(404, {"error": ["EGeneral:Unknown method"]})
    if query["pair"] not in ("XXBTZUSD", "XBTUSD"):
        return {"error": ["EQuery:Unknown asset pair"]}
    ohlc = [
        [t, *map(text, (o, h, low, c, (h + low) / 2, v)), int(v) + 1]
        for t, o, h, low, c, v in rows[-720:]
    ]
    last = rows[-2][0] if len(rows) > 1 else 0
    return {"error": [], "result": {"XXBTZUSD": ohlc, "last": last}}


def binance(rows: list[list[float]], path: str, query: Query) -> object:
    """`/api/v3/klines`: milliseconds, strings, ascending from `startTime`, at most 1,000."""
    if path == "/api/v3/exchangeInfo":
        market: dict[str, object] = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC"}
        market |= {"quoteAsset": "USDT", "baseAssetPrecision": 8, "quotePrecision": 8}
        return {"timezone": "UTC", "symbols": [market | {"filters": [], "permissions": []}]}
    if path != "/api/v3/klines":
        raise Refused(404, {"code": -1000, "msg": "Unknown path"})
    if query["symbol"] != "BTCUSDT":
        raise Refused(400, {"code": -1121, "msg": "Invalid symbol."})
    start, end = int(query.get("startTime", 0)), int(query.get("endTime", 10**15))
    kept = [row for row in rows if start <= row[0] * 1000 <= end]
    return [
        [t * 1000, *map(text, row), (t + DAY_S) * 1000 - 1, text(row[3] * row[4]), 1, "0", "0", "0"]
        for t, *row in kept[: min(int(query.get("limit", 500)), 1000)]
    ]


VENUES = (bitstamp, coinbaseexchange, kraken, binance)
