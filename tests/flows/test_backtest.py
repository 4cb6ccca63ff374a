"""`btc backtest` as a user runs it: real Prefect, real processes, real MLflow."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from flows.cli.app import main
from tests.servers import btc, environment

pytestmark = pytest.mark.server

ASKED = (
    "--source", "sample", "--start", "2025-05-01", "--end", "2025-06-30", "--refit-days", "31",
    "--recipes", "default,gru", "--baselines", "naive,garch", "--horizon", "2",
)  # fmt: skip


@dataclass(frozen=True)
class Backtest:
    home: Path
    summary: dict[str, Any]
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def backtest(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Backtest]:
    def run(*arguments: str, home: Path | None = None) -> Backtest:
        home = home or tmp_path_factory.mktemp("home")
        target = home / "backtest.json"
        env = environment(home, PREFECT_API_URL=prefect_api)
        command = ("backtest", *ASKED, *arguments, "--json", str(target))
        done = btc(*command, env=env, cwd=home, timeout=600)
        assert done.returncode == 0, done.stderr
        return Backtest(home, json.loads(target.read_text()), done.stdout, done.stderr)

    return run


@pytest.fixture(scope="module")
def one_job(backtest: Callable[..., Backtest]) -> Backtest:
    return backtest("--jobs", "1")


def test_json_says_what_was_asked_and_found(one_job: Backtest) -> None:
    summary = one_job.summary
    assert summary["symbol"] == "BTC/USD"
    assert summary["synthetic"] is True
    assert summary["n_origins"] == 61
    assert (summary["first_origin"], summary["last_origin"]) == ("2025-04-30", "2025-06-29")
    assert set(summary["horizons"]) == {"1", "2"}
    for horizon in summary["horizons"].values():
        assert list(horizon["models"]) == ["default", "gru", "naive", "garch"]
        for scores in horizon["models"].values():
            assert {"crps_bp", "coverage_90", "width_90", "mae_bp", "rmse_usd"} <= set(scores)
        pairs = {(test["a"], test["b"]) for test in horizon["dm"]}
        assert ("default", "naive") in pairs and ("gru", "garch") in pairs
        assert all({"a", "b", "t", "p", "crps_diff_pct"} == set(test) for test in horizon["dm"])
    assert set(summary["seconds"]["folds"]) == {"default", "gru", "naive", "garch"}
    assert "SYNTHETIC" in one_job.stdout
    assert "WARNING" not in one_job.stderr


def test_every_origin_is_scored_once_in_one_long_frame(one_job: Backtest) -> None:
    frame = pd.read_parquet(one_job.summary["artifacts"]["forecasts"])
    assert not frame.duplicated(["model", "origin", "step"]).any()
    assert len(frame) == 4 * (61 + 60)
    first = frame[(frame["model"] == "default") & (frame["step"] == 1)]
    scores = one_job.summary["horizons"]["1"]["models"]["default"]
    assert first["crps_bp"].mean() == pytest.approx(scores["crps_bp"])


def test_mlflow_has_a_parent_and_a_child_for_every_model(one_job: Backtest) -> None:
    client = MlflowClient(f"sqlite:///{one_job.home / 'mlflow.db'}")
    parent = client.get_run(one_job.summary["run_id"])
    assert parent.info.status == "FINISHED"
    assert "SYNTHETIC" in parent.data.tags["mlflow.note.content"]
    plots = {Path(item.path).name for item in client.list_artifacts(parent.info.run_id, "plots")}
    assert plots == {"difference.svg", "years.svg", "skill.svg", "pit.svg", "coverage.svg"}
    children = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    by_model = {run.data.tags["model"]: run for run in children}
    assert set(by_model) == {"default", "gru", "naive", "garch"}
    assert {run.data.tags["kind"] for run in (parent, *children)} == {"backtest"}
    assert all(run.info.status == "FINISHED" for run in children)
    first = one_job.summary["horizons"]["1"]["models"]
    ranked = sorted(first, key=lambda name: first[name]["crps_bp"])
    assert parent.data.tags["winner"] == ranked[0]
    assert f"best: {ranked[0]}" in parent.info.run_name
    assert list(by_model) == ranked  # the newest first
    default = by_model["default"]
    assert default.info.run_name.startswith("default (gru + regression) · CRPS ")
    asked = {"start": "2025-04-30", "end": "2025-06-29", "horizon": "2", "cell": "gru"}
    assert asked.items() <= default.data.params.items()
    metrics = default.data.metrics
    assert metrics["crps_bp_h1"] == pytest.approx(first["default"]["crps_bp"], rel=1e-4)
    gain = 1 - first["default"]["crps_bp"] / first["garch"]["crps_bp"]
    assert metrics["skill_vs_garch_h1"] == pytest.approx(gain, abs=1e-4)
    assert {"crps_bp_h2", "dm_t_h1", "skill_vs_naive_h1", "coverage_90_h1"} <= set(metrics)
    steps = client.get_metric_history(default.info.run_id, "crps_bp")
    assert sorted(point.step for point in steps) == [1, 2]
    assert "| default (gru + regression) |" in parent.data.tags["mlflow.note.content"]
    # From the first stage to the last.
    assert parent.info.end_time - parent.info.start_time > 1000


@pytest.mark.soak
def test_two_jobs_give_the_same_numbers(
    one_job: Backtest, backtest: Callable[..., Backtest]
) -> None:
    assert backtest("--jobs", "2").summary["horizons"] == one_job.summary["horizons"]


def test_an_interrupted_one_resumes_on_a_dask_cluster_with_the_same_numbers(
    one_job: Backtest, backtest: Callable[..., Backtest], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(one_job.home / "backtest" / "units", home / "backtest" / "units")
    # As if it had been interrupted before the network's folds were done.
    removed = list((home / "backtest" / "units").glob("gru-*.npz"))
    for path in removed:
        path.unlink()
    assert removed
    resumed = backtest("--runner", "dask", "--jobs", "2", home=home)
    assert resumed.summary["horizons"] == one_job.summary["horizons"]
    lines = [line for line in resumed.stderr.splitlines() if line.startswith("fold")]
    known = {line.split("s  ")[1].split(",")[0] for line in lines if "known already" in line}
    assert known == {"default", "naive", "garch"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--recipes", "gruu"), "did you mean 'gru'"),
        (("--baselines", "grach"), "did you mean 'garch'"),
        (("--start", "yesterday"), "expected a day as YYYY-MM-DD"),
        (("--start", "2030-01-01", "--end", "2029-01-01"), "end: expected"),
        (("--runner", "cluster"), "known: dask, processes"),
        (("--horizon", "0"), "horizon"),
    ],
)
def test_wrong_options_are_one_line_and_exit_2(
    tmp_path: Path,
    arguments: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["btc", "backtest", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
