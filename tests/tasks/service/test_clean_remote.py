"""Cleaning up what MLflow's server keeps in a bucket, which it alone can delete."""

from __future__ import annotations

import datetime as dt
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from mlflow import MlflowClient

from models.config.judging import Retention
from models.errors import CleaningError
from tasks.registry.artifacts import ArtifactFolder
from tasks.registry.connection import connect
from tasks.registry.versions import find_versions
from tasks.service.clean import clean_alone, delete
from tasks.service.rubbish import find_rubbish
from tests.servers import BIN, environment, free_port, running, wait_for
from tests.simulation.days import NAME

pytestmark = [pytest.mark.server, pytest.mark.soak]
STRICT = Retention(keep_days=1, keep_champions=0)
LATER = dt.date(2027, 6, 1)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    port, log = free_port(), tmp_path / "s3.log"
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with running(command, env=environment(tmp_path), cwd=tmp_path, log=log):
        wait_for(f"http://127.0.0.1:{port}/moto-api/", log)
        for key, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "made-up",
            "AWS_SECRET_ACCESS_KEY": "made-up-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(key, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="btc")
        yield client


@contextmanager
def mlflow_server(folder: Path, root: str) -> Iterator[str]:
    port, log = free_port(), folder / "mlflow.log"
    command = [str(BIN / "mlflow"), "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}", root, "s3://btc/mlflow"]
    env = environment(folder, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    with running(command, env=env, cwd=folder, log=log):
        wait_for(f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}"


def register_tiny(client: MlflowClient, experiment: str) -> None:
    """A version as a retrain leaves it, with files of a kilobyte each."""
    run = client.create_run(experiment)
    for name in ("summary.json", "predictions.parquet", "plots/loss.svg", "pages/day.html"):
        folder, _, file = name.rpartition("/")
        client.log_text(run.info.run_id, "x" * 1000, f"{folder}/{file}".strip("/"))
    model = client.create_logged_model(experiment, "tiny", source_run_id=run.info.run_id)
    weights = Path("weights.npz")
    weights.write_bytes(b"x" * 1000)
    client.log_model_artifact(model.model_id, str(weights))
    client.create_model_version(
        NAME,
        source=f"models:/{model.model_id}",
        model_id=model.model_id,
        run_id=run.info.run_id,
        tags={"as_of": "2026-10-01", "snapshot_sha256": "0" * 64},
    )


# The server hands the files on, or tells clients where they are.
@pytest.mark.parametrize("root", ["--artifacts-destination", "--default-artifact-root"])
def test_what_lies_in_a_bucket_goes_through_mlflow(
    own_home: Path, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with mlflow_server(tmp_path, root) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        client = connect()
        client.create_registered_model(NAME)
        experiment = client.create_experiment(NAME)
        for _ in range(3):
            register_tiny(client, experiment)
        client.set_registered_model_alias(NAME, "champion", "3")
        found = find_rubbish("BTC/USD", STRICT, LATER)
        assert sorted(item.n_bytes for item in found) == [1000, 1000, 3000, 3000]

        def fail(*_: object) -> None:
            raise OSError("cut off")

        with monkeypatch.context() as patch, pytest.raises(CleaningError, match="cut off"):
            patch.setattr(ArtifactFolder, "delete", fail)
            delete([item for item in found if "version 1, which" in item.what])
        clean_alone("BTC/USD", STRICT, LATER)
        assert [str(version.version) for version in find_versions(client, NAME)] == ["3"]
        assert find_rubbish("BTC/USD", STRICT, LATER) == []
    keys = [file["Key"] for file in bucket.list_objects_v2(Bucket="btc")["Contents"]]
    # What is left of the first version is its run without a version: its pictures stay.
    assert Counter(key.rpartition("/")[2] for key in keys)["weights.npz"] == 1
    assert Counter(key.rpartition("/")[2] for key in keys)["summary.json"] == 3
    assert Counter(key.rpartition("/")[2] for key in keys)["loss.svg"] == 2
