"""Two sources side by side: the days on which their closes differ."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc

QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("open_time", pa.timestamp("us", tz="UTC")),
        pa.field("close", pa.float64(), metadata={"meaning": "close of the first source"}),
        pa.field("other_close", pa.float64(), metadata={"meaning": "close of the second"}),
        pa.field("relative_difference", pa.float64(), metadata={"unit": "fraction of the second"}),
        pa.field("seen_as_of", pa.date32(), metadata={"meaning": "day of the run that saw it"}),
    ]
)


def find_differences(
    candles: pa.Table, other: pa.Table, *, since: dt.date, limit: float, as_of: dt.date
) -> pa.Table:
    """Days from `since` on whose closes differ by more than `limit` (see QUARANTINE_SCHEMA).

    The relative difference is close / other_close - 1; days that only one side has are left out.
    """
    first = pa.scalar(dt.datetime.combine(since, dt.time(), dt.UTC), candles["open_time"].type)
    candles = candles.filter(pc.greater_equal(candles["open_time"], first))
    place = pc.index_in(candles["open_time"], value_set=other["open_time"].combine_chunks())
    both = pc.is_valid(place)
    candles, other = candles.filter(both), other.take(place.filter(both))
    difference = pc.subtract(pc.divide(candles["close"], other["close"]), 1.0)
    columns = [candles["open_time"], candles["close"], other["close"], difference]
    columns.append(pa.array([as_of] * candles.num_rows, pa.date32()))
    differences = pa.Table.from_arrays(columns, schema=QUARANTINE_SCHEMA)
    return differences.filter(pc.greater(pc.abs(difference), limit))
