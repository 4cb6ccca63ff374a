"""The same candles in other shapes, and any other text answered in one line."""

from __future__ import annotations

import datetime as dt
import io
import random
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.candles import COLUMNS
from models.data.files.parse import parse_prices
from models.errors import InputError
from tests.layouts import LAYOUTS, write_layout
from tests.replay.market import made_candles

REAL = Path(__file__).parents[4].parent / "shared" / "data" / "BTC-USD.csv"

YAHOO = """Date,Open,High,Low,Close,Adj Close,Volume
2014-09-17,465.864013671875,468.17401123046875,452.4219970703125,457.3340148925781,1.5,21056800
2014-09-18,456.8599853515625,456.8599853515625,413.10400390625,424.44000244140625,2.5,34483200
"""
PLAIN = """date,open,high,low,close,volume
2020-01-01,1,3,0.5,2,10
2020-01-02,2,4,1.5,3,20.5
"""


def parse(text: bytes | str) -> pd.DataFrame:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return parse_prices(lambda: io.BytesIO(raw), "x.csv").candles


def days(frame: pd.DataFrame) -> list[str]:
    return frame["open_time"].dt.strftime("%Y-%m-%d").tolist()


def test_yahoos_format() -> None:
    frame = parse(YAHOO)
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
        PLAIN + ",,,,,\n",
        "\n\n" + PLAIN.replace("2020-01-02", "\n2020-01-02"),
        PLAIN.rstrip("\n"),
        PLAIN.upper(),
        PLAIN.replace(",", " , "),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ";").replace(".5", ",5"),
        PLAIN.replace(",", "|"),
        PLAIN.replace("date,", '"Date",').replace("2020-01-01,1", '"2020-01-01","1"'),
        PLAIN.replace("date,", "open_time,"),
        PLAIN.replace("date,", "Timestamp,"),
        PLAIN.replace("date,", "time,"),
        PLAIN.replace("-01,", "-01T00:00:00Z,").replace("-02,", "-02 00:00:00+00:00,"),
        PLAIN.replace("-01,", "-01 00:00:00 UTC,").replace("-02,", "-02T00:00:00.000Z,"),
        PLAIN.replace("-01,", "-01 12-AM,").replace("-02,", "-02 12-AM,"),
        PLAIN.replace("2020-01-0", "202001-0").replace("202001-", "202001"),
        PLAIN.replace("date,", "note\n\ndate,").replace("note", "Bitcoin; prices of two days"),
        "volume,close,low,extra,high,open,date\n20.5,3,1.5,?,4,2,2020-01-02\n"
        "10,2,0.5,,3,1,2020-01-01\n",
    ],
)
def test_the_same_candles_in_other_shapes(text: bytes | str) -> None:
    pd.testing.assert_frame_equal(parse(text), parse(PLAIN))


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("date,close\n2020-01-01,5\n", ["open_time", "close"]),
        ("Close,VOLUME,date\n5,7,2020-01-01\n", ["open_time", "close", "volume"]),
        ("date,close,high\n2020-01-01,5,6\n", ["open_time", "high", "close"]),
    ],
)
def test_the_columns_that_are_there_are_kept(text: str, columns: list[str]) -> None:
    assert list(parse(text).columns) == columns


