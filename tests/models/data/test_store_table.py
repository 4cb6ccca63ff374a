from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.candles import COLUMNS, digest_candles
from models.data.store_table import (
    BadRows,
    candle_schema,
    check_table,
    find_revisions,
    frame_from_table,
    merge_candles,
    missing_days,
    missing_ranges,
    table_from_rows,
)
from tests.replay.market import made_candles, table_of

FIRST, LAST = dt.date(2024, 1, 1), dt.date(2024, 1, 31)
DAY_MS = 86_400_000
JAN_1 = 1_704_067_200_000
EMPTY = candle_schema("BTC/USD").empty_table()


def rows_of(n: int) -> list[list[object]]:
    return [[JAN_1 + i * DAY_MS, 10.0, 12.0, 9.0, 11.0 + i / 100, 5.0] for i in range(n)]


def read(rows: list[list[object]]):
    return table_from_rows(rows, FIRST, LAST, "BTC/USD")


def tables(days: st.SearchStrategy[list[int]]) -> st.SearchStrategy:
    """Tables of days drawn from January; a day's values depend on a drawn version."""
    return st.builds(
        lambda chosen, version: read(
            [[JAN_1 + d * DAY_MS, 10.0, 12.0, 9.0, 10.0 + version / 8, 5.0] for d in set(chosen)]
        ),
        days,
        st.integers(0, 3),
    )


DAYS = st.lists(st.integers(0, 30), max_size=12)


def test_schema_names_units():
    schema = candle_schema("ETH/BTC:BTC")
    assert tuple(schema.names) == COLUMNS
    assert schema.field("close").metadata == {b"unit": b"BTC"}
    assert schema.field("volume").metadata == {b"unit": b"ETH"}
    assert schema.metadata == {b"symbol": b"ETH/BTC:BTC"}


def test_rows_are_sorted_cut_and_taken_once():
    rows = rows_of(5)
    outside = [[JAN_1 - DAY_MS, None, None, None, None, None], [JAN_1 + 31 * DAY_MS, *rows[0][1:]]]
    table = read([rows[3], rows[1], *outside, rows[1], rows[0], rows[4], rows[2]])
    assert table.equals(read(rows))
    assert table["close"].to_pylist() == [11.0, 11.01, 11.02, 11.03, 11.04]
    assert table["open_time"][0].as_py() == dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([None, 10, 12, 9, 11, 5], "a row has no time"),
        ([JAN_1 + 1, 10, 12, 9, 11, 5], "2024-01-01T00:00:00.001000 does not start a bar"),
        ([JAN_1, None, 12, 9, 11, 5], "open is nan on 2024-01-01"),
        ([JAN_1, 10, 12, 9, float("nan"), 5], "close is nan on 2024-01-01"),
        ([JAN_1, 10, float("inf"), 9, 11, 5], "high is inf on 2024-01-01"),
        ([JAN_1, 10, 12, 0, 11, 5], "low is 0 on 2024-01-01"),
        ([JAN_1, 10, 8, 9, 11, 5], "high < low on 2024-01-01"),
        ([JAN_1, 10, 12, 9, 11, -1], "volume is -1 on 2024-01-01"),
        ([JAN_1, 10, 12, 9, 11, None], "volume is nan on 2024-01-01"),
        ([JAN_1, 10, 12, 9, 11], "not six numbers each"),
        ([JAN_1, 10, 12, 9, "n/a", 5], "not six numbers each"),
        ([JAN_1, 10, 12, 9, [11], 5], "not six numbers each"),
    ],
)
def test_rows_that_are_no_candle_are_refused(row, message):
    with pytest.raises(BadRows, match=message) as refusal:
        read([row])
    assert "\n" not in str(refusal.value)


def test_closes_outside_the_range_stop_a_page_where_they_are_many():
    rows = rows_of(31)
    for row in rows[:4]:
        row[4] = 50.0
    assert read(rows).num_rows == 31
    rows[4][4] = 50.0
    with pytest.raises(BadRows, match=r"close outside the day's low to high on .*, 5 of 31 days"):
        read(rows)


def test_a_day_given_twice_must_agree():
    rows = rows_of(3)
    with pytest.raises(BadRows, match="2024-01-02 comes twice with different values"):
        read([*rows, [*rows[1][:5], 6.0]])


def test_check_refuses_disorder_and_other_bars_than_days():
    table = read(rows_of(3))
    with pytest.raises(BadRows, match="2024-01-02 is out of order or comes twice"):
        check_table(table.take([0, 1, 1]))
    frame = frame_from_table(table)
    frame["open_time"] = pd.date_range("2024-01-01", periods=3, freq="min", tz="UTC", unit="us")
    with pytest.raises(BadRows, match=r"2024-01-01T00:01:00.000000 does not start a bar"):
        check_table(table_of(frame))


