"""A registered version behind MLflow's own server, over HTTP: no input ends in a 500."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
import uvicorn
from mlflow.pyfunc import scoring_server

from tasks.registry.aliases import find_champion
from tasks.registry.connection import connect
from tasks.registry.model_files import load_version
from tests.servers import free_port
from tests.simulation.days import NAME

pytestmark = pytest.mark.server

JSON, CSV, PARQUET = "application/json", "text/csv", "application/x-parquet"


@pytest.fixture
def server(one_day: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of MLflow's scoring server with the champion of the state folder."""
    connect()
    monkeypatch.setenv("__MLFLOW_IN_SERVING_ENVIRONMENT", "true")  # what it sets ends with the test
    app = scoring_server.init(mlflow.pyfunc.load_model(f"models:/{NAME}@champion"))
    port = free_port()
    served = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical"))
    thread = threading.Thread(target=served.run, daemon=True)
    thread.start()
    while not served.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/invocations"
    served.should_exit = True
    thread.join(20)


def split(frame: pd.DataFrame) -> dict[str, Any]:
    return {"dataframe_split": json.loads(frame.to_json(orient="split", date_format="iso"))}


def changed(frame: pd.DataFrame, column: str, value: object, row: int = -3) -> dict[str, Any]:
    body = split(frame)["dataframe_split"]
    body["data"][row][body["columns"].index(column)] = value
    return {"dataframe_split": body}


def parquet(frame: pd.DataFrame) -> bytes:
    sink = BytesIO()
    frame.to_parquet(sink, index=False)
    return sink.getvalue()


def test_whatever_is_sent_is_answered_with_a_forecast_or_a_400(server: str, one_day: Path) -> None:
    [path] = one_day.glob("snapshots/*/candles.parquet")
    frame = pd.read_parquet(path).assign(
        open_time=lambda f: f["open_time"].dt.tz_localize(None).astype("datetime64[ns]")
    )
    few, none = frame.tail(20), frame.head(0)
    long = pd.concat([frame] * 200, ignore_index=True)

    def post(body: Any, kind: str = JSON) -> requests.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return requests.post(server, data=data, headers={"Content-Type": kind}, timeout=60)

    right = post(split(frame))
    assert right.status_code == 200, right.text
    rows = right.json()["predictions"]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert post(frame.to_csv(index=False).encode(), CSV).json()["predictions"] == rows
    assert post(parquet(frame), PARQUET).json()["predictions"] == rows

    bad: list[tuple[Any, str]] = [
        (b"", JSON), (b"{", JSON), (b"null", JSON), (b"[]", JSON), (b"{}", JSON), (b"\xff", JSON),
        (b"[" * 100_000, JSON), (b'{"dataframe_split": ' * 5000, JSON),
        ({"dataframe_split": None}, JSON), ({"dataframe_split": {}}, JSON),
        ({"dataframe_split": [1]}, JSON), ({"dataframe_split": {"columns": [], "data": []}}, JSON),
        ({"dataframe_records": 5}, JSON), ({"dataframe_records": [5]}, JSON),
        ({"dataframe_records": [{}]}, JSON), ({"inputs": "x"}, JSON), ({"instances": {}}, JSON),
        ({"inputs": {"open_time": [1], "close": [2]}}, JSON),
        ({"dataframe_split": split(frame)["dataframe_split"], "params": {"x": 1}, "y": 2}, JSON),
        (split(none), JSON), (split(few), JSON), (split(frame.drop(columns="close")), JSON),
        (changed(frame, "close", None), JSON), (changed(frame, "close", "soon"), JSON),
        (changed(frame, "close", [1]), JSON), (changed(frame, "close", {"a": 1}), JSON),
        (changed(frame, "close", -1.0), JSON), (changed(frame, "close", 0.0), JSON),
        (changed(frame, "close", 1e308), JSON), (changed(frame, "close", 10**400), JSON),
        (changed(frame, "close", float("nan")), JSON), (changed(frame, "high", float("inf")), JSON),
        (changed(frame, "volume", -5), JSON), (changed(frame, "close", True), JSON),
        (changed(frame, "open_time", None), JSON), (changed(frame, "open_time", "soon"), JSON),
        (changed(frame, "open_time", "99999-01-01"), JSON), (changed(frame, "open_time", 5), JSON),
        (changed(frame, "open_time", "2024-05-05T12:34:56"), JSON),
        (split(frame.drop(index=range(100, 150))), JSON), (split(long), JSON),
        (split(frame.assign(close=1e300, open=1e300, high=1e300, low=1e300)), JSON),
        (split(frame.assign(close=frame["close"] * np.geomspace(1, 1e300, len(frame)))), JSON),
        (b"", CSV), (b"\xff\xfe\x00", CSV), (b"close\nx\n", CSV), (b'"', CSV),
        (none.to_csv(index=False).encode(), CSV), (few.to_csv(index=False).encode(), CSV),
        (parquet(none), PARQUET), (parquet(few), PARQUET), (b"PAR1", PARQUET), (b"", PARQUET),
    ]  # fmt: skip
    answers = []
    for body, kind in bad:
        reply = post(body, kind)
        told = reply.json()
        answers.append((reply.status_code, kind, str(body)[:80], told["message"][-300:]))
    for one in answers:
        print(one)
    assert {status for status, *_ in answers} == {400}
    assert post(split(frame)).json()["predictions"] == rows


def test_loading_a_version_unpickles_nothing(
    one_day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was unpickled")

    for module in (pickle, cloudpickle):
        for name in ("load", "loads"):
            monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    version = find_champion(connect(), NAME)
    assert version is not None
    assert load_version(version).recipe.cell == "gru"
    assert mlflow.pyfunc.load_model(f"models:/{NAME}@champion").predict
    assert not [
        path for path in one_day.rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib")
    ]
