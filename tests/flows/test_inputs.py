"""A retrain with an exogenous series, from the options to the served model."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from models.config.flows import RetrainConfig
from models.forecasters.walk_forward import predict_holdout
from tests.flows.conftest import QUICK, Run
from tests.servers import btc, environment

pytestmark = pytest.mark.server

ASKED = ("--source", "sample", "--as-of", "2025-06-30", *QUICK)
FEATURE = "exogenous_mood_lag1"


@pytest.fixture(scope="module")
def mood(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A series that begins late, and goes on after the day of the run."""
    days = pd.date_range("2018-02-01", "2025-12-31", name="date")
    path = tmp_path_factory.mktemp("mood") / "mood.csv"
    pd.DataFrame({"value": np.arange(len(days))}, index=days).to_csv(path)
    return path


@pytest.fixture(scope="module")
def taught(retrain: Callable[..., Run], mood: Path) -> Run:
    series = f"{{name: mood, path: {mood}, before: 50}}"
    return retrain(*ASKED, "--exogenous", series)


@pytest.fixture
def client(taught: Run) -> MlflowClient:
    return MlflowClient(f"sqlite:///{taught.home / 'mlflow.db'}")


def snapshot_of(run: Run) -> pd.DataFrame:
    folder = run.home / "snapshots" / run.summary["snapshot_hash"]
    return pd.read_parquet(folder / "candles.parquet")


def test_the_snapshot_holds_what_was_public_on_each_day(taught: Run) -> None:
    frame = snapshot_of(taught).set_index("open_time")
    values = frame[FEATURE]
    assert values[pd.Timestamp("2018-02-02", tz="UTC")] == 0
    assert (values[: pd.Timestamp("2018-02-01", tz="UTC")] == 50).all()
    last = (dt.date(2025, 6, 29) - dt.date(2018, 2, 1)).days
    assert values.iloc[-1] == last
    assert taught.summary["features_used"][-1] == FEATURE
    messages = [found["message"] for found in taught.summary["findings"]]
    assert any(text.startswith("mood begins on 2018-02-01") for text in messages)


def test_the_series_is_recorded_with_the_run(taught: Run, client: MlflowClient) -> None:
    run = client.get_run(taught.summary["run_id"])
    [used] = run.inputs.dataset_inputs
    assert taught.summary["snapshot_hash"] in {tag.value for tag in used.tags}
    assert "mood" in run.data.params["exogenous"]


def test_the_run_is_the_holdout_of_its_recipe_bit_for_bit(taught: Run) -> None:
    """What the flow trained in its process is what the same inputs give in this one."""
    config = RetrainConfig.model_validate(taught.summary["config"])
    candles = snapshot_of(taught)
    again = predict_holdout(config.recipe, candles, config.judging)
    found = pd.read_parquet(taught.summary["artifacts"]["predictions"])
    mine = found[found["model"] == "gru + regression"].reset_index(drop=True)
    columns = [name for name in again if str(name).startswith("q")]
    assert mine[columns].to_numpy().tobytes() == again[columns].to_numpy().tobytes()
    without = candles.assign(**{FEATURE: candles[FEATURE].to_numpy()[::-1]})
    other = predict_holdout(config.recipe, without, config.judging)
    assert other[columns].to_numpy().tobytes() != again[columns].to_numpy().tobytes()


def test_the_registered_model_asks_for_the_series(taught: Run) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{taught.home / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model(taught.summary["artifacts"]["model"])
    assert [column.name for column in model.metadata.signature.inputs][-1] == FEATURE
    candles = snapshot_of(taught)
    candles["open_time"] = candles["open_time"].dt.tz_localize(None)
    first: dict[str, Any] = taught.summary["forecast"]["rows"][0]
    answer = model.predict(candles)
    assert answer["q0.5_usd"].iloc[0] == pytest.approx(first["median"], rel=1e-6)
    with pytest.raises(mlflow.exceptions.MlflowException, match=FEATURE):
        model.predict(candles.drop(columns=FEATURE))


def test_the_same_retrain_is_not_done_twice(
    taught: Run, retrain: Callable[..., Run], mood: Path
) -> None:
    series = f"{{name: mood, path: {mood}, before: 50}}"
    again = retrain(*ASKED, "--exogenous", series, home=taught.home)
    assert again.summary["model_version"] == taught.summary["model_version"]
    assert not any(line.startswith("train") for line in again.stderr.splitlines())


def test_a_forecast_needs_the_series_that_the_champion_reads(
    taught: Run, mood: Path, prefect_api: str
) -> None:
    series = f"{{name: mood, path: {mood}, before: 50}}"
    env = environment(taught.home, PREFECT_API_URL=prefect_api)
    plain = ("forecast", "--source", "sample", "--as-of", "2025-06-30")
    refused = btc(*plain, env=env, cwd=taught.home)
    assert refused.returncode == 1
    assert f"reads {FEATURE}, which these candles lack" in refused.stderr.splitlines()[-1]
    given = btc(*plain, "--exogenous", series, env=env, cwd=taught.home)
    assert given.returncode == 0, given.stderr
