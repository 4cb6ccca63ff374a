"""Candles from a CSV file: `csv:PATH`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd

from models.data.csv_format import parse_csv
from models.errors import InputError


def fetch_csv(argument: str, symbol: str, last_day: dt.date) -> tuple[pd.DataFrame, str]:
    """Read all candles of the file at path `argument`; the file has but one symbol.

    Raises InputError for a file that is missing, cannot be read or is no CSV of candles.
    """
    if not argument:
        raise InputError("source 'csv' has no file: expected csv:PATH")
    try:
        path = Path(argument).expanduser()
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"no file {argument!r}: expected csv:PATH of an existing file") from error
    except IsADirectoryError as error:
        raise InputError(f"{argument!r} is a directory: expected csv:PATH of a file") from error
    except OSError as error:
        raise InputError(f"cannot read {argument!r}: {error.strerror}") from error
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{argument!r} is no usable path: {error}") from error
    return parse_csv(text, path.name), f"csv:{path.name}"
