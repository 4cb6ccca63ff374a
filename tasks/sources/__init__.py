"""Where candles come from: `SCHEME` or `SCHEME:ARGUMENT` names a source.

A source is one module here with `fetch_…(argument, symbol, last_day) -> (candles, label)` and
one entry in `_SOURCES`. It returns what it has up to `last_day` or beyond, not checked yet.
`exchange:ID` is the one source with a memory: its candles go through the candle store.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import pandas as pd

from models.config.data import Ingestion
from models.data.rules import Finding
from models.data.store_table import frame_from_table
from models.errors import InputError
from tasks.sources.collection import collect_candles
from tasks.sources.csv import fetch_csv
from tasks.sources.sample import fetch_sample


@dataclass(frozen=True)
class FetchedCandles:
    """Candles as a source gave them, its name for people, whether it is made up, what was odd.

    `n_added` counts the candles that are new in the store; None for a source without one.
    """

    candles: pd.DataFrame
    label: str
    synthetic: bool
    findings: tuple[Finding, ...] = ()
    n_added: int | None = None


@dataclass(frozen=True)
class _Source:
    fetch: Callable[[str, str, dt.date], tuple[pd.DataFrame, str]]
    usage: str
    synthetic: bool = False


_SOURCES = {
    "csv": _Source(fetch_csv, "csv:PATH"),
    "sample": _Source(fetch_sample, "sample", synthetic=True),
}


def fetch_candles(
    source: str, *, symbol: str, last_day: dt.date, policy: Ingestion | None = None
) -> FetchedCandles:
    """Fetch candles of `symbol` up to `last_day` from a source, e.g. csv:PATH or sample.

    Raises InputError for a source that is not known or cannot be read, SourceError for an exchange
    that gives no usable candles.
    """
    if is_exchange(source):
        collected = collect_candles(source, symbol, last_day, policy or Ingestion())
        candles = frame_from_table(collected.candles)
        return FetchedCandles(candles, source, False, collected.findings, collected.n_added)
    found = _find_source(source)
    candles, label = found.fetch(source.partition(":")[2], symbol, last_day)
    if found.synthetic:
        label += " (SYNTHETIC)"
    return FetchedCandles(candles, label, found.synthetic)


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
    if source.lower().endswith(".csv"):
        hint = f"did you mean 'csv:{source}'?"
    elif near := get_close_matches(scheme.lower(), ["exchange", *_SOURCES], n=1):
        hint = f"did you mean '{near[0]}'?"
    else:
        hint = "expected one of"
    known = ", ".join(["exchange:ID", *(known.usage for known in _SOURCES.values())])
    raise InputError(f"unknown source {source!r}: {hint} ({known})")
