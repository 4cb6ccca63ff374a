"""Files that users name: packed ones are unpacked, dangerous ones refused before they are read."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import io
import lzma
import os
import resource
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.config.data import Reading
from models.errors import InputError
from tasks.sources import fetch_candles
from tasks.sources.fetched import FetchedCandles
from tests.layouts import write_layout
from tests.replay.market import made_candles

CANDLES = made_candles("2021-02-20", 50)
PLAIN = write_layout("yahoo", CANDLES)
LATER = dt.date(2026, 1, 1)


def fetch(path: Path) -> FetchedCandles:
    return fetch_candles(Reading(source=f"csv:{path}"), LATER)


def refused(path: Path) -> str:
    began = time.monotonic()
    with pytest.raises(InputError) as error:
        fetch(path)
    assert time.monotonic() - began < 10
    text = str(error.value)
    assert "\n" not in text and len(text) < 400
    return text


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        bz2.compress,
        lzma.compress,
        lambda data: zipped(**{"BTC-USD.csv": data}),
        lambda data: zipped(**{"prices/": b"", "prices/x.csv": data, "__MACOSX/x.csv": b"?"}),
    ],
    ids=["gzip", "bzip2", "xz", "zip", "zip-of-a-mac"],
)
def test_packed_files_are_unpacked_whatever_their_name(tmp_path, pack) -> None:
    found = fetch(put(tmp_path, "x.csv", pack(PLAIN)))
    assert found.candles["close"].tolist() == CANDLES["close"].tolist()
    assert found.description.startswith("Yahoo Finance export, 50 days")
    assert found.label == "csv:x.csv"


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
def test_parquet_is_read_with_its_types(tmp_path, unit) -> None:
    path = tmp_path / "x.parquet"
    frame = CANDLES.assign(open_time=CANDLES["open_time"].dt.as_unit(unit))
    frame.set_index("open_time").rename_axis("Date").rename(columns=str.title).to_parquet(path)
    found = fetch(path)
    pd.testing.assert_frame_equal(found.candles, CANDLES)
    assert "taken as UTC" not in found.description
    frame["open_time"] = frame["open_time"].dt.date
    frame.rename(columns={"open_time": "date"}).to_parquet(path)
    found = fetch(path)
    pd.testing.assert_frame_equal(found.candles, CANDLES)
    assert "Parquet, file with plain columns" in found.description
    assert "taken as UTC" in found.description


def test_damaged_parquet_is_one_line(tmp_path) -> None:
    path = tmp_path / "x.parquet"
    CANDLES.to_parquet(path)
    whole = path.read_bytes()
    for damaged in (whole[:100], whole[:-50], whole[:4] + b"\0" * 60 + whole[64:]):
        path.write_bytes(damaged)
        assert "damaged Parquet file" in refused(path) or "cannot" in refused(path)


def test_excel_workbooks_are_read(tmp_path) -> None:
    path = tmp_path / "x.xlsx"
    frame = CANDLES.assign(open_time=CANDLES["open_time"].dt.tz_localize(None))
    frame.rename(columns={"open_time": "Date"}).to_excel(path, index=False)
    pd.testing.assert_frame_equal(fetch(path).candles, CANDLES)
    with pd.ExcelWriter(path) as book:
        for sheet in ("a", "b"):
            frame.to_excel(book, sheet_name=sheet)
    assert "has 2 sheets" in refused(path)


def test_excel_without_its_extra_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    path = put(tmp_path, "x.xlsx", zipped(**{"xl/workbook.xml": b"<workbook/>"}))
    assert "pip install 'btc-daily[excel]'" in refused(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(PLAIN)[:-30], "damaged or cut off"),
        (gzip.compress(PLAIN)[:40] + b"xxxx" + gzip.compress(PLAIN)[44:], "damaged or cut off"),
        (zipped(**{"a.csv": PLAIN, "b.csv": PLAIN}), "with one file, found 'a.csv', 'b.csv'"),
        (zipped(), "with one file, found none"),
        (zipped(**{"a.csv": PLAIN})[:-10], "damaged or cut off"),
        (zipped(**{"xl/workbook.xml": b"<workbook"}), "damaged workbook"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 600, "old Excel workbook"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "zero bytes"),
        (b"PAR1", "damaged Parquet"),
    ],
)
def test_what_cannot_be_unpacked_is_one_line(tmp_path, data, message) -> None:
    assert message in refused(put(tmp_path, "x.csv", data))


def test_pipes_devices_and_sparse_files_are_refused_unread(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert "is a pipe or device" in refused(tmp_path / "pipe.csv")
    assert "is a pipe or device" in refused(Path("/dev/zero"))
    sparse = tmp_path / "sparse.csv"
    with sparse.open("wb") as file:
        file.truncate(2 * 1024**3)
    assert "has 2.1 GB, more than 1" in refused(sparse)
    sparse.write_bytes(PLAIN)
    with sparse.open("ab") as file:
        file.truncate(900_000_000)
    assert "zero bytes" in refused(sparse)


@pytest.mark.soak
@pytest.mark.parametrize(
    "line",
    [b"0" * 10_000_000, b"2020-01-01,5\n" * 1_000_000, b"\0" * 10_000_000, b"a," * 5_000_000],
    ids=["digits", "rows", "zeros", "columns"],
)
def test_a_gzip_bomb_takes_neither_memory_nor_time(tmp_path, line) -> None:
    """10 MB that unpack to more than two gigabytes, in a process of its own."""
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"date,close\n")
        for _ in range(2_200_000_000 // len(line)):
            file.write(line)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = refused(path)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
    assert grown < 1.0, grown
    assert any(word in text for word in ("more than", "zero bytes", "expected"))


def test_a_million_columns_are_refused(tmp_path) -> None:
    wide = b",".join([b"a"] * 1_000_000)
    assert "line 1 has more than" in refused(put(tmp_path, "x.csv", wide + b"\n1,2\n"))
    below = b"date,close\n2020-01-01,5\n" + wide + b"\n"
    assert "line 3 has more than" in refused(put(tmp_path, "x.csv", below))


def test_the_last_day_counts_only_if_it_was_over_when_the_file_was_written(tmp_path) -> None:
    path = put(tmp_path, "x.csv", PLAIN)
    last = CANDLES["open_time"].iloc[-1]

    def written(hours: float) -> list[str]:
        os.utime(path, (0, last.timestamp() + hours * 3600))
        found = fetch(path)
        assert len(found.candles) + len(found.findings) == 50
        return [finding.message for finding in found.findings]

    [told] = written(17.5)
    assert "2021-04-10" in told and "17:30 UTC, before that day was over" in told
    assert written(24) == [] and written(5000) == []
    # A clock that says nothing: many rows would be from its future.
    assert written(-24) == [] and written(-5000) == []


@pytest.mark.soak
def test_seven_million_minutes_are_days_in_ten_seconds(tmp_path) -> None:
    n, first = 7_000_000, 1_325_376_000
    close = np.round(20_000 + 100 * np.sin(np.arange(n) / 1000), 2)
    times = first + 60 * np.arange(n)
    path = tmp_path / "minutes.csv"
    frame = pd.DataFrame({"Timestamp": times, "Open": close, "High": close + 1})
    frame = frame.assign(Low=close - 1, Close=close, Volume=0.5)
    import pyarrow as pa
    import pyarrow.csv

    pyarrow.csv.write_csv(pa.Table.from_pandas(frame, preserve_index=False), path)
    del frame
    began = time.process_time()
    found = fetch(path)
    assert time.process_time() - began < 10
    assert len(found.candles) == n // 1440
    whole = close[: n // 1440 * 1440].reshape(-1, 1440)
    np.testing.assert_array_equal(found.candles["close"], whole[:, -1])
    np.testing.assert_array_equal(found.candles["high"], whole.max(axis=1) + 1)
    np.testing.assert_allclose(found.candles["volume"], 720)
    assert "added up from bars of 1 minute" in found.description


def test_reading_does_not_wait_for_a_pipe_that_nobody_writes(tmp_path) -> None:
    os.mkfifo(tmp_path / "mood.csv")
    done = threading.Event()

    def read() -> None:
        with pytest.raises(InputError):
            fetch(tmp_path / "mood.csv")
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert done.wait(5)
