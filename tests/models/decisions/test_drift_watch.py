from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from models.config.judging import Watch
from models.data.sample import Variant, make_sample
from models.decisions.drift_watch import (
    Breach,
    population_stability_index,
    select_new,
    watch_inputs,
    watch_record,
)
from models.learning.features import make_features

LAST_DAY = dt.date(2024, 12, 31)


def rows(n: int = 90, ratio: float = 1.0) -> pd.DataFrame:
    """A good record of next-day forecasts: nine of ten days inside the 90 % band."""
    naive = np.random.default_rng(3).uniform(100, 200, n)
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=i) for i in range(n)]
    inside = np.arange(n) % 10 != 0
    return pd.DataFrame(
        {"as_of": days, "crps_bp": ratio * naive, "naive_crps_bp": naive, "inside_90": inside}
    )


def test_watch_is_silent_about_a_good_record_and_a_short_one() -> None:
    assert watch_record(rows(90), Watch()) == []
    assert watch_record(rows(29, ratio=3).assign(inside_90=False), Watch()) == []


def test_watch_tells_coverage_and_score() -> None:
    missed = rows(90).assign(inside_90=False)
    assert [breach.kind for breach in watch_record(missed, Watch())] == ["coverage"]
    (worse,) = watch_record(rows(90, ratio=1.2), Watch())
    assert worse.kind == "crps"
    assert 1.15 < worse.value < 1.25


def test_stability_index_by_hand() -> None:
    past = np.arange(100.0)
    assert population_stability_index(past, past) == 0
    now = np.full(100, 99.0)
    counts = np.array([0.5, 0.5, 0.5, 0.5, 100.5]) / 102.5
    expected = ((counts - 0.2) * np.log(counts / 0.2)).sum()
    assert population_stability_index(past, now) == np.float64(expected)


@pytest.mark.parametrize("variant", ["random-walk", "default"])
def test_calm_inputs_raise_no_alarm(variant: Variant) -> None:
    features = ("log_return", "log_range", "log_volatility", "next_is_monday")
    for year in range(2016, 2025):
        candles = make_sample(dt.date(year, 12, 31), n_days=2000, variant=variant)
        assert watch_inputs(candles, features, Watch()) == [], year


def test_slow_input_is_held_against_its_own_past() -> None:
    # What is usual for volatility would be a shift anywhere else.
    for year in range(2016, 2025):
        candles = make_sample(dt.date(year, 12, 31), n_days=2000)
        values = make_features(candles, ("log_volatility",))[:, 0]
        values = values[np.isfinite(values)]
        shift = population_stability_index(values[:-90], values[-90:])
        if shift > 1:
            assert watch_inputs(candles, ("log_volatility",), Watch()) == []
            return
    raise AssertionError("no year whose volatility is far from that of the years before")


def shifted(n_days: int, n_shifted: int = 90) -> pd.DataFrame:
    candles = make_sample(LAST_DAY, n_days=n_days, variant="random-walk")
    factor = np.where(np.arange(n_days) < n_days - n_shifted, 1.0, 1.6)
    return candles.assign(high=candles["high"] * factor)


def test_inputs_that_leave_their_range_are_told_by_name_with_the_limit() -> None:
    candles = shifted(1500)
    (breach,) = watch_inputs(candles, ("log_return", "log_range"), Watch())
    assert breach.kind == "inputs"
    assert breach.text.startswith("log_range has shifted")
    values = make_features(candles, ("log_range",))[:, 0]
    past = [
        population_stability_index(values[: end - 90], values[end - 90 : end])
        for end in range(1500 - 90, 90 + 365 - 1, -7)
    ]
    assert breach.limit == pytest.approx(max(0.25, 1.5 * max(past)))
    assert breach.value == population_stability_index(values[:-90], values[-90:])
    assert watch_inputs(candles, ("log_range",), Watch(max_shift=100)) == []


def test_nothing_is_said_of_inputs_before_two_years_of_windows() -> None:
    # 90 days watched, and 105 windows, the first of which ends after a year and 90 days.
    needed = 90 + 365 + 90 + 104 * 7
    assert len(watch_inputs(shifted(needed), ("log_range",), Watch())) == 1
    assert watch_inputs(shifted(needed - 1), ("log_range",), Watch()) == []


def test_alarm_is_new_once_in_the_watched_days() -> None:
    today = dt.date(2024, 6, 30)
    breaches = [Breach(kind=kind, value=1, limit=0, text=kind) for kind in ("crps", "inputs")]

    def new(*days: int) -> list[str]:
        raised = [{"as_of": today - dt.timedelta(days=n), "kind": "crps"} for n in days]
        alarms = pd.DataFrame(raised, columns=["as_of", "kind"])
        return [breach.kind for breach in select_new(breaches, alarms, today, Watch())]

    assert new() == ["crps", "inputs"]
    assert new(1) == ["inputs"]
    assert new(90) == ["inputs"]
    assert new(91) == ["crps", "inputs"]
    # What this very day raised is new when the day is done again.
    assert new(0) == ["crps", "inputs"]
