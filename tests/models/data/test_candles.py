"""check_candles refuses, repairs and reports; digest_candles hashes content, not order."""

import datetime as dt
import hashlib
import struct

import numpy as np
import pandas as pd
import pytest

from models.config.data import RepairPolicy
from models.data.candles import check_candles, digest_candles, log_returns
from models.data.sample import make_sample
from models.errors import InputError

NEWEST = dt.date(2020, 1, 31)
STRICT = RepairPolicy(drop_identical_duplicates=False, max_missing_days=0)


def make_candles(n: int = 31, first: str = "2020-01-01") -> pd.DataFrame:
    close = 100.0 + np.array([0, 1, 3, 1])[np.arange(n) % 4]
    return pd.DataFrame(
        {
            "open_time": pd.date_range(first, periods=n, freq="D", tz="UTC", unit="us"),
            "open": close,
            "high": close + 1,
            "low": close - 1,
            "close": close,
            "volume": np.full(n, 5.0),
        }
    )


def check(candles, policy=None, as_of=NEWEST, newest_closed=NEWEST):
    return check_candles(
        candles, policy or RepairPolicy(), as_of=as_of, newest_closed=newest_closed
    )


def with_value(column, row, value):
    candles = make_candles()
    candles.loc[row, column] = value
    return candles


def shifted(**delta):
    candles = make_candles()
    candles["open_time"] += pd.Timedelta(**delta)
    return candles


def twice(row, **changes):
    candles = make_candles()
    return pd.concat([candles, candles.iloc[[row]].assign(**changes)])


def test_clean_candles_pass_unchanged():
    candles = make_candles()
    checked = check(candles)
    pd.testing.assert_frame_equal(checked.candles, candles)
    assert checked.findings == () and checked.repairs == ()


@pytest.mark.parametrize(
    ("candles", "message"),
    [
        (with_value("close", 2, 0.0), r"close is 0 on 2020-01-03"),
        (with_value("close", 2, -5.0), r"close is -5 on 2020-01-03"),
        (with_value("open", 30, np.nan), r"open is nan on 2020-01-31"),
        (with_value("high", 0, np.inf), r"high is inf on 2020-01-01"),
        (with_value("low", [3, 7], -np.inf), r"low is -inf on 2020-01-04, 2020-01-08: expected"),
        (with_value("volume", 4, -1.0), r"volume is -1 on 2020-01-05"),
        (with_value("volume", 4, np.nan), r"volume is nan on 2020-01-05"),
        (with_value("high", 5, 1.0), r"high < low on 2020-01-06"),
        (twice(9, close=101.5), r"disagree: 2020-01-10"),
        (make_candles(33), r"future dates: 2020-02-02"),
        (make_candles(50), r"future dates: 2020-02-02, .*2020-02-06 and 13 more"),
        (shifted(hours=5), r"31 candles do not start at midnight UTC.*2020-01-01 05:00"),
        (make_candles().drop([3, 4, 5]), r"3 missing days: 2020-01-04, .*; at most 2"),
        (make_candles().drop(range(3, 23)), r"20 missing days: .*2020-01-08 and 15 more"),
        (with_value("open_time", 4, pd.NaT), r"1 rows have no date"),
        (make_candles(5, "2020-01-28"), None),
        (make_candles(0), r"no candle up to 2020-01-31"),
    ],
)
def test_wrong_candles_are_refused_in_one_line(candles, message):
    if message is None:  # the day after the newest closed candle may be there, still open
        assert check(candles).findings[0].kind == "open_candle"
        return
    with pytest.raises(InputError, match=message) as error:
        check(candles)
    assert "\n" not in str(error.value)


def test_what_the_policy_forbids_is_refused():
    with pytest.raises(InputError, match="duplicate days: 2020-01-10; keep one"):
        check(twice(9), STRICT)
    with pytest.raises(InputError, match="1 missing day: 2020-01-04; at most 0"):
        check(make_candles().drop(3), STRICT)


def test_as_of_after_the_newest_closed_day_is_refused():
    with pytest.raises(InputError, match="2020-02-01 is not closed yet"):
        check(make_candles(), as_of=dt.date(2020, 2, 1))


