"""The scheduled way: a real Prefect server, `prefect deploy --all`, a worker, a watched run."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient

from tests.flows.test_retrain import STAGES
from tests.servers import BIN, REPO, environment, prefect_server, running

pytestmark = pytest.mark.server


def wait_for_scheduled(api: str) -> str:
    """The start of the first run that the server's own scheduler has planned."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        flows = {"name": {"any_": ["retrain"]}}
        body = {"sort": "EXPECTED_START_TIME_ASC", "flows": flows}
        runs = requests.post(f"{api}/flow_runs/filter", json=body, timeout=10).json()
        if runs:
            return str(runs[0]["expected_start_time"])
        time.sleep(1)
    raise TimeoutError("the scheduler planned no run within a minute")


def test_deployed_retrain_runs_on_a_worker(tmp_path: Path) -> None:
    with prefect_server(tmp_path / "prefect") as api:
        env = environment(
            tmp_path / "state", PREFECT_API_URL=api, PREFECT_HOME=str(tmp_path / "prefect")
        )

        def prefect(*arguments: str) -> str:
            done = subprocess.run(
                [str(BIN / "prefect"), "--no-prompt", *arguments],
                env=env | {"PWD": str(REPO)},
                cwd=REPO,
                capture_output=True,
                text=True,
                timeout=240,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        prefect("work-pool", "create", "btc", "--type", "process")
        prefect("deploy", "--all")
        deployment = requests.get(
            f"{api}/deployments/name/retrain/daily-retrain", timeout=10
        ).json()
        schedule = deployment["schedules"][0]["schedule"]
        assert (schedule["cron"], schedule["timezone"]) == ("20 0 * * *", "UTC")
        assert deployment["global_concurrency_limit"] is None
        assert "recipe" in json.dumps(deployment["parameter_openapi_schema"])

        assert wait_for_scheduled(api).endswith("T00:20:00Z")

        worker = [str(BIN / "prefect"), "worker", "start", "--pool", "btc"]
        with running(worker, env=env, cwd=tmp_path, log=tmp_path / "worker.log"):
            quick = {
                "units": 4,
                "lookback": 10,
                "horizon": 2,
                "training": {"kind": "chunks", "epochs": 2},
            }
            config = {"source": "sample", "recipe": quick}
            told = prefect(
                "deployment",
                "run",
                "retrain/daily-retrain",
                "--watch",
                "--param",
                f"config={json.dumps(config)}",
            )
            assert "finished successfully" in told, (tmp_path / "worker.log").read_text()

        runs = requests.post(
            f"{api}/task_runs/filter", json={"sort": "EXPECTED_START_TIME_ASC"}, timeout=10
        )
        tasks = sorted(runs.json(), key=lambda run: run["start_time"])
        assert [run["name"] for run in tasks] == STAGES
        assert {run["state_name"] for run in tasks} == {"Completed"}
        artifacts = requests.post(f"{api}/artifacts/filter", json={}, timeout=10).json()
        kinds = {artifact["type"] for artifact in artifacts}
        assert {"progress", "markdown", "table"} <= kinds
        progress = next(item for item in artifacts if item["type"] == "progress")
        assert progress["data"] == 100
        texts = [item["data"] for item in artifacts if item["type"] == "markdown"]
        assert len(texts) == 2  # the decision and the report
        assert all("SYNTHETIC" in text for text in texts)

    client = MlflowClient(f"sqlite:///{tmp_path / 'state' / 'mlflow.db'}")
    champion = client.get_model_version_by_alias("btc-usd-synthetic", "champion")
    assert str(champion.version) == "1"
