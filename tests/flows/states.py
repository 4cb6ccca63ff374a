"""State folders that many tests start from: each made once for all workers, copied for every test.

The days are numbered from `FIRST_DAY`; the recipe trains in a second.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from mlflow import MlflowClient
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from flows.cli.app import app
from flows.closing import summary_of
from flows.forecast import forecast
from flows.retrain import retrain
from models.config.flows import RetrainConfig
from tasks.registry.aliases import find_champion
from tasks.registry.store import mend_home
from tests.simulation.days import FIRST_DAY, NAME, RECIPE, write_candles

Run = Callable[..., dict[str, Any]]
DEAD_EXCHANGE = {
    "source": "exchange:bitstamp",
    "ingestion": {"exchange_url": "http://127.0.0.1:9", "attempts": 1},
}


def date(number: int) -> dt.date:
    return FIRST_DAY + dt.timedelta(days=number)


def run_flow(
    monkeypatch: pytest.MonkeyPatch,
    home: Path,
    flow: Any,
    day: int,
    candles_to: int | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Run a flow as on day `day`, with the candles up to it or to `candles_to`."""
    clock = dt.datetime.combine(date(day + 1), dt.time(0, 20), tzinfo=dt.UTC)
    monkeypatch.setitem(vars(flow_run), "scheduled_start_time", clock)
    csv = write_candles(home, day if candles_to is None else candles_to)
    # One epoch of training differs much from day to day; that is not what is tested here.
    policy = {"refresh_margin": 0.5} | more.pop("promotion", {})
    values: dict[str, Any] = {"source": f"csv:{csv}", "recipe": RECIPE, "promotion": policy}
    values |= {key: more.pop(key) for key in set(more) & set(RetrainConfig.model_fields)}
    ended = flow(RetrainConfig.model_validate(values), **more, return_state=True)
    return summary_of(ended).as_json()  # type: ignore[no-any-return]


def make_one_day(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Day 0: version 1 is champion and has forecast."""
    run_flow(monkeypatch, home, retrain, 0)


def make_five_days(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Days 0 to 5: versions of days 0 and 1, version 2 is champion; forecasts of days 2 and 5."""
    for flow, day in ((retrain, 0), (retrain, 1), (forecast, 2), (forecast, 5)):
        run_flow(monkeypatch, home, flow, day)


def share(name: str, make: Callable[..., None], api: str, root: Path) -> Path:
    """The folder of a state, made by the first worker that needs it."""
    home = root / name
    with FileLock(root / f"{name}.lock"):
        if not home.exists():
            half = root / f"{name}-half"
            half.mkdir(mode=0o700)
            with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_API_URL: api}):
                patch.setenv("BTC_HOME", str(half))
                make(patch, half)
            # MLflow leaves its address in the environment of a process that has used it.
            os.environ.pop("MLFLOW_TRACKING_URI", None)
            half.rename(home)
            mend_home(home)
    return home


def copy_state(state: Path, home: Path) -> None:
    """Copy a state folder; MLflow's database holds absolute paths, which change with it."""
    shutil.copytree(state, home)
    mend_home(home)


def champion(client: MlflowClient) -> str | None:
    found = find_champion(client, NAME)
    return None if found is None else str(found.version)


def btc(*arguments: str) -> str:
    """Run a command in this process; returns what it printed."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def poor_rows(home: Path) -> list[dict[str, Any]]:
    """Forty live days of three steps each, whose bands all lie far above what came."""
    candles = pd.read_csv(home / "candles.csv", index_col="date")
    common = {
        "symbol": "BTC/USD",
        "model": NAME,
        "version": 1,
        "kind": "live",
        "source": f"csv:{home / 'candles.csv'}",
        "snapshot_sha256": "0" * 64,
        "levels": json.dumps([0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975]),
        "quantiles": json.dumps((0.5 + 0.01 * np.arange(7)).tolist()),
        "note": "",
    }
    return [
        common
        | {
            "as_of": date(day),
            "issued_at": dt.datetime.combine(date(day + 1), dt.time(0, 20), tzinfo=dt.UTC),
            "close_origin": float(candles["close"][date(day).isoformat()]),
            "step": step,
            "target_date": date(day + step),
        }
        for day in range(-45, -5)
        for step in (1, 2, 3)
    ]
