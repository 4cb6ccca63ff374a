"""Every layout that people have comes out as the candles it was written from, or is refused."""

from __future__ import annotations

import csv
import datetime as dt
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.config.data import PriceFile, Reading, RepairPolicy
from models.data.candles import check_candles
from models.data.files.parse import ParsedFile, parse_prices
from models.errors import InputError
from tasks.sources import fetch_candles
from tests.layouts import LAYOUTS, write_layout
from tests.replay.market import made_candles

CANDLES = made_candles("2021-02-20", 50)
INPUTS = Path(__file__).resolve().parents[4].parent / "shared" / "inputs"
LATER = dt.date(2026, 1, 1)
# What a layout cannot hold: one decimal of price, whole coins, or no such column at all.
ROUNDED = {"investing": 0.05, "investing-words": 0.05, "investing-days-first": 0.05}
NO_VOLUME = {"kaggle-words", "tradingview-offset", "tradingview-west", "stooq", "coindesk"}
CLOSES = {"coingecko", "blockchain", "blockchain-bare", "quandl", "fred"}


def parse(raw: bytes | str, symbol: str = "BTC/USD", **asked: str) -> ParsedFile:
    data = raw.encode() if isinstance(raw, str) else raw
    return parse_prices(lambda: io.BytesIO(data), "x.csv", symbol, PriceFile.model_validate(asked))


def refused(raw: bytes | str, symbol: str = "BTC/USD", **asked: str) -> str:
    with pytest.raises(InputError) as error:
        parse(raw, symbol, **asked)
    text = str(error.value)
    assert text.startswith("x.csv: ") and "\n" not in text and len(text) < 400
    return text


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_comes_out_as_the_candles_it_was_written_from(name: str, newline: str) -> None:
    parsed = parse(write_layout(name, CANDLES, newline))
    found = parsed.candles
    assert found["open_time"].tolist() == CANDLES["open_time"].tolist()
    exact = name not in ROUNDED
    for column in ["close"] if name in CLOSES else ["open", "high", "low", "close"]:
        off = np.abs(found[column] - CANDLES[column]).max()
        assert off < (1e-9 if exact else ROUNDED[name] + 1e-9), column
    assert ("open" in found) == (name not in CLOSES)
    if name in NO_VOLUME or name in CLOSES - {"coingecko"}:
        assert "volume" not in found
    else:
        np.testing.assert_allclose(found["volume"], CANDLES["volume"], rtol=0.01, atol=5)
    _, _, newest_first, title = LAYOUTS[name]
    assert parsed.description.startswith(title) and "50 days" in parsed.description
    assert ("newest first" in parsed.description) == newest_first


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_with_and_without_a_mark(encoding: str) -> None:
    text = write_layout("european", CANDLES).decode()
    pd.testing.assert_frame_equal(parse(text.encode(encoding)).candles, parse(text).candles)


@pytest.mark.skipif(not INPUTS.exists(), reason="no files beside the repository")
def test_the_files_beside_the_repository_come_out_as_said() -> None:
    for row in csv.DictReader((INPUTS / "expected.csv").open()):
        reading = Reading(source=f"csv:{INPUTS / row['file']}")
        if row["result"] == "refuse":
            with pytest.raises(InputError) as error:
                found = fetch_candles(reading, LATER).candles
                check_candles(found, RepairPolicy(), as_of=LATER, newest_closed=LATER)
            assert "\n" not in str(error.value)
            continue
        found = fetch_candles(reading, LATER).candles
        check_candles(found, RepairPolicy(), as_of=LATER, newest_closed=LATER)
        ends = found.iloc[[0, -1]]
        assert len(found) == int(row["days"]), row["file"]
        assert ends["open_time"].dt.strftime("%F").tolist() == [row["first_day"], row["last_day"]]
        assert ends["close"].tolist() == [float(row["first_close"]), float(row["last_close"])]


