from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from models.config import Watch
from models.drift import population_stability_index, watch_inputs, watch_record
from models.sample import make_sample
from models.track_record import select_record, summarize_record


def rows(n: int = 40, ratio: float = 1.0, kind: str = "live") -> pd.DataFrame:
    generator = np.random.default_rng(3)
    naive = generator.uniform(100, 200, n)
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=i) for i in range(n)]
    inside = np.ones(n, dtype=bool)
    inside[::10] = False
    return pd.DataFrame(
        {
            "as_of": days,
            "step": 1,
            "version": 1,
            "kind": kind,
            "issued_at": pd.to_datetime(days),
            "crps_bp": ratio * naive + generator.uniform(-1, 1, n),
            "naive_crps_bp": naive,
            "ewma_crps_bp": naive,
            "inside_50": inside,
            "inside_80": inside,
            "inside_90": inside,
            "inside_95": inside,
        }
    )


def test_record_by_hand() -> None:
    live = rows()
    live.loc[37:, "inside_90"] = False
    live.loc[39, ["crps_bp", "naive_crps_bp"]] = np.nan
    summary = summarize_record(pd.concat([live, rows(kind="catch-up")], ignore_index=True))
    assert summary["days_forecast"] == 40
    assert summary["days_scored"] == 39
    assert summary["catch_up_days"] == 40
    assert summary["coverage"]["0.9"]["observed"] == 1 - (4 + 2) / 39
    assert (summary["misses"], summary["longest_misses"]) == (2, 2)


def test_verdict_says_what_the_test_says() -> None:
    assert summarize_record(rows(ratio=0.9))["verdict"].startswith("Skill")
    assert summarize_record(rows(ratio=1.1))["verdict"].startswith("Worse than naive")
    assert summarize_record(rows(ratio=1.0))["verdict"].startswith("No evidence of skill")
    assert summarize_record(rows(n=10, ratio=0.5))["verdict"].startswith("Too early to tell")
    assert summarize_record(rows().iloc[:0])["verdict"].startswith("Nothing to judge yet")


def test_catch_up_is_never_counted_as_live() -> None:
    assert summarize_record(rows(kind="catch-up"))["days_scored"] == 0


def test_first_issued_forecast_of_a_day_is_the_one_that_counts() -> None:
    later = rows().assign(version=2)
    later["issued_at"] += pd.Timedelta(hours=1)
    chosen = select_record(pd.concat([later, rows()], ignore_index=True))
    assert set(chosen["version"]) == {1}
    assert len(chosen) == 40


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


def test_inputs_that_leave_their_range_are_told_by_name() -> None:
    candles = make_sample(dt.date(2024, 12, 31), n_days=700, variant="random-walk")
    assert watch_inputs(candles, ("log_return",), Watch()) == []
    factor = np.where(np.arange(700) < 610, 1.0, 1.6)
    wild = candles.assign(high=candles["high"] * factor)
    (breach,) = watch_inputs(wild, ("log_return", "log_range"), Watch())
    assert breach.kind == "inputs"
    assert breach.text.startswith("log_range has shifted")
