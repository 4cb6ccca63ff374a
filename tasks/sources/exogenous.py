"""Exogenous series from CSV files, joined to candles."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from models.config.data import Exogenous
from models.data.exogenous import join_series
from models.data.files.parse import parse_series
from models.data.rules import Finding
from models.errors import InputError
from tasks.sources.open_file import open_prices


def join_exogenous(
    candles: pd.DataFrame, asked: Iterable[Exogenous]
) -> tuple[pd.DataFrame, tuple[Finding, ...]]:
    """Read each series and add it to the candles; also what was found.

    Raises InputError as `read_series` and `models.data.exogenous.join_series` do.
    """
    findings: tuple[Finding, ...] = ()
    for series in asked:
        candles, found = join_series(candles, read_series(series), series)
        findings += found
    return candles, findings


def read_series(asked: Exogenous) -> pd.DataFrame:
    """Read the numbers of a series by day, not checked yet: open_time and value, sorted.

    Raises InputError for a file that is missing, cannot be read or is no CSV of days and numbers.
    """
    name = f"exogenous {asked.name}"
    try:
        open_bytes, file, _ = open_prices(asked.path, f"{asked.name}=PATH")
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    return parse_series(open_bytes, f"{name}: {file}", asked.column)