@pytest.mark.parametrize(
    "candles",
    [
        make_candles().drop(columns="close"),
        make_candles().drop(columns="open_time"),
        make_candles().assign(extra=1.0),
        make_candles().assign(open_time=make_candles()["open_time"].dt.tz_localize(None)),
    ],
)
def test_a_frame_beside_the_schema_is_our_own_mistake(candles):
    with pytest.raises(ValueError, match="expected") as error:
        check(candles)
    assert not isinstance(error.value, InputError)


def test_identical_duplicates_are_dropped_and_said():
    checked = check(twice(9))
    pd.testing.assert_frame_equal(checked.candles, make_candles())
    assert checked.repairs == ("dropped 1 identical duplicate row: 2020-01-10",)


def test_missing_days_are_filled_with_the_close_before():
    checked = check(make_candles().drop([3, 10]))
    filled = checked.candles.iloc[[3, 10]]
    # Closes go 100, 101, 103, 101, 100, ...: row 2 is 103, row 9 is 101.
    for name in ("open", "high", "low", "close"):
        assert filled[name].tolist() == [103.0, 101.0]
    assert filled["volume"].tolist() == [0.0, 0.0]
    assert checked.repairs == (
        "filled 2 missing days with the close before: 2020-01-04, 2020-01-11",
    )
    assert len(checked.candles) == 31
    assert checked.findings == ()


def test_close_only_candles_are_checked_and_filled():
    candles = make_candles()[["close", "open_time"]].drop(3)
    checked = check(candles)
    assert list(checked.candles.columns) == ["open_time", "close"]
    assert checked.candles["close"].iloc[3] == 103.0


def test_the_order_of_rows_does_not_matter_and_nothing_is_mutated():
    candles = twice(9).drop(4).sample(frac=1, random_state=3)
    before = candles.copy(deep=True)
    checked = check(candles)
    pd.testing.assert_frame_equal(candles, before)
    pd.testing.assert_frame_equal(checked.candles, check(twice(9).drop(4)).candles)
    assert checked.candles["open_time"].is_monotonic_increasing


def test_an_old_day_is_replayed_without_looking_at_later_ones():
    as_of = dt.date(2020, 1, 20)
    later = make_candles().drop([25, 26, 27, 28])
    later.loc[22, ["close", "high"]] = [np.nan, 0.0]
    checked = check(later, as_of=as_of)
    pd.testing.assert_frame_equal(checked.candles, make_candles(20))
    assert checked.findings == ()


def test_the_open_candle_is_dropped_with_a_warning():
    candles = make_candles(32)
    candles.loc[31, "close"] = np.nan
    checked = check(candles)
    assert len(checked.candles) == 31
    (finding,) = checked.findings
    assert (finding.kind, finding.severity, finding.days) == (
        "open_candle",
        "warning",
        ("2020-02-01",),
    )


@pytest.mark.parametrize(
    ("candles", "kind", "days"),
    [
        (make_candles(29), "stale", ("2020-01-29",)),
        (with_value("volume", [4, 5], 0.0), "zero_volume", ("2020-01-05", "2020-01-06")),
        (with_value("close", 6, 120.0), "close_outside_range", ("2020-01-07",)),
        (with_value("open", 6, 90.0), "open_outside_range", ("2020-01-07",)),
    ],
)
def test_odd_but_usable_candles_are_warned_of(candles, kind, days):
    checked = check(candles)
    findings = {finding.kind: finding for finding in checked.findings}
    assert findings[kind].days == days
    assert findings[kind].severity == "warning"
    assert days[0] in findings[kind].message


