"""Daily candles of an exchange, through ccxt's own client: `exchange:ID`.

ccxt knows each venue's paths, limits and shapes. What it forgives is refused here: a reply that
is no JSON becomes an empty list in ccxt, a null time makes a row vanish, and a wrong value
becomes None; each would lose a candle silently.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, cast
from urllib.parse import urlsplit

import pyarrow as pa

from models.config.base import nearest, shorten
from models.config.data import Ingestion
from models.data.store_table import BadRows, missing_days, table_from_rows
from models.errors import InputError, SourceError
from models.masking import mask
from tasks.secrets import known_secrets
from tasks.sources.retries import TryAgain, read_http_date, read_retry_after, retry

DEFAULT_EXCHANGE = "exchange:bitstamp"
_DAY = dt.timedelta(days=1)
_BUSY = {408, 418, 425, 429}


class ExchangeClient:
    """A market's closed daily candles, page by page; nothing is asked before the first page.

    The policy's `exchange_url`, else BTC_EXCHANGE_URL, replaces the venue's base address (scheme,
    host and port; its paths stay), for a proxy, a mirror or a replay server. Raises InputError
    for an exchange or symbol that ccxt does not know and SourceError when the venue does not give
    usable candles.
    """

    def __init__(
        self, source: str, symbol: str, policy: Ingestion, keys: dict[str, str] | None = None
    ) -> None:
        self.source, self.symbol, self.policy = source, symbol, policy
        url = policy.exchange_url or os.environ.get("BTC_EXCHANGE_URL", "")
        self._ccxt = _make_client(source.partition(":")[2], policy.timeout_s, url, keys or {})
        self._secrets = {value for value in (keys or {}).values() if value}
        spot = (self._ccxt.features or {}).get("spot") or {}
        self.page_days = int((spot.get("fetchOHLCV") or {}).get("limit") or 500)

    def fetch_pages(self, first: dt.date, last: dt.date) -> Iterator[pa.Table]:
        """Candle tables from first to last, oldest first, without the candle that is still open.

        No single reply is believed that something is not there: a page without a candle is
        asked for twice before it is stepped over, days missing inside a page are asked for once
        more, and at the end so are the days before the first candle.
        """
        cursor, earliest = first, None
        while cursor <= last:
            page = self._fetch_page(cursor, last)
            if not page.num_rows:
                page = self._fetch_page(cursor, last)
            if not page.num_rows:
                cursor += self.page_days * _DAY
                continue
            oldest, newest = _day(page, 0), _day(page, -1)
            earliest = earliest or oldest
            yield page
            if holes := missing_days(page["open_time"], oldest, newest):
                again = self._fetch_page(holes[0], holes[-1])
                yield from [again] if again.num_rows else []
            cursor = newest + _DAY
        while earliest and earliest > first:
            page = self._fetch_page(max(first, earliest - self.page_days * _DAY), earliest - _DAY)
            if not page.num_rows:
                return
            yield page
            earliest = _day(page, 0)

    def venue_time(self) -> dt.datetime | None:
        """The exchange's clock at its last reply, UTC, if it told one."""
        time: dt.datetime | None = self._ccxt.reply_time
        return time

    def _fetch_page(self, first: dt.date, last: dt.date) -> pa.Table:
        try:
            return retry(lambda: self._attempt(first, last), self.policy)
        except SourceError as error:
            raise SourceError(f"{self.source} {self.symbol} from {first}: {error}") from error

    def _attempt(self, first: dt.date, last: dt.date) -> pa.Table:
        """One page. Raises TryAgain for what may pass: the network, the server, odd rows."""
        client = self._ccxt
        markets = self._ask(client.load_markets)
        if not markets:
            raise TryAgain("an empty list of markets")
        if self.symbol not in markets:
            same_base = [m for m in markets if m.split("/")[0] == self.symbol.split("/")[0]][:10]
            raise InputError(f"{self.source} has no {self.symbol}{nearest(self.symbol, same_base)}")
        limit = min(self.page_days, (last - first).days + 2)
        rows = self._ask(client.fetch_ohlcv, self.symbol, "1d", _ms(first), limit)
        if client.reply_time:
            last = min(last, (client.reply_time - _DAY).date())
        try:
            return table_from_rows(rows, first, last, self.symbol)
        except BadRows as error:
            raise TryAgain(str(error)) from error

    def _ask(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Result of a call of ccxt, its errors sorted into those that may pass and the others."""
        client = self._ccxt
        client.reply_status, client.reply_wait_s = 0, 0.0
        try:
            return call(*arguments)
        except client.errors.BaseError as error:
            passing = isinstance(error, client.errors.OperationFailed)
            if passing or client.reply_status in _BUSY or client.reply_status >= 500:
                raise TryAgain(self._one_line(error), client.reply_wait_s) from error
            raise SourceError(self._one_line(error)) from error
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            # ccxt walks a reply without checking its shape.
            raise TryAgain(f"a reply of an unknown shape, {self._one_line(error)}") from error

    def _one_line(self, error: Exception) -> str:
        status = f"HTTP {self._ccxt.reply_status}, " if self._ccxt.reply_status >= 400 else ""
        line = status + f"{type(error).__name__}: " + " ".join(str(error).split())
        line = mask(line, self._secrets | known_secrets())
        return line if len(line) <= 200 else line[:197] + "..."


def read_keys(secret_block: str) -> dict[str, str]:
    """API key and secret from BTC_EXCHANGE_KEY and _SECRET, or from a Prefect Secret block.

    Candles are public, so most often there are none. Raises InputError for a block that is named
    but absent or without them.
    """
    names = {"apiKey": "BTC_EXCHANGE_KEY"}
    names["secret"] = "BTC_EXCHANGE_SECRET"  # nosec B105  # the name of a variable
    keys = {name: os.environ[env] for name, env in names.items() if os.environ.get(env)}
    if keys or not secret_block:
        return keys
    from prefect.blocks.system import Secret  # loads Prefect, only needed here

    try:
        value = cast(Secret[Any], Secret.load(secret_block)).get()
    except ValueError as error:
        raise InputError(f"no Prefect Secret block {secret_block!r}: create it first") from error
    try:
        value = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        value = None
    if not isinstance(value, dict) or not value.get("apiKey"):
        raise InputError(f"Secret block {secret_block!r}: expected JSON with apiKey and secret")
    return {name: str(value[name]) for name in names if value.get(name)}


def _make_client(exchange_id: str, timeout_s: float, url: str, keys: dict[str, str]) -> Any:
    import ccxt  # two seconds; only exchange sources pay it

    if exchange_id not in ccxt.exchanges:
        hint = nearest(exchange_id, ("bitstamp", "coinbaseexchange", "kraken", "binance"))
        raise InputError(f"unknown exchange {exchange_id!r}: expected an ID that ccxt knows{hint}")
    strict = type("Strict", (_StrictReplies, getattr(ccxt, exchange_id)), {"errors": ccxt})
    client = strict({"timeout": int(timeout_s * 1000), "enableRateLimit": True, **keys})
    if not client.has.get("fetchOHLCV") or "1d" not in (client.timeframes or {}):
        raise InputError(f"exchange {exchange_id!r} has no daily candles: name another")
    # Currencies and derivatives are further requests that candles of a spot pair do not need.
    client.has["fetchCurrencies"] = False
    if exchange_id == "binance":
        client.options["fetchMarkets"] = {"types": ["spot"]}
    client.session.trust_env = not url
    if url:
        client.urls["api"] = _with_base(client.urls["api"], _checked_url(url))
    return client


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InputError(f"exchange address {shorten(url)}: expected http://… or https://…")
    if "@" in url or parts.query or parts.fragment:
        raise InputError(
            "exchange address with a user name, password or key, which would be kept with the run: "
            "leave them out"
        )
    return url.rstrip("/")


def _with_base(addresses: Any, base: str) -> Any:
    """Addresses with scheme, host and port replaced; ccxt keeps one, or a dict of them by kind."""
    if isinstance(addresses, dict):
        return {kind: _with_base(address, base) for kind, address in addresses.items()}
    return base + urlsplit(addresses).path if isinstance(addresses, str) else addresses


def _day(table: pa.Table, row: int) -> dt.date:
    return cast(dt.datetime, table["open_time"][row].as_py()).date()


def _ms(day: dt.date) -> int:
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp() * 1000)


class _StrictReplies:
    """Mixed in before a ccxt exchange: notes status and headers, refuses what ccxt would hide."""

    reply_status = 0
    reply_wait_s = 0.0
    reply_time: dt.datetime | None = None
    errors: Any

    def on_rest_response(self, code: int, reason: str, *rest: Any) -> str:
        """Called by ccxt with the status line, url, method, headers, body and the request's."""
        headers = rest[2]
        self.reply_status = code
        self.reply_time = read_http_date(headers.get("Date"))
        self.reply_wait_s = read_retry_after(headers.get("Retry-After"), self.reply_time)
        return str(rest[3]).strip()

    def parse_json(self, text: str) -> Any:
        """The reply's JSON; where the status is an error, None for a page that is none."""
        value = super().parse_json(text)  # type: ignore[misc]
        if self.reply_status < 400 and (value is None or value == {}):
            raise self.errors.BadResponse(f"no JSON with content, but {text[:60]!r}")
        return value

    def parse_ohlcvs(self, rows: Any, market: Any = None, *rest: Any, **options: Any) -> list[Any]:
        """Every row as ccxt reads it, none left out, in the order of the reply."""
        return [self.parse_ohlcv(row, market) for row in rows]  # type: ignore[attr-defined]
