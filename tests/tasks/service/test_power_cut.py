"""Server, worker and engine killed at once in the middle of a run, and started again."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.retrain import retrain
from models.config.flows import RetrainConfig
from models.data.sample import make_sample
from tests.service import btc_up
from tests.simulation.days import RECIPE, end_state

pytestmark = [pytest.mark.server, pytest.mark.soak, pytest.mark.timeout(900)]

PLACES = [
    "tasks.ingest.write_frame",
    "tasks.train.fit_forecaster",
    "tasks.register._register_version",
    "tasks.registry.aliases._add_history",
]


def write_candles(folder: Path, last_day: dt.date) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    candles = make_sample(last_day, n_days=600)
    dates = candles["open_time"].dt.date
    path = folder / "candles.csv"
    candles.assign(date=dates).drop(columns="open_time").to_csv(path, index=False)
    return path


@pytest.mark.parametrize("place", PLACES)
def test_after_a_power_cut_the_run_is_crashed_and_the_next_ends_as_if_nothing_had_been(
    place: str, tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduled = dt.datetime.now(dt.UTC)
    yesterday = scheduled.date() - dt.timedelta(days=1)
    config: dict[str, Any] = {
        "source": f"csv:{write_candles(tmp_path / 'data', yesterday)}",
        "recipe": RECIPE | {"training": {"kind": "windows", "epochs": 1}},
        "judging": {"bootstrap_samples": 100},
    }
    home = tmp_path / "home"
    with btc_up(home, hold=place) as up:
        cut = up.schedule("retrain/daily-retrain", config, scheduled)
        up.wait(up.flag.exists, 240)
        assert up.state(cut) == "RUNNING"
        up.cut_power()

    started = dt.datetime.now(dt.UTC)
    with btc_up(home) as up:
        found = up.ask(f"/flow_runs/{cut}")["state"]
        assert found["type"] == "CRASHED"
        crashed = dt.datetime.fromisoformat(found["timestamp"])
        assert (crashed - started).total_seconds() < 120
        again = up.schedule("retrain/daily-retrain", config, scheduled)
        up.wait_for(again, "COMPLETED")
    assert list((home / "work").iterdir()) == []

    undisturbed = tmp_path / "undisturbed"
    monkeypatch.setenv("BTC_HOME", str(undisturbed))
    monkeypatch.setitem(vars(flow_run), "scheduled_start_time", scheduled)
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        retrain(RetrainConfig.model_validate(config))
    expected, kept = end_state(undisturbed), end_state(home)
    kept["rubbish"] = [name for name in kept["rubbish"] if not name.startswith(".prefect")]
    for part, value in expected.items():
        if part in ("ledger", "history"):
            assert [_timeless(row) for row in kept[part]] == [_timeless(row) for row in value]
        else:
            assert kept[part] == value, part


def _timeless(row: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in row.items() if key not in ("issued_at", "at", "scored_at")}