@given(st.lists(tables(DAYS), max_size=6))
@settings(max_examples=150, deadline=None)
def test_merging_equals_a_dictionary_updated_in_order(parts):
    merged, oracle = EMPTY, {}
    for part in parts:
        merged = merge_candles(merged, part)
        oracle |= {row["open_time"]: row for row in part.to_pylist()}
    assert merged.to_pylist() == [oracle[day] for day in sorted(oracle)]
    assert merge_candles(merged, merged).equals(merged)
    check_table(merged)


@given(st.lists(DAYS, max_size=6), st.randoms())
@settings(max_examples=100, deadline=None)
def test_overlapping_fetches_give_their_union_in_any_order(chunks, random):
    def store(parts):
        table = EMPTY
        for days in parts:
            table = merge_candles(table, read([rows_of(31)[day] for day in set(days)]))
        return table

    shuffled = random.sample(chunks, len(chunks))
    union = {day for days in chunks for day in days}
    assert store(chunks).equals(store(shuffled))
    assert store(chunks).equals(store([union]))


@given(tables(DAYS), tables(DAYS))
@settings(max_examples=150, deadline=None)
def test_revisions_are_what_a_slow_comparison_finds(old, new):
    before = {row["open_time"]: row for row in old.to_pylist()}
    expected = [
        (row["open_time"], name, before[row["open_time"]][name], row[name])
        for row in new.to_pylist()
        for name in sorted(COLUMNS[1:])
        if row["open_time"] in before and before[row["open_time"]][name] != row[name]
    ]
    found = find_revisions(old, new, LAST).to_pylist()
    assert [(r["open_time"], r["column"], r["old"], r["new"]) for r in found] == expected
    for row in found:
        assert row["relative_change"] == pytest.approx(row["new"] / row["old"] - 1)
        assert row["seen_as_of"] == LAST


def test_a_revision_from_zero_volume_has_no_relative_change():
    old = read([[JAN_1, 10, 12, 9, 11, 0]])
    new = read([[JAN_1, 10, 12, 9, 11, 7]])
    [row] = find_revisions(old, new, LAST).to_pylist()
    assert (row["column"], row["old"], row["new"], row["relative_change"]) == ("volume", 0, 7, None)


def test_a_frame_comes_back_from_its_table_with_the_same_hash():
    frame = made_candles("2020-02-03", 400)
    back = frame_from_table(table_of(frame))
    pd.testing.assert_frame_equal(back, frame)
    assert digest_candles(back) == digest_candles(frame.sample(frac=1))
    assert digest_candles(back) != digest_candles(back[1:])


def times(days: list[int]):
    return read([rows_of(31)[day] for day in days])["open_time"]


@pytest.mark.parametrize(
    ("stored", "as_of", "expected"),
    [
        ([], 30, [(-1, 30)]),
        (range(20), 20, [(17, 20)]),
        (range(20), 19, [(17, 19)]),
        (range(5, 20), 25, [(17, 25)]),
        ([0, 1, 2, 5, 6, 7, 8, 9], 9, [(3, 9)]),
        ([0, 1, 4, *range(15, 31)], 30, [(2, 11), (12, 14), (28, 30)]),
        (range(31), 10, [(8, 10)]),
    ],
)
def test_ranges_ask_for_holes_and_the_newest_days(stored, as_of, expected):
    start = FIRST - dt.timedelta(days=1)
    found = missing_ranges(times(list(stored)), start, FIRST + dt.timedelta(days=as_of), 3, 10)
    assert [((a - FIRST).days, (b - FIRST).days) for a, b in found] == expected


@given(DAYS, st.integers(0, 30), st.integers(1, 5), st.integers(1, 9))
@settings(max_examples=150, deadline=None)
def test_ranges_make_a_store_whole(days, as_of, refetch, page):
    stored = times(sorted(set(days)))
    last = FIRST + dt.timedelta(days=as_of)
    asked = set()
    for first, end in missing_ranges(stored, FIRST, last, refetch, page):
        assert (end - first).days < page or not [d for d in days if d <= as_of]
        asked |= {
            (first + dt.timedelta(days=i) - FIRST).days for i in range((end - first).days + 1)
        }
    known = [day for day in days if day <= as_of]
    first_known = min(known, default=0)
    assert asked | set(known) == set(range(first_known, as_of + 1))
    newest = sorted(known)[-1:]
    assert all(max(first_known, day - refetch + 1) in asked for day in newest)


def test_missing_days_are_named():
    found = missing_days(times([0, 1, 4]), FIRST, FIRST + dt.timedelta(days=5))
    assert [day.day for day in found] == [3, 4, 6]


def test_nothing_is_changed_in_place():
    rows = rows_of(4)[::-1]
    copy = [list(row) for row in rows]
    old = read(rows)
    kept = old.to_pylist()
    merge_candles(old, read(rows_of(2)))
    assert rows == copy and old.to_pylist() == kept
    assert np.array(rows, dtype=float).shape == (4, 6)
