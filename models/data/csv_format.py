"""Candles from CSV text: Yahoo's file format and plain date,open,high,low,close,volume.

And single daily series, from a date and one other column.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import re

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from models.data.candles import COLUMNS
from models.errors import InputError

DATE_NAMES = ("date", "open_time", "timestamp", "time")
_MIDNIGHT = r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}([T ]00:00(:00([.]0+)?)?( ?(Z|UTC|[+]00:?00))?)?$"
_EXPECTED_DATE = "a UTC day such as 2024-12-31"


def parse_csv(text: bytes | str, name: str) -> pd.DataFrame:
    """Parse candles from CSV text; `name` stands for the file in messages.

    The header names the columns, in any order and case: one of date, open_time, timestamp, time,
    and of open, high, low, close, volume at least close; others are ignored. Days are ISO days or
    ISO times at midnight UTC. Returns the candle schema with the columns that are there, sorted by
    day; duplicate days are kept.

    Raises InputError, one line, for any other text.
    """
    header, body, n_skipped = _split_header(_decode(text, name), name)
    places = {"open_time": _find_date(header, name), "close": _find(header, "close", name)}
    places |= {column: header.index(column) for column in COLUMNS[1:] if column in header}
    frame = _parse_rows(body, places, header, name, n_skipped)
    return frame[[column for column in COLUMNS if column in frame.columns]]


def parse_series(text: bytes | str, name: str, column: str) -> pd.DataFrame:
    """Parse the numbers of one `column` by day: open_time, value, sorted; duplicates are kept.

    The file is read as `parse_csv` reads one, and refused as there.
    """
    header, body, n_skipped = _split_header(_decode(text, name), name)
    # The slow way looks a place up by its name in the file.
    wanted = column.strip().lower()
    if wanted in DATE_NAMES:
        raise InputError(f"{name}: column {_shown(column)} is a day, expected one of numbers")
    places = {"open_time": _find_date(header, name), wanted: _find(header, wanted, name)}
    frame = _parse_rows(body, places, header, name, n_skipped)
    return frame.rename(columns={wanted: "value"})[["open_time", "value"]]


def _parse_rows(
    body: str, places: dict[str, int], header: list[str], name: str, n_skipped: int
) -> pd.DataFrame:
    """Columns at their `places`, days in UTC, sorted."""
    columns = _parse_fast(body, places, len(header))
    if columns is None:
        columns = _parse_slowly(body, places, header, name, n_skipped)
    if not len(columns["open_time"]):
        raise InputError(f"{name}: no rows below the header, expected one day a line")
    frame = pd.DataFrame(columns)
    frame["open_time"] = pd.to_datetime(frame["open_time"]).dt.tz_localize("UTC").dt.as_unit("us")
    return frame.sort_values("open_time", kind="stable").reset_index(drop=True)


def _decode(text: bytes | str, name: str) -> str:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        decoded = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{name}: line {line}: byte 0x{raw[error.start]:02x} is not UTF-8; save it as UTF-8"
        ) from error
    return decoded.replace("\r\n", "\n").replace("\r", "\n")


def _split_header(text: str, name: str) -> tuple[list[str], str, int]:
    """First line that is not blank, as lower-case names; the text below; the lines above that."""
    start = len(text) - len(text.lstrip())
    start = text.rfind("\n", 0, start) + 1
    line, _, body = text[start:].partition("\n")
    if not line.strip():
        raise InputError(f"{name}: the file is empty, expected a header and one candle a line")
    n_skipped = text.count("\n", 0, start) + 1
    try:
        header = [cell.strip().lower() for cell in next(csv.reader([line]))]
    except csv.Error as error:
        raise InputError(f"{name}: line {n_skipped}: the header is not CSV: {error}") from error
    return header, body, n_skipped


def _find_date(header: list[str], name: str) -> int:
    """Place of the day in a header that has no column twice."""
    for cell in header:
        if cell and header.count(cell) > 1:
            found = _listed(header)
            raise InputError(f"{name}: column {_shown(cell)} is there twice; found {found}")
    return _find(header, next((alias for alias in DATE_NAMES if alias in header), "date"), name)


def _find(header: list[str], column: str, name: str) -> int:
    if column not in header:
        raise InputError(f"{name}: no column {_shown(column)}; found {_listed(header)}")
    return header.index(column)


def _listed(header: list[str]) -> str:
    return ", ".join(_shown(cell) for cell in header[:20])


def _parse_fast(body: str, places: dict[str, int], n_columns: int) -> dict[str, pd.Series] | None:
    """Parse by whole columns; None if anything is out of the ordinary."""
    types = {str(place): pa.float64() for place in places.values()}
    types[str(places["open_time"])] = pa.string()
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(body.encode()),
            pa_csv.ReadOptions(column_names=[str(i) for i in range(n_columns)], use_threads=False),
            convert_options=pa_csv.ConvertOptions(
                column_types=types, include_columns=list(types), null_values=[]
            ),
        )
        days = table[str(places["open_time"])]
        if not pc.all(pc.match_substring_regex(days, _MIDNIGHT), min_count=0).as_py():
            return None
        dates = pc.utf8_slice_codeunits(days, 0, 10).cast(pa.timestamp("us"))
    except pa.ArrowException:
        return None
    values = {column: table[str(place)].to_pandas() for column, place in places.items()}
    return values | {"open_time": dates.to_pandas()}


def _parse_slowly(
    body: str, places: dict[str, int], header: list[str], name: str, n_skipped: int
) -> dict[str, pd.Series]:
    """Parse cell by cell, to take what the fast way does not or to name the line at fault."""
    dates: list[dt.datetime] = []
    numbers: dict[str, list[float]] = {column: [] for column in places if column != "open_time"}
    rows = csv.reader(io.StringIO(body))
    try:
        for row in rows:
            if not "".join(row).strip() and len(row) <= 1:
                continue
            where = f"{name}: line {n_skipped + rows.line_num}"
            if len(row) != len(header):
                raise InputError(
                    f"{where}: {len(row)} values, expected {len(header)} as in the header"
                )
            place = places["open_time"]
            dates.append(_parse_day(row[place].strip(), f"{where}: {header[place]}"))
            for column, values in numbers.items():
                values.append(_parse_number(row[places[column]].strip(), f"{where}: {column}"))
    except csv.Error as error:
        raise InputError(f"{name}: line {n_skipped + rows.line_num}: not CSV: {error}") from error
    columns = {column: pd.Series(values, dtype="float64") for column, values in numbers.items()}
    return columns | {"open_time": pd.Series(dates, dtype="datetime64[us]")}


def _parse_day(cell: str, where: str) -> dt.datetime:
    try:
        if re.match(_MIDNIGHT, cell):
            return dt.datetime.fromisoformat(cell[:10])
    except ValueError as error:
        raise InputError(f"{where} is {_shown(cell)}, expected {_EXPECTED_DATE}") from error
    raise InputError(f"{where} is {_shown(cell)}, expected {_EXPECTED_DATE}")


def _parse_number(cell: str, where: str) -> float:
    try:
        if "_" not in cell:
            return float(cell)
    except ValueError as error:
        raise InputError(f"{where} is {_shown(cell)}, expected a number") from error
    raise InputError(f"{where} is {_shown(cell)}, expected a number")


def _shown(cell: str) -> str:
    """Cell in quotes, on one line, cut after 40 characters."""
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")
