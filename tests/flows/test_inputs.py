"""A retrain with an exogenous series and a companion, from the options to the served model."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from models.config.flows import RetrainConfig
from models.data.sample import make_sample
from models.scoring.promotion import predict_twin
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
    return retrain(*ASKED, "--exogenous", series, "--companions", "sample:planted")


@pytest.fixture
def client(taught: Run) -> MlflowClient:
    return MlflowClient(f"sqlite:///{taught.home / 'mlflow.db'}")


def snapshot_of(run: Run) -> pd.DataFrame:
    folder = run.home / "snapshots" / run.summary["snapshot_hash"]
    return pd.read_parquet(folder / "candles.parquet")


def companion_of(run: Run) -> Path:
    [path] = (run.home / "companions").glob("*.parquet")
    return path


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


def test_what_taught_is_recorded_by_its_hash(taught: Run, client: MlflowClient) -> None:
    run = client.get_run(taught.summary["run_id"])
    used = {
        item.tags[0].value: {tag.key: tag.value for tag in item.tags}["sha256"]
        for item in run.inputs.dataset_inputs
    }
    assert len(used) == 2
    hashes = {tag.value for item in run.inputs.dataset_inputs for tag in item.tags}
    companion = companion_of(taught).stem
    assert {taught.summary["snapshot_hash"], companion, "training", "companion"} <= hashes
    assert json.loads(run.data.tags["companions"]) == {"sample:planted (SYNTHETIC)": companion}
    assert "mood" in run.data.params["exogenous"]
    assert "companions" in taught.summary["seconds"]


def test_the_run_is_the_twin_of_its_recipe_bit_for_bit(taught: Run) -> None:
    """What the flow trained in its process is what the same inputs give in this one."""
    config = RetrainConfig.model_validate(taught.summary["config"])
    friend = pd.read_parquet(companion_of(taught))
    candles = snapshot_of(taught)
    again = predict_twin(config.recipe, candles, config.judging, companions=[friend])
    found = pd.read_parquet(taught.summary["artifacts"]["predictions"])
    mine = found[found["model"] == "gru"].reset_index(drop=True)
    columns = [name for name in again if name.startswith("q")]
    assert mine[columns].to_numpy().tobytes() == again[columns].to_numpy().tobytes()
    alone = predict_twin(config.recipe, candles, config.judging)
    assert alone[columns].to_numpy().tobytes() != again[columns].to_numpy().tobytes()


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


def test_the_same_retrain_is_not_done_twice_and_other_companions_are_another(
    taught: Run, retrain: Callable[..., Run], mood: Path, prefect_api: str
) -> None:
    series = f"{{name: mood, path: {mood}, before: 50}}"
    again = retrain(
        *ASKED, "--exogenous", series, "--companions", "sample:planted", home=taught.home
    )
    assert again.summary["model_version"] == taught.summary["model_version"]
    assert not any(line.startswith("train") for line in again.stderr.splitlines())
    other = retrain(*ASKED, "--exogenous", series, home=taught.home)
    assert other.summary["model_version"] == "2"
    assert other.summary["snapshot_hash"] == taught.summary["snapshot_hash"]
    # The champion learned from a companion: another recipe, compared as it was taught.
    [reason] = other.summary["decision"]["reasons"]
    scores = re.findall(r"[0-9.]+(?= bp)", reason)
    assert "version 1" in reason and len(scores) == 2 and scores[0] != scores[1]

    env = environment(taught.home, PREFECT_API_URL=prefect_api)
    plain = ("forecast", "--source", "sample", "--as-of", "2025-06-30")
    refused = btc(*plain, env=env, cwd=taught.home)
    assert refused.returncode == 2
    assert f"reads {FEATURE}, which these candles lack" in refused.stderr.splitlines()[-1]
    given = btc(*plain, "--exogenous", series, env=env, cwd=taught.home)
    assert given.returncode == 0, given.stderr


def test_real_candles_are_not_trained_with_made_up_ones(tmp_path: Path, prefect_api: str) -> None:
    path = tmp_path / "x.csv"
    make_sample(dt.date(2025, 6, 30)).rename(columns={"open_time": "date"}).to_csv(path)
    env = environment(tmp_path, PREFECT_API_URL=prefect_api)
    asked = ("--source", f"csv:{path}", "--as-of", "2025-06-30", "--companions", "sample")
    done = btc("retrain", *asked, env=env, cwd=tmp_path)
    assert done.returncode == 2
    assert "companion sample: its candles are made up" in done.stderr.splitlines()[-1]
