"""parse_csv takes the two formats in any shape and answers anything else with one line."""

import datetime as dt
import random
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data import csv_format
from models.data.candles import COLUMNS
from models.data.csv_format import parse_csv
from models.errors import InputError

REAL = Path(__file__).parents[3] / "shared" / "data" / "BTC-USD.csv"

YAHOO = """Date,Open,High,Low,Close,Adj Close,Volume
2014-09-17,465.864013671875,468.17401123046875,452.4219970703125,457.3340148925781,1.5,21056800
2014-09-18,456.8599853515625,456.8599853515625,413.10400390625,424.44000244140625,2.5,34483200
"""
PLAIN = """date,open,high,low,close,volume
2020-01-01,1,3,0.5,2,10
2020-01-02,2,4,1.5,3,20.5
"""


def days(frame):
    return frame["open_time"].dt.strftime("%Y-%m-%d").tolist()


def test_yahoos_format():
    frame = parse_csv(YAHOO, "x.csv")
    assert list(frame.columns) == list(COLUMNS)
    assert str(frame["open_time"].dtype) == "datetime64[us, UTC]"
    assert all(frame[name].dtype == np.float64 for name in COLUMNS[1:])
    assert days(frame) == ["2014-09-17", "2014-09-18"]
    assert frame["close"].tolist() == [457.3340148925781, 424.44000244140625]
    assert frame["volume"].tolist() == [21056800.0, 34483200.0]


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.encode(),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN + "\n\n  \n",
        "\n\n" + PLAIN.replace("2020-01-02", "\n2020-01-02"),
        PLAIN.rstrip("\n"),
        PLAIN.upper(),
        PLAIN.replace(",", " , "),
        PLAIN.replace("date,", '"Date",').replace("2020-01-01,1", '"2020-01-01","1"'),
        PLAIN.replace("date,", "open_time,"),
        PLAIN.replace("date,", "Timestamp,"),
        PLAIN.replace("date,", "time,"),
        PLAIN.replace("-01,", "-01T00:00:00Z,").replace("-02,", "-02 00:00:00+00:00,"),
        PLAIN.replace("-01,", "-01 00:00:00 UTC,").replace("-02,", "-02T00:00:00.000Z,"),
        "volume,close,low,extra,high,open,date\n20.5,3,1.5,?,4,2,2020-01-02\n"
        "10,2,0.5,,3,1,2020-01-01\n",
    ],
)
def test_the_same_candles_in_other_shapes(text):
    pd.testing.assert_frame_equal(parse_csv(text, "x.csv"), parse_csv(PLAIN, "x.csv"))


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("date,close\n2020-01-01,5\n", ["open_time", "close"]),
        ("Close,VOLUME,date\n5,7,2020-01-01\n", ["open_time", "close", "volume"]),
        ("date,close,high\n2020-01-01,5,6\n", ["open_time", "high", "close"]),
    ],
)
def test_the_columns_that_are_there_are_kept(text, columns):
    assert list(parse_csv(text, "x.csv").columns) == columns


def test_rows_are_sorted_and_duplicates_kept_in_order():
    frame = parse_csv("date,close\n2020-01-02,1\n2020-01-01,2\n2020-01-02,3\n", "x.csv")
    assert days(frame) == ["2020-01-01", "2020-01-02", "2020-01-02"]
    assert frame["close"].tolist() == [2.0, 1.0, 3.0]
    rows = "".join(f"2020-01-{1 + i % 2:02},{i}\n" for i in range(200))
    frame = parse_csv("date,close\n" + rows, "x.csv")
    assert frame["close"].tolist() == [*range(0, 200, 2), *range(1, 200, 2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.csv: the file is empty"),
        (" \n\n", "x.csv: the file is empty"),
        ("\ufeff", "x.csv: the file is empty"),
        ("date,close\n", "no rows below the header"),
        ("date,close", "no rows below the header"),
        ("date,close\n\n  \n", "no rows below the header"),
        ("date,open\n2020-01-01,5\n", "no column 'close'; found 'date', 'open'"),
        ("day,close\n2020-01-01,5\n", "no column 'date'; found 'day', 'close'"),
        ("2020-01-01,5\n2020-01-02,6\n", "no column 'date'; found '2020-01-01', '5'"),
        ("date;close\n2020-01-01;5\n", "no column 'date'; found 'date;close'"),
        ("date,close,Close\n2020-01-01,5,5\n", "column 'close' is there twice"),
        ("date,close\n2020-01-01,5\n2020-01-02,abc\n", "line 3: close is 'abc', expected a number"),
        ("\n\ndate,close\n\n2020-01-02,abc\n", "line 5: close is 'abc', expected a number"),
        ("date,close\r\n2020-01-01,5\r\n2020-01-02,abc\r\n", "line 3: close is 'abc'"),
        ("date,close\n2020-01-01,\n", "line 2: close is '', expected a number"),
        ("date,close\n2020-01-01,null\n", "line 2: close is 'null', expected a number"),
        ("date,close\n2020-01-01,1_0\n", "line 2: close is '1_0', expected a number"),
        ('date,close\n2020-01-01,"1,000"\n', "line 2: close is '1,000', expected a number"),
        ("Date,close\n2020-02-30,5\n", "line 2: date is '2020-02-30', expected a UTC day"),
        ("date,close\n01/02/2020,5\n", "line 2: date is '01/02/2020', expected a UTC day"),
        ("time,close\n2020-01-01 05:00,5\n", "line 2: time is '2020-01-01 05:00', expected"),
        ("date,close\n2020-01-01T00:00:00+02:00,5\n", "line 2: date is"),
        ("date,close\n1577836800,5\n", "line 2: date is '1577836800'"),
        ("date,close\n0000-01-01,5\n", "line 2: date is '0000-01-01'"),
        ("date,close\n2020-01-01,5\n2020-01-02\n", "line 3: 1 values, expected 2"),
        ("date,close\n2020-01-01,5,7\n", "line 2: 3 values, expected 2"),
        ("date,close\n2020-01-01,5,\n", "line 2: 3 values, expected 2"),
        (b"date,close\n2020-01-01,5\n2020-01-02,\xff\n", "line 3: byte 0xff is not UTF-8"),
        (PLAIN.encode("utf-16"), "line 1: byte 0xff is not UTF-8"),
        ("date,close\n2020-01-01,\ud800\n", "line 2: byte 0xed is not UTF-8"),
        ("date,close\n2020-01-01," + "9a" * 90_000 + "\n", "line 2: not CSV: field larger"),
        ('date,close\n2020-01-01,"a\nb"\n', "line 3: close is 'a\\\\nb', expected a number"),
    ],
)
def test_wrong_text_is_answered_in_one_line(text, message):
    with pytest.raises(InputError, match=message) as error:
        parse_csv(text, "x.csv")
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 300


