from __future__ import annotations

import datetime as dt

import pytest

from models.config.judging import Watch
from models.decisions.outlook import (
    describe_age,
    describe_training,
    find_missed,
    is_live,
    lacking_columns,
    next_midnight,
)
from models.errors import NoForecastError

DAYS = [dt.date(2026, 10, day) for day in range(1, 11)]
LIMITS = Watch(max_age_days=3, catch_up_days=4)


def test_the_age_of_the_newest_candle_is_told_and_limited() -> None:
    assert describe_age("x", DAYS[5], DAYS[5], LIMITS) == []
    assert describe_age("x", DAYS[5], DAYS[4], LIMITS) == []
    told = "No fresh candle: the newest candle of x is that of 2026-10-03, 3 days old."
    assert describe_age("x", DAYS[2], DAYS[5], LIMITS) == [told]
    with pytest.raises(NoForecastError, match=r"4 days old; at most 3 .*--as-of 2026-10-02"):
        describe_age("x", DAYS[1], DAYS[5], LIMITS)


@pytest.mark.parametrize(
    ("trained_to", "told"),
    [
        ("2026-10-05", []),
        ("2026-10-04", ["The champion, version 3, is of 2026-10-04, 1 days ago."]),
        ("2026-10-06", ["Made afterwards: version 3 was trained to 2026-10-06."]),
    ],
)
def test_a_model_of_another_day_is_told(trained_to: str, told: list[str]) -> None:
    assert describe_training(3, trained_to, DAYS[4]) == told


def test_missed_days_are_those_between_that_nobody_forecast_from() -> None:
    known = [DAYS[1], DAYS[4], DAYS[9]]
    far = Watch(catch_up_days=30)
    assert find_missed(DAYS, known, DAYS[9], far) == [2, 3, 5, 6, 7, 8]
    assert find_missed(DAYS, known, DAYS[9], LIMITS) == [5, 6, 7, 8]
    assert find_missed(DAYS, [DAYS[9]], DAYS[9], far) == []
    assert find_missed(DAYS, [], DAYS[9], far) == []


def test_columns_that_the_candles_lack_are_named_in_order() -> None:
    assert lacking_columns({"close", "b", "a"}, ["close", "x"]) == ["a", "b"]


def test_a_forecast_could_be_made_live_until_the_next_candle_closed() -> None:
    """The candle of 1 October closes when the 2nd begins, the next when the 3rd does."""
    assert next_midnight(DAYS[0]) == dt.datetime(2026, 10, 3, tzinfo=dt.UTC)


def test_what_a_model_of_later_days_says_is_never_live() -> None:
    assert is_live(DAYS[4], DAYS[4], DAYS[4])
    assert is_live(DAYS[4], DAYS[4], DAYS[3])
    assert not is_live(DAYS[4], DAYS[4], DAYS[5])
    assert not is_live(DAYS[4], DAYS[5], DAYS[4])
