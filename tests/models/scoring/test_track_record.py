from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from models.scoring.ledger import select_record, summarize_record


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
