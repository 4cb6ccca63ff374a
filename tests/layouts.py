"""Price files in the layouts that people download, written from candles; each read back in tests.

The wording of headers and the forms of numbers are those of the sites' own downloads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

Row = dict[str, Any]
OHLC = ("open", "high", "low", "close")


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """Rows with the values of a candle frame, `day` (date), `date` (ISO text) and `s` (seconds)."""
    return [
        {
            **{name: float(getattr(row, name)) for name in (*OHLC, "volume")},
            "day": row.open_time.date(),
            "date": f"{row.open_time:%Y-%m-%d}",
            "s": int(row.open_time.timestamp()),
        }
        for row in frame.itertuples()
    ]


def comma(value: float, places: int = 2) -> str:
    return f"{value:,.{places}f}"


def ohlc(row: Row) -> str:
    return ",".join(repr(row[name]) for name in OHLC)


def money(row: Row) -> str:
    return repr(row["volume"] * row["close"])


def quoted(cells: list[str], separator: str = ",") -> str:
    return separator.join(f'"{cell}"' for cell in cells)


def short(value: float) -> str:
    """1.2K, 3.4M."""
    return f"{value / 1e3:.2f}K" if value < 1e6 else f"{value / 1e6:.2f}M"


def european(value: float) -> str:
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


def _yahoo(row: Row) -> str:
    return f"{row['date']},{ohlc(row)},{row['close']!r},{int(row['volume'])}"


def _page(row: Row) -> str:
    prices = [comma(row[name]) for name in (*OHLC, "close")]
    return "\t".join([f"{row['day']:%b} {row['day'].day}, {row['day']:%Y}", *prices,
                      f"{int(row['volume']):,}"])  # fmt: skip


def _investing(form: str, places: int = 1) -> Callable[[Row], str]:
    def line(row: Row) -> str:
        prices = [comma(row[name], places) for name in ("close", "open", "high", "low")]
        return quoted([f"{row['day']:{form}}", *prices, short(row["volume"]), "-0.10%"])

    return line


def _investing_german(row: Row) -> str:
    prices = [european(row[name]) for name in ("close", "open", "high", "low")]
    volume = short(row["volume"]).replace(".", ",")
    return quoted([f"{row['day']:%d.%m.%Y}", *prices, volume, "0,10%"])


def _coinmarketcap(row: Row) -> str:
    at = [f'"{row["date"]}T{clock}Z"' for clock in
          ("00:00:00.000", "23:59:59.999", "05:01:00.000", "21:10:00.000")]  # fmt: skip
    values = [repr(row[name]) for name in (*OHLC, "volume")]
    return ";".join([*at, '"2781"', *values, "1000000.5", "18640000", at[1]])


def _klines(factor: int) -> Callable[[Row], str]:
    def line(row: Row) -> str:
        ends = (row["s"] * 1000 + 86_399_999) * factor
        return (
            f"{row['s'] * 1000 * factor},{ohlc(row)},{row['volume']!r},{ends},{money(row)},1000,"
            f"{row['volume'] / 2!r},{row['volume']!r},0"
        )

    return line


def _day_after(row: Row) -> str:
    return f"{row['day'] + pd.Timedelta(days=1):%Y-%m-%d}"


# name: (header lines, line of a row, newest first, what the reader takes it for)
LAYOUTS: dict[str, tuple[str, Callable[[Row], str], bool, str]] = {
    "yahoo": ("Date,Open,High,Low,Close,Adj Close,Volume", _yahoo, False, "Yahoo Finance export"),
    "yfinance-flat": (
        "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits",
        lambda r: f"{r['date']} 00:00:00+00:00,{ohlc(r)},{r['volume']!r},0.0,0.0",
        False, "yfinance export",
    ),
    "yfinance-three-headers": (
        "Price,Close,High,Low,Open,Volume\nTicker,BTC-USD,BTC-USD,BTC-USD,BTC-USD,BTC-USD\n"
        "Date,,,,,",
        lambda r: f"{r['date']},{r['close']!r},{r['high']!r},{r['low']!r},{r['open']!r},"
        f"{r['volume']!r}",
        False, "yfinance export with 3 header rows",
    ),
    "yfinance-by-ticker": (
        "Ticker,BTC-USD,BTC-USD,BTC-USD,BTC-USD,BTC-USD\nPrice,Open,High,Low,Close,Volume\n"
        "Date,,,,,",
        lambda r: f"{r['date']},{ohlc(r)},{r['volume']!r}",
        False, "yfinance export with 3 header rows",
    ),
    "yfinance-two-headers": (
        ",Adj Close,Close,High,Low,Open,Volume\n" + ",BTC-USD" * 6 + "\nDate,,,,,,",
        lambda r: f"{r['date']},1.5,{r['close']!r},{r['high']!r},{r['low']!r},{r['open']!r},"
        f"{r['volume']!r}",
        False, "yfinance export with 3 header rows",
    ),
    "pandas-index": (
        ",Open,High,Low,Close,Volume",
        lambda r: f"{r['date']},{ohlc(r)},{r['volume']!r}", False, "file with columns by name",
    ),
    "yahoo-page": (
        "Date\tOpen\tHigh\tLow\tClose*\tAdj Close**\tVolume", _page, True,
        "Yahoo Finance page, copied",
    ),
    "yahoo-page-new": (
        "Date\tOpen\tHigh\tLow\tClose Close price adjusted for splits.\tAdj Close Adjusted close "
        "price adjusted for splits and dividend and/or capital gain distributions.\tVolume",
        _page, True, "Yahoo Finance page, copied",
    ),
    "investing": (
        '\ufeff"Date","Price","Open","High","Low","Vol.","Change %"', _investing("%m/%d/%Y"), True,
        "Investing.com export",
    ),
    "investing-words": (
        '"Date","Price","Open","High","Low","Vol.","Change %"', _investing("%b %d, %Y"), True,
        "Investing.com export",
    ),
    "investing-days-first": (
        '"Date","Price","Open","High","Low","Vol.","Change %"', _investing("%d/%m/%Y"), True,
        "Investing.com export",
    ),
    "investing-german": (
        '"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"', _investing_german, True,
        "Investing.com export",
    ),
    "coinmarketcap": (
        "timeOpen;timeClose;timeHigh;timeLow;name;open;high;low;close;volume;marketCap;"
        "circulatingSupply;timestamp",
        _coinmarketcap, True, "CoinMarketCap export",
    ),
    "coinmarketcap-commas": (
        "timeOpen,timeClose,timeHigh,timeLow,name,open,high,low,close,volume,marketCap,"
        "circulatingSupply,timestamp",
        lambda r: _coinmarketcap(r).replace(";", ","), True, "CoinMarketCap export",
    ),
    "coinmarketcap-page": (
        "Date,Open*,High,Low,Close**,Volume,Market Cap",
        lambda r: quoted([f"{r['day']:%b %d, %Y}", *(f"${comma(r[n])}" for n in OHLC),
                          f"${comma(r['volume'], 0)}", "$1,000,000"]),
        True, "CoinMarketCap page",
    ),
    "cryptodatadownload": (
        "https://www.CryptoDataDownload.com\n"
        "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD",
        lambda r: f"{r['s']},{r['date']} 00:00:00,BTC/USD,{ohlc(r)},{r['volume']!r},{money(r)}",
        True, "CryptoDataDownload file",
    ),
    "cryptodatadownload-mixed-units": (
        "https://www.CryptoDataDownload.com\n"
        "Unix,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount",
        lambda r: f"{r['s'] * (1000 if r['day'].day % 2 else 1)},{r['date']},BTCUSDT,{ohlc(r)},"
        f"{r['volume']!r},{money(r)},7",
        True, "CryptoDataDownload file",
    ),
    "gemini": (
        "Unix Timestamp,Date,Symbol,Open,High,Low,Close,Volume",
        lambda r: f"{r['s'] * 1000},{r['date']} 0:00,BTCUSD,{ohlc(r)},{r['volume']!r}",
        True, "Gemini or CryptoDataDownload file",
    ),
    "binance-ms": ("", _klines(1), False, "Binance klines"),
    "binance-us": ("", _klines(1000), False, "Binance klines"),
    "binance-header": (
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
        "taker_buy_quote_volume,ignore",
        _klines(1), False, "Binance klines",
    ),
    "coingecko": (
        "snapped_at,price,market_cap,total_volume",
        lambda r: f"{_day_after(r)} 00:00:00 UTC,{r['close']!r},1e12,{r['volume']!r}",
        False, "CoinGecko export",
    ),
    "kaggle-words": (
        "Date,Open,High,Low,Close,Volume,Market Cap",
        lambda r: f'"{r["day"]:%b %d, %Y}",{ohlc(r)},"-","1,000,000"',
        True, "CoinMarketCap page",
    ),
    "kaggle-coin": (
        "SNo,Name,Symbol,Date,High,Low,Open,Close,Volume,Marketcap",
        lambda r: f"1,Bitcoin,BTC,{r['date']} 23:59:59,{r['high']!r},{r['low']!r},{r['open']!r},"
        f"{r['close']!r},{r['volume']!r},1.0",
        False, "Kaggle's file of one coin",
    ),
    "tradingview-unix": (
        "time,open,high,low,close,Volume,Volume MA",
        lambda r: f"{r['s']},{ohlc(r)},{r['volume']!r},5", False, "TradingView or Coinbase file",
    ),
    "tradingview-offset": (
        "time,open,high,low,close",
        lambda r: f"{r['date']}T01:00:00+01:00,{ohlc(r)}", False, "TradingView or Coinbase file",
    ),
    "tradingview-west": (
        "time,open,high,low,close",
        lambda r: f"{pd.Timestamp(r['day']) - pd.Timedelta(hours=5):%Y-%m-%dT%H:%M:%S}-05:00,"
        + ohlc(r),
        False, "TradingView or Coinbase file",
    ),
    "nasdaq": (
        "Date,Close/Last,Volume,Open,High,Low",
        lambda r: f'{r["day"]:%m/%d/%Y},"${comma(r["close"])}",{int(r["volume"])},'
        + quoted([f"${comma(r[name])}" for name in ("open", "high", "low")]),
        True, "Nasdaq export",
    ),
    "stooq": (
        "Date,Open,High,Low,Close", lambda r: f"{r['date']},{ohlc(r)}", False,
        "file with plain columns",
    ),
    "stooq-bulk": (
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        lambda r: f"BTCUSD,D,{r['day']:%Y%m%d},000000,{ohlc(r)},{r['volume']!r},0", False,
        "Stooq or MetaTrader file",
    ),
    "metatrader": (
        "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
        lambda r: f"{r['day']:%Y.%m.%d},{ohlc(r)},7,{r['volume']!r},0".replace(",", "\t"),
        False, "file with plain columns",
    ),
    "bitstamp": (
        "timestamp,open,high,low,close,volume", lambda r: f"{r['s']},{ohlc(r)},{r['volume']!r}",
        False, "Bitstamp or Kraken file",
    ),
    "kraken": ("", lambda r: f"{r['s']},{ohlc(r)},{r['volume']!r},99", False, "Kraken OHLCVT file"),
    "coinbase": (
        "",
        lambda r: f"{r['s']},{r['low']!r},{r['high']!r},{r['open']!r},{r['close']!r},"
        f"{r['volume']!r}",
        True, "Coinbase candles",
    ),
    "bitfinex": (
        "",
        lambda r: f"{r['s'] * 1000},{r['open']!r},{r['close']!r},{r['high']!r},{r['low']!r},"
        f"{r['volume']!r}",
        True, "Bitfinex candles",
    ),
    "blockchain": (
        "Timestamp,market-price", lambda r: f"{r['date']} 00:00:00,{r['close']!r}", False,
        "Blockchain.com export",
    ),
    "blockchain-bare": (
        "", lambda r: f"{r['date']} 00:00:00,{r['close']!r}", False,
        "days and prices without names",
    ),
    "quandl": ("Date,Value", lambda r: f"{r['date']},{r['close']!r}", True, "Quandl series"),
    "quandl-bitstamp": (
        "Date,Open,High,Low,Close,Volume (BTC),Volume (Currency),Weighted Price",
        lambda r: f"{r['date']},{ohlc(r)},{r['volume']!r},{money(r)},{r['close']!r}", True,
        "Quandl table",
    ),
    "fred": (
        "observation_date,CBBTCUSD", lambda r: f"{r['date']},{r['close']!r}", False, "FRED series",
    ),
    "coindesk": (
        "Currency,Date,Closing Price (USD),24h Open (USD),24h High (USD),24h Low (USD)",
        lambda r: f"BTC,{r['date']},{r['close']!r},{r['open']!r},{r['high']!r},{r['low']!r}", False,
        "CoinDesk export",
    ),
    "cryptocompare": (
        "time,high,low,open,volumefrom,volumeto,close,conversionType",
        lambda r: f"{r['s']},{r['high']!r},{r['low']!r},{r['open']!r},{r['volume']!r},{money(r)},"
        f"{r['close']!r},direct",
        False, "CryptoCompare export",
    ),
    "dukascopy": (
        "Gmt time,Open,High,Low,Close,Volume",
        lambda r: f"{r['day']:%d.%m.%Y} 00:00:00.000,{ohlc(r)},{r['volume']!r}", False,
        "Dukascopy export",
    ),
    "european": (
        "Datum;Eröffnung;Hoch;Tief;Schluss;Volumen",
        lambda r: ";".join([f"{r['day']:%d.%m.%Y}",
                            *(f"{r[n]:.2f}".replace(".", ",") for n in (*OHLC, "volume"))]),
        False, "file with columns by name",
    ),
    "european-thousands": (
        "date;open;high;low;close;volume",
        lambda r: ";".join([f"{r['day']:%d.%m.%Y}", *(european(r[n]) for n in (*OHLC, "volume"))]),
        False, "file with plain columns",
    ),
    "french": (
        "date;open;high;low;close;volume",
        lambda r: ";".join([f"{r['day']:%d/%m/%Y}",
                            *(comma(r[n]).replace(",", "\u202f").replace(".", ",")
                              for n in (*OHLC, "volume"))]),
        False, "file with plain columns",
    ),
    "american-clock": (
        "Date,Open,High,Low,Close,Volume",
        lambda r: f"{r['day'].month}/{r['day'].day}/{r['day']:%Y} 12:00:00 AM,{ohlc(r)},"
        f"{r['volume']!r}",
        False, "file with plain columns",
    ),
    "day-month-words": (
        "Date,Open,High,Low,Close,Volume",
        lambda r: f"{r['day']:%d-%b-%y},{ohlc(r)},{r['volume']!r}", False,
        "file with plain columns",
    ),
}  # fmt: skip


def write_layout(name: str, frame: pd.DataFrame, newline: str = "\n") -> bytes:
    """The file of a layout with the candles of a frame."""
    header, line, newest_first, _ = LAYOUTS[name]
    rows = rows_of(frame)
    lines = [*header.split("\n"), *map(line, rows[::-1] if newest_first else rows)]
    return (newline.join(lines[0 if header else 1 :]) + newline).encode()
