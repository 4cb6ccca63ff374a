"""Candles from a file: `csv:PATH`, whatever layout it has."""

from __future__ import annotations

import datetime as dt

from models.config.data import Reading
from models.data.files.parse import parse_prices
from models.errors import InputError
from tasks.sources.fetched import FetchedCandles
from tasks.sources.open_file import open_prices


def fetch_csv(argument: str, reading: Reading, last_day: dt.date) -> FetchedCandles:
    """Read all candles of the file at path `argument`.

    Raises InputError for a file that is missing, cannot be read or holds no candles of the symbol.
    """
    if not argument:
        raise InputError("source 'csv' has no file: expected csv:PATH")
    open_bytes, name, written = open_prices(argument)
    parsed = parse_prices(open_bytes, name, reading.symbol, reading.file, written)
    return FetchedCandles(
        parsed.candles,
        label=f"csv:{name}",
        description=parsed.description,
        columns=parsed.columns,
        findings=parsed.findings,
    )
