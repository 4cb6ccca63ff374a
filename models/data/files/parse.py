"""Candles, or one daily series, from the bytes of a file in any layout that people have."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.config.data import PriceFile
from models.data.files.bars import Rows, to_days
from models.data.files.coins import check_coins
from models.data.files.layout import find_layout
from models.data.files.table import Table
from models.data.files.text import OpenBytes
from models.data.files.times import DAY_US
from models.data.rules import Finding
from models.errors import InputError


@dataclass(frozen=True)
class ParsedFile:
    """Daily candles of a file, what its layout was taken for, and what was noticed.

    `columns` names the file's own column for each of the candles' columns.
    """

    candles: pd.DataFrame
    description: str
    columns: dict[str, str]
    findings: tuple[Finding, ...]


def parse_prices(
    open_bytes: OpenBytes,
    name: str,
    symbol: str = "BTC/USD",
    asked: PriceFile = PriceFile(),  # noqa: B008
    written: dt.datetime | None = None,
) -> ParsedFile:
    """Parse the candles of a text or Parquet file; `name` stands for it in messages.

    Returns the candle schema with the columns that are there, sorted by day; duplicate days are
    kept. `written` is when the file was last written. Raises InputError, one line, for any file
    that holds no days and closes, and for one that may be read in two ways.
    """
    layout = find_layout(open_bytes, name, symbol)
    check_coins(layout.coins, layout.header, symbol, name)
    table = Table(open_bytes, layout, asked)
    micros, values = table.read(layout.require_prices())
    check_coins(table.coins | layout.coins, layout.header, symbol, name)
    rows = Rows(name, micros, values)
    candles = to_days(rows, closes_day_before=layout.closes_day_before, written=written)
    facts = [layout.name]
    if set(values) == {"close"}:
        facts.append("closes only")
    facts += [f"{len(candles):,} days", *rows.facts]
    if not table.zoned:
        facts.append("days taken as UTC")
    places = {"open_time": layout.columns.times[0]} | layout.columns.roles
    columns = {name: layout.header[places[name]] for name in candles.columns}
    return ParsedFile(candles, ", ".join(facts), columns, tuple(rows.findings))


def parse_series(open_bytes: OpenBytes, name: str, column: str) -> pd.DataFrame:
    """Parse the numbers of one `column` by day: open_time, value, sorted; duplicates are kept.

    Raises InputError for a file without that column or with a row that is no day and number.
    """
    layout = find_layout(open_bytes, name, "")
    place = layout.require_column(column)
    table = Table(open_bytes, layout, PriceFile())
    micros, values = table.read({"value": place})
    if not len(micros):
        raise InputError(f"{name}: no rows below the header, expected one day a line")
    table.refuse_rows(np.isnan(values["value"]), place, "a number")
    table.refuse_rows(micros % DAY_US != 0, layout.columns.times[0], "a UTC day")
    days = pd.Series(micros.astype("datetime64[us]")).dt.tz_localize("UTC")
    frame = pd.DataFrame({"open_time": days, "value": values["value"]})
    return frame.sort_values("open_time", kind="stable").reset_index(drop=True)
