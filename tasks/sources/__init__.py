"""Where candles come from: `SCHEME` or `SCHEME:ARGUMENT` names a source.

A source is one module here with `fetch_…(argument, reading, last_day) -> FetchedCandles` and one
entry in `_SOURCES`. It returns what it has up to `last_day` or beyond, not checked yet.
`exchange:ID` is the one source with a memory: its candles go through the candle store.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from models.config.data import Reading
from models.data.store_table import frame_from_table
from models.errors import InputError
from tasks.sources.collection import collect_candles
from tasks.sources.csv import fetch_csv
from tasks.sources.fetched import FetchedCandles
from tasks.sources.sample import fetch_sample


@dataclass(frozen=True)
class _Source:
    fetch: Callable[[str, Reading, dt.date], FetchedCandles]
    usage: str
    synthetic: bool = False


_SOURCES = {
    "csv": _Source(fetch_csv, "csv:PATH"),
    "sample": _Source(fetch_sample, "sample", synthetic=True),
}


def fetch_candles(reading: Reading, last_day: dt.date) -> FetchedCandles:
    """Fetch the candles that are asked for, up to `last_day`.

    Raises InputError for a source that is not known or cannot be read, SourceError for an exchange
    that gives no usable candles.
    """
    source = reading.source
    if not is_exchange(source):
        return _find_source(source).fetch(source.partition(":")[2], reading, last_day)
    collected = collect_candles(source, reading.symbol, last_day, reading.ingestion)
    return FetchedCandles(
        frame_from_table(collected.candles),
        label=source,
        findings=collected.findings,
        n_added=collected.n_added,
    )


def is_exchange(source: str) -> bool:
    """Whether a source is an exchange, whose candles are kept in the candle store."""
    return source.partition(":")[0] == "exchange"


def is_synthetic(source: str) -> bool:
    """Whether a source makes its candles up; raises InputError for a source that is not known."""
    return not is_exchange(source) and _find_source(source).synthetic


def _find_source(source: str) -> _Source:
    scheme = source.partition(":")[0]
    if scheme in _SOURCES:
        return _SOURCES[scheme]
    if source == "auto":
        raise InputError("source 'auto' is chosen on the command line: a deployment names its own")
    if source.lower().endswith((".csv", ".tsv", ".txt", ".gz", ".zip", ".parquet", ".xlsx")):
        hint = f"did you mean 'csv:{source}'?"
    elif near := get_close_matches(scheme.lower(), ["exchange", *_SOURCES], n=1):
        hint = f"did you mean '{near[0]}'?"
    else:
        hint = "expected one of"
    known = ", ".join(["exchange:ID", *(known.usage for known in _SOURCES.values())])
    raise InputError(f"unknown source {source!r}: {hint} ({known})")