def test_nan_and_infinity_are_left_to_check_candles():
    frame = parse_csv("date,close\n2020-01-01,nan\n2020-01-02,inf\n", "x.csv")
    assert np.isnan(frame["close"][0]) and np.isinf(frame["close"][1])


def mutate(raw: bytes, chance: random.Random) -> bytes:
    data = bytearray(raw)
    for _ in range(chance.randint(1, 2)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            data[at : at + 1] = bytes([chance.choice(b"0123456789.-eE xn\xc3")])
        elif kind == 1:
            data[at:at] = chance.choice(
                [b",", b"\n", b"\r", b'"', b"\0", b"-", b"7", b"e9", b" ", b"\xff"]
            )
        elif kind == 2:
            del data[at : at + chance.choice([1, 1, 1, 2, 30])]
        else:
            data[at:at] = data[: chance.choice([1, 60])]
    return bytes(data)


def outcome(raw):
    try:
        return parse_csv(raw, "x.csv")
    except InputError as error:
        assert len(str(error).splitlines()) == 1
        return str(error)


def test_mutated_files_parse_or_are_refused_and_both_ways_agree(monkeypatch):
    chance = random.Random(5)
    texts = [mutate(chance.choice([YAHOO, PLAIN]).encode(), chance) for _ in range(400)]
    fast = [outcome(raw) for raw in texts]
    monkeypatch.setattr(csv_format, "_parse_fast", lambda *_: None)
    for raw, first in zip(texts, fast, strict=True):
        second = outcome(raw)
        if isinstance(first, str):
            assert first == second, raw
        else:
            pd.testing.assert_frame_equal(first, second)
    assert 40 < sum(isinstance(first, pd.DataFrame) for first in fast) < 360


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)), st.booleans())
def test_any_bytes_parse_or_are_refused(text, below_header):
    if below_header:
        text = (b"date,close\n" if isinstance(text, bytes) else "date,close\n") + text
    outcome(text)


def test_a_large_file_takes_about_a_second():
    n = 370_000
    start = dt.date(1500, 1, 1)
    rows = [
        f"{start + dt.timedelta(days=i % 180_000)},{i}.25,{i}.5,{i}.125,{i}.375,7" for i in range(n)
    ]
    text = "date,open,high,low,close,volume\n" + "\n".join(rows)
    began = time.perf_counter()
    frame = parse_csv(text, "x.csv")
    seconds = time.perf_counter() - began
    assert len(frame) == n and frame["close"].sum() == n * (n - 1) / 2 + 0.375 * n
    assert seconds < 5, seconds
    with pytest.raises(InputError, match=f"line {n + 2}: close is 'x'"):
        parse_csv(text + "\n2020-01-01,1,1,1,x,1\n", "x.csv")


@pytest.mark.skipif(not REAL.exists(), reason="no real prices beside the repository")
def test_the_real_file_has_its_3759_days():
    frame = parse_csv(REAL.read_bytes(), REAL.name)
    assert len(frame) == 3759
    assert days(frame)[::3758] == ["2014-09-17", "2024-12-31"]
    assert frame["close"].iloc[-1] == 93429.203125
    expected = pd.read_csv(REAL)
    np.testing.assert_array_equal(frame["close"], expected["Close"])
    np.testing.assert_array_equal(frame["volume"], expected["Volume"])
