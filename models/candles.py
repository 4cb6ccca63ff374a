"""Candles: the OHLCV schema and what is derived from closes alone.

A candle frame is a pandas DataFrame, one row a UTC day, sorted, with the columns of `COLUMNS`:
`open_time` (datetime64[us, UTC], start of the bar) and float64 prices in quote currency;
`volume` in the unit of its source. `close` is always there, the other prices and the volume only
where the source has them.
"""

from __future__ import annotations

COLUMNS = ("open_time", "open", "high", "low", "close", "volume")