def test_rows_are_sorted_and_duplicates_kept_in_order() -> None:
    frame = parse("date,close\n2020-01-02,1\n2020-01-01,2\n2020-01-02,3\n")
    assert days(frame) == ["2020-01-01", "2020-01-02", "2020-01-02"]
    assert frame["close"].tolist() == [2.0, 1.0, 3.0]
    rows = "".join(f"2020-01-{1 + i % 2:02},{i}\n" for i in range(200))
    frame = parse("date,close\n" + rows)
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
        ("date,close\n2020-01-01,\n", "no rows below the header"),
        ("date,close\n2020-01-01,5\n2020-01-02,abc\n", "line 3: close is 'abc', expected a number"),
        ("\n\ndate,close\n\n2020-01-02,abc\n", "line 5: close is 'abc', expected a number"),
        ("date,close\r\n2020-01-01,5\r\n2020-01-02,abc\r\n", "line 3: close is 'abc'"),
        ("date,close\n2020-01-01,1_0\n", "line 2: close is '1_0', expected a number"),
        ('date,close\n2020-01-01,"1,00"\n2020-01-02,5.25\n', "line 2: close is '1,00'"),
        ("Date,close\n2020-02-30,5\n", "line 2: date is '2020-02-30', expected a UTC day"),
        ("date,close\nsoon,5\n", "line 2: date is 'soon', expected a UTC day"),
        ("date,close\n2020-01-01,5\n,6\n", "line 3: date is '', expected a UTC day"),
        ("time,close\n2020-01-01 05:00,5\n", "1 of 1 days do not start at midnight UTC"),
        ("date,close\n2020-01-01T00:00:00+02:00,5\n", "the first at 2019-12-31 22:00 UTC"),
        ("date,close\n0000-01-01,5\n", "line 2: date is '0000-01-01'"),
        ("date,close\n2020-01-01,5\n2020-01-02\n", "line 3: 1 values, expected 2"),
        ("date,close\n2020-01-01,5,7\n", "line 2: 3 values, expected 2"),
        (b"date,close\n2020-01-01,5\n2020-01-02,\xff\n", "line 3: byte 0xff is not UTF-8"),
        ("date,close\n2020-01-01,\ud800\n", "line 2: byte 0xed is not UTF-8"),
        ("date,close\n2020-01-01,5\0\n", "holds zero bytes"),
        ('date,close\n2020-01-01,"a\nb"\n', "line [23]: "),
    ],
)
def test_wrong_text_is_answered_in_one_line(text: bytes | str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        parse(text)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 300


def test_infinity_is_left_to_check_candles() -> None:
    assert np.isinf(parse("date,close\n2020-01-01,5\n2020-01-02,inf\n")["close"][1])


def mutate(raw: bytes, chance: random.Random) -> bytes:
    """One or two bytes changed, put in or taken out, or a piece of the start repeated."""
    data = bytearray(raw)
    for _ in range(chance.randint(1, 2)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            data[at : at + 1] = bytes([chance.choice(b"0123456789.-eE xn\xc3")])
        elif kind == 1:
            data[at:at] = chance.choice(
                [b",", b"\n", b"\r", b'"', b"\0", b"-", b"7", b"e9", b" ", b"\xff", b";", b"\t"]
            )
        elif kind == 2:
            del data[at : at + chance.choice([1, 1, 1, 2, 30])]
        else:
            data[at:at] = data[: chance.choice([1, 60])]
    return bytes(data)


def outcome(raw: bytes | str) -> pd.DataFrame | str:
    try:
        return parse(raw)
    except InputError as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 500
        return str(error)


@pytest.mark.slow
def test_two_thousand_mutated_files_parse_or_are_refused() -> None:
    """Of all layouts; a value that comes out was written so, or differs by what was changed."""
    chance = random.Random(5)
    frame = made_candles("2021-02-20", 15)
    texts = [write_layout(name, frame) for name in LAYOUTS]
    taken = 0
    for _ in range(2000):
        text = mutate(chance.choice(texts), chance)
        candles = outcome(text)
        if isinstance(candles, str):
            continue
        taken += 1
        # One or two changed bytes spoil one or two days, never the meaning of a column.
        joined = candles.merge(frame, on="open_time", suffixes=("", "_true"))
        far = ~(np.abs(joined["close"] / joined["close_true"] - 1) < 0.01)
        assert len(joined) > 10 and far.sum() <= 3, text.decode(errors="replace")[:600]
    assert 400 < taken < 1900


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_misspelt_header_never_gives_another_column_its_meaning(name: str) -> None:
    header = LAYOUTS[name][0].split("\n")[-1]
    text = write_layout(name, made_candles("2021-02-20", 15)).decode()
    before, _, rows = text.partition(header + "\n")
    true = parse(text)
    for at in range(len(header)) if header else ():
        for spelt in (header[:at] + "q" + header[at + 1 :], header[:at] + header[at + 1 :]):
            found = outcome(f"{before}{spelt}\n{rows}")
            if isinstance(found, str):
                continue
            kept = [column for column in true if column in found and column != "volume"]
            assert "close" in kept, spelt
            pd.testing.assert_frame_equal(found[kept], true[kept], obj=spelt)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)), st.booleans())
def test_any_bytes_parse_or_are_refused(text: bytes | str, below_header: bool) -> None:
    if below_header:
        text = (b"date,close\n" if isinstance(text, bytes) else "date,close\n") + text  # type: ignore[operator]
    outcome(text)


def test_a_large_file_takes_about_a_second() -> None:
    n = 370_000
    start = dt.date(1500, 1, 1)
    rows = [
        f"{start + dt.timedelta(days=i % 180_000)},{i}.25,{i}.5,{i}.125,{i}.375,7" for i in range(n)
    ]
    text = "date,open,high,low,close,volume\n" + "\n".join(rows)
    began = time.perf_counter()
    frame = parse(text)
    seconds = time.perf_counter() - began
    assert len(frame) == n and frame["close"].sum() == n * (n - 1) / 2 + 0.375 * n
    assert seconds < 5, seconds
    with pytest.raises(InputError, match=f"line {n + 2}: close is 'x'"):
        parse(text + "\n2020-01-01,1,1,1,x,1\n")


@pytest.mark.skipif(not REAL.exists(), reason="no real prices beside the repository")
def test_the_real_file_has_its_3759_days() -> None:
    frame = parse(REAL.read_bytes())
    assert len(frame) == 3759
    assert days(frame)[::3758] == ["2014-09-17", "2024-12-31"]
    assert frame["close"].iloc[-1] == 93429.203125
    expected = pd.read_csv(REAL)
    np.testing.assert_array_equal(frame["close"], expected["Close"])
    np.testing.assert_array_equal(frame["volume"], expected["Volume"])