@pytest.mark.parametrize(
    ("n", "n_outside", "severity"),
    [
        (31, 4, "warning"),
        (31, 5, "error"),
        (501, 5, "warning"),
        (499, 5, "error"),
        (700, 8, "error"),
    ],
)
def test_closes_outside_the_range_are_an_error_where_they_are_many(n, n_outside, severity):
    """More than 1 % of the days, and at least 5."""
    candles = make_candles(n)
    candles.loc[: n_outside - 1, "close"] = 50.0
    newest = candles["open_time"].iloc[-1].date()
    if severity == "warning":
        found = {f.kind: f for f in check(candles, as_of=newest, newest_closed=newest).findings}
        assert len(found["close_outside_range"].days) == n_outside
        return
    with pytest.raises(InputError, match=f"{n_outside} of {n} days.*something else") as refusal:
        check(candles, as_of=newest, newest_closed=newest)
    assert "\n" not in str(refusal.value)


def test_a_close_column_that_holds_the_volume_is_refused():
    candles = make_candles()
    candles["close"], candles["volume"] = 8_000.0 + np.arange(31) % 7, candles["close"]
    with pytest.raises(InputError, match=r"close outside the day's low to high .* the volume"):
        check(candles)


def test_exchanged_names_of_open_and_close_are_seen():
    days = make_sample(NEWEST, n_days=60)
    check(days)
    swapped = days.rename(columns={"open": "close", "close": "open"})
    with pytest.raises(InputError, match="open and close are swapped"):
        check(swapped)
    check(swapped.tail(10))  # too few to know


def test_outliers_are_measured_by_the_median_absolute_deviation():
    # Returns alternate between +0.01 and -0.01: median distance 0.01, limit 0.148 around +-0.01.
    returns = np.tile([0.01, -0.01], 50)
    returns[60], returns[80] = 0.17, 0.13
    close = 100 * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))
    candles = make_candles(101)[["open_time"]].assign(close=close)
    day = dt.date(2020, 4, 10)
    (finding,) = check(candles, as_of=day, newest_closed=day).findings
    assert finding.kind == "outlier_return"
    assert finding.days == ("2020-03-02",)  # day 61 after 2020-01-01


def test_constant_prices_have_no_outliers():
    candles = make_candles()[["open_time"]].assign(close=100.0)
    candles.loc[30, "close"] = 101.0
    assert check(candles).findings == ()


def test_digest_is_the_documented_bytes():
    candles = make_candles(2, "1970-01-01")[["open_time", "close"]]
    data = b"open_time:2:" + struct.pack("<qq", 0, 86_400_000_000)
    data += b"close:2:" + struct.pack("<dd", 100.0, 101.0)
    assert digest_candles(candles) == hashlib.sha256(data).hexdigest()


def test_digest_does_not_depend_on_order_or_unit():
    candles = make_candles()
    digest = digest_candles(candles)
    assert digest_candles(candles.sample(frac=1, random_state=1)) == digest
    assert digest_candles(candles[list(candles.columns)[::-1]]) == digest
    disagreeing = twice(9, close=101.5)
    assert digest_candles(disagreeing) == digest_candles(disagreeing[::-1])
    nanoseconds = candles.assign(open_time=candles["open_time"].dt.as_unit("ns"))
    assert digest_candles(nanoseconds) == digest
    tokyo = candles.assign(open_time=candles["open_time"].dt.tz_convert("Asia/Tokyo"))
    assert digest_candles(tokyo) == digest


@pytest.mark.parametrize("column", ["open_time", "open", "high", "low", "close", "volume"])
def test_digest_sees_the_smallest_change(column):
    candles = make_candles()
    changed = candles.copy()
    if column == "open_time":
        changed.loc[3, column] += pd.Timedelta(microseconds=1)
    else:
        changed.loc[3, column] = np.nextafter(changed.loc[3, column], np.inf)
    assert digest_candles(changed) != digest_candles(candles)
    if column not in ("open_time", "close"):
        assert digest_candles(candles.drop(columns=column)) != digest_candles(candles)


def test_digest_treats_minus_zero_as_zero_and_refuses_nan():
    candles = with_value("volume", 3, 0.0)
    assert digest_candles(candles) == digest_candles(with_value("volume", 3, -0.0))
    with pytest.raises(ValueError, match="NaN"):
        digest_candles(with_value("volume", 3, np.nan))


def test_log_returns_by_hand():
    np.testing.assert_allclose(log_returns(np.array([1.0, np.e, 1.0])), [1.0, -1.0])