def table(date: str, rows: int = 50, start: str = "2021-02-20") -> str:
    """Closes of days that are written in the form `date`."""
    days = pd.date_range(start, periods=rows)
    return "date,close\n" + "".join(f"{day:{date}},{100.5 + i}\n" for i, day in enumerate(days))


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%y", "%m-%d-%Y", "%y/%m/%d"])
def test_the_file_proves_the_order_of_day_and_month(form: str) -> None:
    found = parse(table(form)).candles["open_time"]
    assert found.tolist() == list(pd.date_range("2021-02-20", periods=50, tz="UTC"))


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y"])
def test_without_proof_the_order_must_be_said(form: str) -> None:
    text = table(form, rows=12, start="2021-03-01")
    assert "--date-order" in refused(text)
    order = "mdy" if form.startswith("%m") else "dmy"
    found = parse(text, date_order=order).candles["open_time"]
    assert found.tolist() == list(pd.date_range("2021-03-01", periods=12, tz="UTC"))
    assert "-order" not in refused(table("%d/%m/%Y"), date_order="mdy")


def test_one_bad_date_is_named_by_its_line() -> None:
    assert "line 12: date is '31/2/2021'" in refused(
        table("%d/%m/%Y").replace("02/03/2021", "31/02/2021")
    )


def test_thousands_points_are_seen() -> None:
    rows = "".join(f"2021-03-{day:02},55.90{day % 10},80948\n" for day in range(1, 29))
    text = "date,close,volume\n" + rows
    assert "thousands" in refused(text)
    assert parse(text, decimal=",").candles["close"].iloc[0] == 55901
    assert parse(text, decimal=".").candles["close"].iloc[0] == 55.901
    # A cheap coin leaves no doubt, nor does one price with other decimals.
    assert parse(text.replace(",55.", ",0.")).candles["close"].iloc[0] == 0.901
    assert parse(text.replace("55.901", "55.9")).candles["close"].iloc[0] == 55.9
    tabs = "date\tclose\n" + "".join(f"2021-03-{day:02}\t55,90{day % 10}\n" for day in range(1, 29))
    assert "thousands" in refused(tabs)


def test_another_coin_and_several_coins_are_refused() -> None:
    text = write_layout("cryptodatadownload", CANDLES).decode()
    assert "holds BTC, and ETH/USD was asked for" in refused(text, "ETH/USD")
    assert "holds ETH" in refused(text.replace("BTC/USD", "ETH/USD"))
    assert "2 coins ('BTC', 'ETH')" in refused(text.replace("BTC/USD", "ETH/USD", 20))
    for same in ("BTC", "BTCUSDT", "BTC-EUR", "XBTUSD", "Bitcoin", "BINANCE:BTCUSDT"):
        parse(text.replace("BTC/USD", same))
    no_symbol = "date,open,high,low,close,Volume ETH,Volume USD\n2020-01-01,1,2,1,2,5,6\n"
    assert "holds ETH" in refused(no_symbol)
    two = write_layout("yfinance-three-headers", CANDLES).decode()
    assert "2 coins" in refused(two.replace("BTC-USD", "ETH-USD", 2))
    quote = "Date,Open,High,Low,Close,Volume,Currency\n2020-01-01,1,2,1,2,5,USD\n"
    assert parse(quote).candles["close"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date,open\n2020-01-01,5\n", "no column 'close'; found 'date', 'open'"),
        ("Date,Open,High,Low,Clos;e,Adj Close\n2020-01-01,1,1,1,1,5\n", "no column 'close'"),
        ("date,high,price\n2020-01-01,5,5\n", "the column of closing prices close"),
        ("when,close\n2020-01-01,5\n", "no column 'date'; found 'when', 'close'"),
        ("snapped_at,total_volume\n2020-01-01,5\n", "most like a CoinGecko export"),
        ("date,close,Close\n2020-01-01,5,5\n", "column 'close' is there twice"),
        ("2020-01-01,1,2,3\n2020-01-02,1,2,3\n", "no header, and its 4 columns"),
        ("<!DOCTYPE html><html></html>", "is a web page"),
        ('{"prices": []}', "is JSON"),
        ("close\n5\n", "has one column"),
        ("date,close\n2020-01-01," + "9a" * 90_000 + "\n", "not CSV: field larger"),
        (",".join(["a"] * 300) + "\n", "300 columns, expected at most 200"),
        ("x" * 400_000, "line 1 has more than"),
        ("date,close\n44197,5\n44198,6\n", "line 2: date is '44197', expected a UTC day"),
        ("date,close\n2020-01-06,5\n2020-01-13,6\n2020-01-20,6\n", "one row in 7 days"),
        ("time,close\n1613779200,5\n1.6138E+09,6\n", "line 3: time is '1.6138E+09'"),
    ],
)
def test_what_is_no_price_file_is_told_what_to_change(text: str, message: str) -> None:
    assert message in refused(text)
