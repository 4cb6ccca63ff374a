"""Finer bars are added up to whole UTC days; stamps within a day are refused or explained."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from models.data.files.parse import ParsedFile, parse_prices
from models.errors import InputError

MINUTE, HOUR = 60, 3600


def bars(step: int, n_days: float = 4, start: str = "2021-02-20") -> pd.DataFrame:
    """Bars of `step` seconds with prices that move and a volume of one each."""
    n = int(n_days * 86_400 // step)
    close = 100 + np.round(np.sin(np.arange(n)), 3)
    first = int(pd.Timestamp(start, tz="UTC").timestamp())
    return pd.DataFrame(
        {
            "timestamp": first + step * np.arange(n),
            "open": np.append(100.0, close[:-1]),
            "high": close + 2,
            "low": close - 2,
            "close": close,
            "volume": 1.0,
        }
    )


def parse(frame: pd.DataFrame) -> ParsedFile:
    text = frame.to_csv(index=False).encode()
    return parse_prices(lambda: io.BytesIO(text), "x.csv")


def days(found: ParsedFile) -> list[int]:
    return found.candles["open_time"].dt.day.tolist()


def messages(found: ParsedFile) -> dict[str, str]:
    return {finding.kind: finding.message for finding in found.findings}


@pytest.mark.parametrize("step", [MINUTE, 5 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR])
def test_bars_become_days_as_a_slow_loop_adds_them(step: int) -> None:
    frame = bars(step)
    found = parse(frame).candles
    for _, day in found.iterrows():
        start = day["open_time"].timestamp()
        inside = frame[(frame["timestamp"] >= start) & (frame["timestamp"] < start + 86_400)]
        assert day["open"] == inside["open"].iloc[0]
        assert day["high"] == inside["high"].max() and day["low"] == inside["low"].min()
        assert day["close"] == inside["close"].iloc[-1]
        assert day["volume"] == inside["volume"].sum()
    assert len(found) == 4


def test_order_does_not_matter_and_repeats_are_taken_once() -> None:
    frame = bars(HOUR)
    whole = parse(frame).candles
    pd.testing.assert_frame_equal(parse(frame[::-1]).candles, whole)
    pd.testing.assert_frame_equal(parse(frame.sample(frac=1, random_state=1)).candles, whole)
    twice = parse(pd.concat([frame, frame.iloc[[30, 31]]]))
    pd.testing.assert_frame_equal(twice.candles, whole)
    assert "repeated_bars" in messages(twice)
    with pytest.raises(InputError, match="2021-02-21 06:00:00 UTC is there twice"):
        parse(pd.concat([frame, frame.iloc[[30]].assign(close=101.0)]))


def test_first_and_last_day_must_be_whole() -> None:
    frame = bars(HOUR)
    assert days(parse(frame[:-1])) == [20, 21, 22]
    assert days(parse(frame[1:])) == [21, 22, 23]
    cut = parse(frame[5:-5])
    assert days(cut) == [21, 22]
    assert messages(cut)["incomplete_days"].endswith("2021-02-20, 2021-02-23")


def test_a_day_with_a_long_gap_is_left_out_and_a_short_one_is_said() -> None:
    frame = bars(MINUTE)
    short = frame.drop(index=range(2000, 2100))
    found = parse(short)
    assert days(found) == [20, 21, 22, 23]
    assert messages(found)["missing_bars"].startswith("1.7% of the bars of 1 minute are missing")
    long = frame.drop(index=range(2000, 2200))
    assert days(parse(long)) == [20, 22, 23]
    # Rows without prices, as Kaggle's file has them, are missing bars.
    empty = frame.copy()
    empty.loc[2000:2050, ["open", "high", "low", "close", "volume"]] = np.nan
    found = parse(empty)
    assert days(found) == [20, 21, 22, 23]
    assert set(messages(found)) == {"empty_rows", "missing_bars"}
    whole = parse(frame)
    assert whole.findings == ()
    assert "added up from bars of 1 minute" in whole.description


def test_bars_stamped_at_their_end_belong_to_their_hour() -> None:
    frame = bars(HOUR)
    late = frame.assign(timestamp=(frame["timestamp"] + HOUR) * 1000 - 1)
    pd.testing.assert_frame_equal(parse(late).candles, parse(frame).candles)


def test_days_of_another_zone_are_refused() -> None:
    frame = bars(86_400, 20)
    with pytest.raises(InputError, match=r"20 of 20 days do not start at midnight UTC.*05:00 UTC"):
        parse(frame.assign(timestamp=frame["timestamp"] + 5 * HOUR))


def test_the_price_of_now_is_left_out() -> None:
    frame = bars(86_400, 20)
    frame.loc[19, "timestamp"] += 13 * HOUR + 22 * MINUTE
    found = parse(frame)
    assert len(found.candles) == 19
    assert "of 13:22 UTC, its day was not over: left out" in messages(found)["unfinished_day"]
