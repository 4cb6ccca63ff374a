"""A replay exchange: an HTTP server on loopback with candles and a clock of its own."""

from __future__ import annotations

import datetime as dt
import json
import socket
import struct
import threading
from collections import deque
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qsl, urlsplit

import pandas as pd

from tests.replay.faults import BODY_FAULTS, HTTP_FAULTS, KINDS, ROW_FAULTS
from tests.replay.venues import VENUES, Refused, served

MARKET_PATHS = ("/api/v2/markets/", "/products", "/0/public/AssetPairs", "/api/v3/exchangeInfo")


class ReplayExchange:
    """Serves one market's daily candles as Bitstamp, Coinbase Exchange, Kraken and Binance do.

    Use as a context manager; `url` is the base address, `now` the exchange's clock, `requests`
    the paths and queries seen so far. A fault from `inject` spoils the next OHLC replies.
    """

    def __init__(self, candles: pd.DataFrame, now: dt.datetime) -> None:
        self.candles = candles.copy()
        self.now = now
        self.requests: list[str] = []
        self.outage: str = ""
        self.faults: deque[str] = deque()
        self.stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.exchange = self  # type: ignore[attr-defined]

    @property
    def url(self) -> str:
        """Base address, without a trailing slash."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def inject(self, kind: str, times: int = 1) -> None:
        """Spoil the next `times` OHLC replies in the way named by `kind` (see faults.KINDS)."""
        if kind not in KINDS:
            raise ValueError(f"unknown fault {kind!r}, expected one of {', '.join(KINDS)}")
        self.faults.extend([kind] * times)

    def revise(self, day: str, **values: float) -> None:
        """Change values of one day's candle from now on, as venues do."""
        row = self.candles["open_time"] == pd.Timestamp(day, tz="UTC")
        for name, value in values.items():
            self.candles.loc[row, name] = value

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep test output quiet."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The `Date` header tells the exchange's time, not this machine's."""
        return format_datetime(self._exchange.now.astimezone(dt.UTC), usegmt=True)

    @property
    def _exchange(self) -> ReplayExchange:
        return cast(ReplayExchange, self.server.exchange)  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        exchange = self._exchange
        exchange.requests.append(self.path)
        fault = exchange.outage
        if not fault and exchange.faults and urlsplit(self.path).path not in MARKET_PATHS:
            fault = exchange.faults.popleft()
        if fault == "timeout":
            exchange.stopping.wait(30)
            self.close_connection = True
            return
        status, reply = self._reply(fault)
        kind, headers, body = "application/json", {}, json.dumps(reply).encode()
        if fault in HTTP_FAULTS:
            status, kind, fixed, headers = HTTP_FAULTS[fault]
            body = body if fixed is None else fixed
        self._send(status, kind, headers, body, fault if fault in BODY_FAULTS else "")

    def _reply(self, fault: str) -> tuple[int, Any]:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        rows = served(self._exchange.candles, self._exchange.now)
        for venue in VENUES:
            try:
                reply = venue(rows, parts.path, query)
            except Refused as refusal:
                status, reply = refusal.args
                if status != 404:
                    return status, reply
                continue
            return 200, _spoiled(reply, fault) if fault in ROW_FAULTS else reply
        return 404, reply

    def _send(
        self, status: int, kind: str, headers: dict[str, str], body: bytes, fault: str
    ) -> None:
        sent = body[: len(body) // 2] if fault else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body if fault == "reset" else sent)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)
        if fault == "reset":
            self.wfile.flush()
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            self.close_connection = True


def _spoiled(reply: Any, fault: str) -> Any:
    """The reply with the fault applied to its rows, whatever the venue wraps them in."""
    if isinstance(reply, list):
        return ROW_FAULTS[fault](reply)
    if "data" in reply:
        names = ("timestamp", "open", "high", "low", "close", "volume")
        rows = [[row[name] for name in names] for row in reply["data"]["ohlc"]]
        spoiled = ROW_FAULTS[fault]([[int(row[0]), *row[1:]] for row in rows])
        ohlc = [dict(zip(names, row, strict=True)) for row in spoiled]
        return {"data": reply["data"] | {"ohlc": ohlc}}
    rows = ROW_FAULTS[fault](reply["result"]["XXBTZUSD"])
    return {"error": [], "result": reply["result"] | {"XXBTZUSD": rows}}
