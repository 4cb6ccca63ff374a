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

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"


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
    few, none = frame.tail(5), frame.head(0)

    def post(body: Any, kind: str = JSON) -> requests.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return requests.post(server, data=data, headers={"Content-Type": kind}, timeout=60)

    right = post(split(frame))
    assert right.status_code == 200, right.text
    rows = right.json()["predictions"]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert post(parquet(frame), PARQUET).json()["predictions"] == rows
    assert post(split(pd.concat([frame] * 200))).json()["predictions"] == rows
    # What the model does not read is not looked at.
    assert post(changed(frame, "volume", "soon")).json()["predictions"] == rows

    ours: list[tuple[Any, str]] = [
        (split(few), "too few candles"),
        (split(none), "received no row"),
        (none.to_csv(index=False).encode(), "received no row"),
        (parquet(none), "received no row"),
        (changed(frame, "close", None), "close is nan on 2026-09-29"),
        (changed(frame, "close", float("nan")), "close is nan"),
        (changed(frame, "close", float("inf")), "close is inf"),
        (changed(frame, "close", -1.0), "close is -1 on"),
        (changed(frame, "close", 0.0), "close is 0 on"),
        (changed(frame, "close", 1e308), "close is 1e+308 on 2026-09-29"),
        (changed(frame, "close", True), "close is 1 on 2026-09-29"),
        (changed(frame, "open_time", None), "received none in some rows"),
        (split(frame.drop(index=range(100, 150))), "50 missing days"),
        (split(frame.assign(open_time=frame["open_time"] + pd.Timedelta(hours=5))), "midnight"),
        (split(frame.assign(close=1.79e308)), "too large"),
    ]
    for body, message in ours:
        kind = JSON if isinstance(body, dict) else PARQUET if body[:3] == b"PAR" else CSV
        reply = post(body, kind)
        assert reply.status_code == 400, (message, reply.text)
        told = reply.json()
        assert message in told["message"] and "\n" not in told["message"], told
        assert "stack_trace" not in told

    mlflows: list[tuple[Any, str]] = [
        (b"", JSON), (b"{", JSON), (b"null", JSON), (b"[]", JSON), (b"{}", JSON), (b"\xff", JSON),
        ({"dataframe_split": None}, JSON), ({"dataframe_split": {}}, JSON),
        ({"dataframe_split": [1]}, JSON), ({"dataframe_split": {"columns": [], "data": []}}, JSON),
        ({"dataframe_records": 5}, JSON), ({"dataframe_records": [5]}, JSON),
        ({"dataframe_records": [{}]}, JSON), ({"inputs": "x"}, JSON), ({"instances": {}}, JSON),
        (split(frame.drop(columns="close")), JSON), (changed(frame, "close", "soon"), JSON),
        (changed(frame, "close", [1]), JSON), (changed(frame, "close", {"a": 1}), JSON),
        (changed(frame, "close", 10**400), JSON), (changed(frame, "open_time", "soon"), JSON),
        (changed(frame, "open_time", "99999-01-01"), JSON), (changed(frame, "open_time", 5), JSON),
        (b"", CSV), (b"\xff\xfe\x00", CSV), (b"close\nx\n", CSV), (b'"', CSV),
        (b"PAR1", PARQUET), (b"", PARQUET), (parquet(frame)[:-20], PARQUET),
    ]  # fmt: skip
    for body, kind in mlflows:
        reply = post(body, kind)
        assert reply.status_code == 400, (body, reply.text)
        assert len(reply.text.splitlines()) == 1
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
    assert load_version(version).recipe.cell == "rnn"
    assert mlflow.pyfunc.load_model(f"models:/{NAME}@champion").predict
    assert not [
        path for path in one_day.rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib")
    ]
