"""Candles as Arrow tables: schema with units, strict reading of exchange rows, union, revisions.

A candle table has the columns of `models.data.candles.COLUMNS`, one row a bar, sorted and unique by
`open_time` (timestamp[us, UTC], start of the bar); every function returns one and loops over no
row in Python.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from models.data.rules import PRICES, RULES, STORABLE, Rule, find_faults

VALUES = (*PRICES, "volume")
_DAY_MS = 86_400_000

REVISION_SCHEMA = pa.schema(
    [
        pa.field("open_time", pa.timestamp("us", tz="UTC")),
        pa.field("column", pa.string()),
        pa.field("old", pa.float64()),
        pa.field("new", pa.float64()),
        pa.field("relative_change", pa.float64(), metadata={"unit": "fraction of the old value"}),
        pa.field("seen_as_of", pa.date32(), metadata={"meaning": "day of the run that saw it"}),
    ]
)


class BadRows(ValueError):
    """Rows of an exchange that cannot be candles; the message is one line that says which."""


def candle_schema(symbol: str) -> pa.Schema:
    """Schema of a candle table for BASE/QUOTE, units in the fields' metadata."""
    base, _, quote = symbol.partition("/")
    quote = quote.partition(":")[0]
    time = pa.field(
        "open_time",
        pa.timestamp("us", tz="UTC"),
        nullable=False,
        metadata={"meaning": "start of the bar, UTC"},
    )
    prices = [pa.field(n, pa.float64(), nullable=False, metadata={"unit": quote}) for n in PRICES]
    volume = pa.field("volume", pa.float64(), nullable=False, metadata={"unit": base})
    return pa.schema([time, *prices, volume], metadata={"symbol": symbol})


def table_from_rows(
    rows: Sequence[Sequence[object]], first: dt.date, last: dt.date, symbol: str
) -> pa.Table:
    """Candle table of the daily rows `[ms, open, high, low, close, volume]` from first to last.

    Rows may come in any order, repeat, or lie outside the range (these are left out, before any
    look at their prices: the open candle and rows before the asked start are no fault). Raises
    BadRows for anything else that is not a closed, possible candle.
    """
    array = _numbers(rows)
    if not np.isfinite(array[:, 0]).all():
        raise BadRows("a row has no time")
    inside = (array[:, 0] >= _epoch(first) * _DAY_MS) & (array[:, 0] <= _epoch(last) * _DAY_MS)
    array = array[inside][np.argsort(array[inside, 0], kind="stable")]
    repeats = array[1:, 0] == array[:-1, 0]
    differ = repeats & ~np.isclose(array[1:], array[:-1], rtol=0, atol=0, equal_nan=True).all(
        axis=1
    )
    if differ.any():
        raise BadRows(f"{_day(array[1:, 0][differ][0] * 1000)} comes twice with different values")
    array = array[np.append(True, ~repeats)[: len(array)]]
    micros = np.round(array[:, 0] * 1000).astype(np.int64)
    times = pa.array(micros).cast(pa.timestamp("us", tz="UTC"))
    columns = [times, *(pa.array(array[:, index].copy()) for index in range(1, 6))]
    table = pa.Table.from_arrays(columns, schema=candle_schema(symbol))
    check_table(table, RULES)
    return table


def _numbers(rows: Sequence[Sequence[object]]) -> np.ndarray:
    """Array (n, 6) of the rows, NaN where a value is None."""
    if not len(rows):
        return np.empty((0, 6))
    try:
        array = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadRows("rows are not six numbers each") from error
    if array.ndim != 2 or array.shape[1] != 6:
        raise BadRows(f"rows are not six numbers each, but of shape {array.shape}")
    return array


def check_table(table: pa.Table, rules: tuple[Rule, ...] = STORABLE) -> None:
    """Raise BadRows, naming the days, unless the rows are sorted, unique days that keep `rules`."""
    micros = table["open_time"].combine_chunks().cast(pa.int64()).to_numpy()
    _refuse(micros[1:], micros[1:] <= micros[:-1], "is out of order or comes twice")
    _refuse(micros, micros % (1000 * _DAY_MS) != 0, "does not start a bar")
    columns = {name: table[name].to_numpy() for name in VALUES}
    for finding in find_faults(micros.astype("datetime64[us]"), columns, rules):
        if finding.severity == "error":
            raise BadRows(finding.message)


