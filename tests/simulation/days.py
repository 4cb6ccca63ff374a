"""Simulated days on a home folder, and the state that they leave behind."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from models.data.sample import make_sample

ROOT = Path(__file__).parents[2]
FIRST_DAY = dt.date(2026, 10, 1)
NAME = "btc-usd"
RECIPE = {
    "cell": "rnn",
    "head": "point",
    "features": ["log_return"],
    "units": 2,
    "lookback": 5,
    "horizon": 3,
    "training": {"epochs": 1},
}
# Every sixth day another recipe comes and goes, so that promotions are decided too.
OTHER = RECIPE | {"units": 1}


def write_candles(home: Path, number: int) -> Path:
    """Write the candles up to day `number` as the CSV file that its retrain reads."""
    candles = make_sample(FIRST_DAY + dt.timedelta(days=number), n_days=600 + number)
    dates = candles["open_time"].dt.date
    home.mkdir(parents=True, exist_ok=True)
    path = home / "candles.csv"
    candles.assign(date=dates).drop(columns="open_time").to_csv(path, index=False)
    return path


Kill = str | tuple[str, float]


class Days:
    """Runs days one after the other in processes forked from one runner.

    `train`: with real networks, which otherwise stay untrained. `diary`: a file in which each
    stage writes its name and when it began, in seconds since the start of the day.
    """

    def __init__(
        self,
        runner: subprocess.Popen[str],
        home: Path,
        train: bool = False,
        diary: Path | None = None,
    ) -> None:
        self.runner, self.home, self.train, self.diary = runner, home, train, diary

    def run(self, number: int, kill: Kill | None = None) -> int:
        """Run day `number` with the candles up to it; returns the exit status.

        `kill`: a point of the runner, or a stage and the seconds after its begin.
        """
        return self.run_at_once(number, 1, kill)[0]

    def run_at_once(self, number: int, n: int, kill: Kill | None = None) -> list[int]:
        """Run day `number` in `n` processes started together; returns their exit statuses."""
        if self.diary:
            self.diary.write_text("")
        csv = write_candles(self.home, number)
        for path in self.home.glob("last-*.json"):
            path.unlink()
        recipe = OTHER if number % 6 == 5 else RECIPE
        job = {
            "home": str(self.home),
            "day": (FIRST_DAY + dt.timedelta(days=number)).isoformat(),
            "kill": kill if isinstance(kill, str) else None,
            "kill_after": kill if isinstance(kill, tuple) else None,
            "train": self.train,
            "diary": self.diary and str(self.diary),
            "at_once": n,
            "config": {
                "source": f"csv:{csv}",
                "recipe": recipe,
                "judging": {"bootstrap_samples": 100},
            },
        }
        assert self.runner.stdin and self.runner.stdout
        self.runner.stdin.write(json.dumps(job) + "\n")
        self.runner.stdin.flush()
        return list(json.loads(self.runner.stdout.readline()))

    def summary(self, place: int = 0) -> dict[str, Any]:
        """What the last day that ended returned, in the process of that place."""
        return json.loads((self.home / f"last-{place}.json").read_text())


@contextmanager
def start_runner(api_url: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the process that days are forked from."""
    # MLflow leaves its address in the environment of a process that has used it.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment = inherited | {
        "PREFECT_API_URL": api_url,
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PYTHONPATH": str(ROOT),
        "BTC_HOME": str(log.parent),
    }
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "tests.simulation.runner"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as runner,
    ):
        assert runner.stdin and runner.stdout
        assert runner.stdout.readline() == "ready\n", log.read_text()
        yield runner
        runner.stdin.close()


def end_state(home: Path) -> dict[str, Any]:
    """Store, registry, aliases, history and ledger, without what no two runs share (ids, clock)."""
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    uri = f"sqlite:///{home / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    versions = sorted(
        client.search_model_versions(f"name = '{NAME}'"), key=lambda version: int(version.version)
    )
    experiment = client.get_experiment_by_name(NAME)
    runs = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)
    before = os.environ.get("BTC_HOME")
    os.environ["BTC_HOME"] = str(home)
    try:
        from tasks.registry.aliases import read_history
        from tasks.storage.ledger import read_alarms, read_ledger

        ledger = read_ledger(NAME).drop(columns="id")
        history = read_history(NAME).drop(columns="id")
        alarms = read_alarms(NAME).drop(columns="id")
    finally:
        os.environ.pop("BTC_HOME") if before is None else os.environ.update(BTC_HOME=before)
    return {
        "snapshots": sorted(path.parent.name for path in home.glob("snapshots/*/manifest.json")),
        "versions": [(int(version.version), _comparable(version.tags)) for version in versions],
        "aliases": client.get_registered_model(NAME).aliases,
        "runs": sorted((run.info.run_name, run.info.status) for run in runs),
        "history": _as_text(history),
        "ledger": _as_text(ledger.sort_values(["as_of", "step", "version", "kind"])),
        "alarms": _as_text(alarms),
        "reports": sorted(path.name for path in (home / "reports").iterdir()),
        "rubbish": sorted(path.name for path in home.rglob(".*") if path.parent.name != "ph"),
    }


def _comparable(tags: dict[str, str]) -> dict[str, str]:
    """Tags without the hash of the model's files, among which is one with the time."""
    return {key: value for key, value in tags.items() if key != "model_sha256"}


def _as_text(frame: pd.DataFrame) -> list[dict[str, str]]:
    rows = frame.astype(object).where(frame.notna(), "none").astype(str).to_dict("records")
    return [{str(key): str(value) for key, value in row.items()} for row in rows]