def _refuse(micros: np.ndarray, wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        raise BadRows(f"the candle of {_day(micros[wrong.argmax()])} {what}")


def _day(micros: float) -> str:
    return str(np.datetime64(int(micros), "us")).removesuffix("T00:00:00.000000")


def frame_from_table(table: pa.Table) -> pd.DataFrame:
    """Candle frame (see models.candles) of a candle table."""
    return table.to_pandas(split_blocks=True)


def merge_candles(old: pa.Table, new: pa.Table) -> pa.Table:
    """Union of two candle tables by open time; where both have a bar, the new one's values."""
    known = pc.is_in(old["open_time"], value_set=new["open_time"].combine_chunks())
    kept = old.filter(pc.invert(known))
    merged = pa.concat_tables([kept, new.select(old.column_names).cast(old.schema)])
    return merged.sort_by("open_time").combine_chunks()


def find_revisions(old: pa.Table, new: pa.Table, as_of: dt.date) -> pa.Table:
    """Values of `old` that `new` changes, one row a bar and column (see REVISION_SCHEMA).

    `relative_change` is new / old - 1, null where the old value is zero.
    """
    place = pc.index_in(new["open_time"], value_set=old["open_time"].combine_chunks())
    both = pc.is_valid(place)
    before, after = old.take(place.filter(both)), new.filter(both)
    parts = [_changes(before, after, name, as_of) for name in VALUES]
    return pa.concat_tables(parts).sort_by([("open_time", "ascending"), ("column", "ascending")])


def _changes(before: pa.Table, after: pa.Table, name: str, as_of: dt.date) -> pa.Table:
    differs = pc.not_equal(before[name], after[name])
    old, new = before[name].filter(differs), after[name].filter(differs)
    divisor = pc.if_else(pc.equal(old, 0.0), pa.scalar(None, pa.float64()), old)
    return pa.Table.from_arrays(
        [
            after["open_time"].filter(differs),
            pa.array([name] * len(old), pa.string()),
            old,
            new,
            pc.subtract(pc.divide(new, divisor), 1.0),
            pa.array([as_of] * len(old), pa.date32()),
        ],
        schema=REVISION_SCHEMA,
    )


def missing_ranges(
    have: pa.ChunkedArray, start: dt.date, as_of: dt.date, refetch_days: int, page_days: int
) -> list[tuple[dt.date, dt.date]]:
    """Day ranges (first, last) to ask for, oldest first, so that a store is whole up to as_of.

    Days before the first stored one are not asked for again; holes are, with at most one range a
    page of `page_days`; the last `refetch_days` stored days are, because venues revise them.
    """
    stored = _epoch_days(have)
    stored = stored[stored <= _epoch(as_of)]
    if not len(stored):
        return [(start, as_of)]
    wanted = np.arange(max(int(stored[0]), _epoch(start)), _epoch(as_of) + 1)
    recent = int(stored[-1]) - refetch_days + 1
    asked = wanted[~np.isin(wanted, stored) | (wanted >= recent)]
    ranges: list[tuple[int, int]] = []
    while len(asked):
        page = asked[asked < asked[0] + page_days]
        ranges.append((int(page[0]), int(page[-1])))
        asked = asked[len(page) :]
    return [(_date(first), _date(last)) for first, last in ranges]


def missing_days(have: pa.ChunkedArray, first: dt.date, last: dt.date) -> list[dt.date]:
    """Days from first to last that have no bar."""
    wanted = np.arange(_epoch(first), _epoch(last) + 1)
    return [_date(day) for day in wanted[~np.isin(wanted, _epoch_days(have))]]


def _epoch_days(times: pa.ChunkedArray) -> np.ndarray:
    return times.to_numpy().astype("datetime64[D]").astype(np.int64)


def _epoch(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days


def _date(epoch_day: float) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=int(epoch_day))
