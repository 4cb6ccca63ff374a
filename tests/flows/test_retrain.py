"""The whole way, as a user goes it: `btc` in a process, a real Prefect server, real MLflow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import requests
import yaml
from mlflow import MlflowClient

from tests.browser import look_at
from tests.flows.conftest import QUICK, Run
from tests.servers import BIN, REPO, environment, free_port, running, wait_for

pytestmark = pytest.mark.server

MODEL = "gru + regression"
STAGES = [
    "ingest", "validate", "snapshot", "recall", "scale", "window", "train", "evaluate", "refit",
    "register", "rival", "decide", "report", "promote", "forecast", "score", "page",
    "clean",
]  # fmt: skip
SMALL_ASSIGNMENT = ("--set", "units=4", "--set", "dense_units=4", "--set", "epochs=1")
PROMOTED = "promoted(, unproven)?"
PLOTS = {"loss.svg", "skill.svg", "calibration.svg", "error.svg"}


@pytest.fixture(scope="module")
def client(sample_run: Run) -> MlflowClient:
    return MlflowClient(f"sqlite:///{sample_run.home / 'mlflow.db'}")


def test_summary_holds_what_a_machine_needs(sample_run: Run) -> None:
    summary = sample_run.summary
    assert summary["as_of"] == "2025-06-30"
    assert summary["snapshot_rows"] == 3000
    assert len(summary["snapshot_hash"]) == 64
    assert list(summary["seconds"]) == STAGES
    assert summary["verdict"] == "no evidence of skill"
    assert set(summary["metrics"]) == {MODEL, "naive"}
    assert set(summary["metrics"][MODEL]) == {"1", "2"}
    assert summary["config"]["recipe"]["units"] == 4
    for key in ("report", "plots", "predictions"):
        assert Path(summary["artifacts"][key]).exists()


def test_screen_is_quiet_and_says_synthetic(sample_run: Run) -> None:
    lines = sample_run.stderr.splitlines()
    assert [line.split()[0] for line in lines if ": loss" not in line] == STAGES
    assert "SYNTHETIC" in sample_run.stdout
    assert "Compare: btc ui --synthetic\n" in sample_run.stdout


def test_views_in_mlflow_show_what_a_run_holds(sample_run: Run, client: MlflowClient) -> None:
    run = client.get_run(sample_run.summary["run_id"])
    held = {f"metrics.`{name}`" for name in run.data.metrics}
    held |= {f"params.`{name}`" for name in run.data.params}
    held |= {f"tags.`{name}`" for name in run.data.tags}
    tags = client.get_experiment(run.info.experiment_id).tags
    shown: set[str] = set()
    for key in ("diary", "cells"):
        shown |= set(json.loads(tags[f"mlflow.sharedViewState.{key}"])["selectedColumns"])
    # This run looks two days ahead.
    assert shown - held == {"metrics.`skill_vs_naive_h7`"}
    assert "SYNTHETIC" in tags["mlflow.note.content"]
    [model] = client.search_registered_models()
    assert model.description == tags["mlflow.note.content"]


def test_run_in_mlflow_is_complete(sample_run: Run, client: MlflowClient) -> None:
    summary = sample_run.summary
    run = client.get_run(summary["run_id"])
    assert run.info.status == "FINISHED"
    params = run.data.params
    assert len(params) == 16
    assert (params["units"], params["source"], params["epochs"]) == ("4", "sample", "2")
    whole = Path(client.download_artifacts(run.info.run_id, "config.yaml")).read_text()
    assert yaml.safe_load(whole) == summary["config"]
    metrics, expected = run.data.metrics, summary["metrics"]
    shown = [name for name in metrics if "/" not in name]
    assert len(shown) <= 14
    assert metrics["rmse_usd_h1"] == pytest.approx(expected[MODEL]["1"]["rmse_usd"], rel=1e-4)
    assert metrics["naive/rmse_usd_h1"] == pytest.approx(
        expected["naive"]["1"]["rmse_usd"], rel=1e-4
    )
    assert metrics["crps_bp_h2"] == pytest.approx(expected[MODEL]["2"]["crps_bp"], rel=1e-4)
    assert all(len(f"{value:.9g}".strip("-0.").replace(".", "")) <= 5 for value in metrics.values())
    stages = set(STAGES) - {"page", "clean"}
    assert {f"seconds/{stage}" for stage in stages} <= set(metrics)
    for name, steps in (("val_loss", [1, 2]), ("crps_bp", [1, 2]), ("skill_vs_naive", [1, 2])):
        history = client.get_metric_history(run.info.run_id, name)
        assert sorted(point.step for point in history) == steps
    tags = run.data.tags
    assert tags["verdict"].startswith("range better than naive's (+")
    assert tags["verdict"].endswith(f"; price: {summary['verdict']}")
    assert (tags["label"], tags["kind"]) == ("SYNTHETIC", "retrain")
    assert {"symbol", "as_of", "model", "decision", "parent", "mlflow.source.git.commit"} <= set(
        tags
    )
    note = tags["mlflow.note.content"]
    assert "**SYNTHETIC**" in note and "Better than naive" in note and "| naive |" in note
    assert f"pages%2F{summary['as_of']}-fan.svg" in note
    assert re.fullmatch(
        rf"2025-06-30 gru \+ regression [+−][\d.]+ % · {PROMOTED} · SYNTHETIC", run.info.run_name
    )
    # From the first stage to the last.
    worked = (run.info.end_time - run.info.start_time) / 1000
    assert worked >= sum(summary["seconds"].values()) - 1
    [logged] = client.search_logged_models([run.info.experiment_id])
    assert logged.name == "2025-06-30 gru + regression"
    about = {(metric.key, metric.dataset_digest) for metric in logged.metrics}
    assert ("crps_bp_h1", summary["snapshot_hash"][:36]) in about
    dataset = run.inputs.dataset_inputs[0]
    assert dataset.dataset.digest == summary["snapshot_hash"][:36]
    assert summary["snapshot_hash"] in {tag.value for tag in dataset.tags}


def test_plots_and_predictions_are_artifacts(sample_run: Run, client: MlflowClient) -> None:
    run_id = sample_run.summary["run_id"]
    assert {Path(item.path).name for item in client.list_artifacts(run_id, "plots")} == PLOTS
    top = {item.path for item in client.list_artifacts(run_id)}
    assert {"predictions.parquet", "pages", "summary.json"} <= top
    predictions = pd.read_parquet(sample_run.summary["artifacts"]["predictions"])
    assert set(predictions["model"]) == {MODEL, "naive", "garch", "scale_regression"}


PROBE = """<script>addEventListener("load", () => document.title = JSON.stringify({
    charts: [...document.querySelectorAll("svg")].map((svg) => svg.getBoundingClientRect().width),
    overflow: document.documentElement.scrollWidth - innerWidth,
}))</script>"""


@pytest.mark.parametrize("width", [500, 1280])
def test_the_report_fits_a_browser_with_all_its_plots(
    sample_run: Run, tmp_path: Path, width: int
) -> None:
    page = tmp_path / "report.html"
    page.write_text(Path(sample_run.summary["artifacts"]["report"]).read_text() + PROBE)
    shown_page = look_at(page.as_uri(), tmp_path / "profile", width)
    seen = json.loads(re.search("<title>(.*?)</title>", shown_page)[1])  # type: ignore[index]
    # Each chart is there wide and narrow, and one of the two is shown.
    shown = [size for size in seen["charts"] if size]
    assert len(shown) == len(seen["charts"]) / 2 == 4 and min(shown) > 350
    assert seen["overflow"] <= 0
    assert "SYNTHETIC" in shown_page


def test_synthetic_model_has_a_name_of_its_own(sample_run: Run, client: MlflowClient) -> None:
    names = [model.name for model in client.search_registered_models()]
    assert names == ["btc-usd-synthetic"]
    for alias in ("challenger", "champion"):
        version = client.get_model_version_by_alias("btc-usd-synthetic", alias)
        assert str(version.version) == sample_run.summary["model_version"]
        assert "\n\nSYNTHETIC\n\n" in version.description


def test_nothing_of_the_run_is_left_in_the_work_folder(sample_run: Run) -> None:
    assert list((sample_run.home / "work").iterdir()) == []


def test_model_loads_and_forecasts_in_a_clean_process(sample_run: Run, tmp_path: Path) -> None:
    """Outside the repository, and with it off the import path: the model brings its own code."""
    snapshot = sample_run.home / "snapshots" / sample_run.summary["snapshot_hash"]
    script = f"""
        import sys
        sys.path = [p for p in sys.path if p and p != {str(REPO)!r}]
        sys.meta_path = [f for f in sys.meta_path if "editable" not in str(f).lower()]
        import mlflow, pandas
        model = mlflow.pyfunc.load_model("models:/btc-usd-synthetic@challenger")
        candles = pandas.read_parquet({str(snapshot / "candles.parquet")!r})
        candles["open_time"] = candles["open_time"].dt.tz_localize(None)
        model.predict(candles.tail(400)).to_parquet("forecast.parquet")
        import models
        assert {str(sample_run.home)!r} in models.__file__, models.__file__
    """
    uri = f"sqlite:///{sample_run.home / 'mlflow.db'}"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env=environment(tmp_path, MLFLOW_TRACKING_URI=uri),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    forecast = pd.read_parquet(tmp_path / "forecast.parquet")
    assert list(forecast["step"]) == [1, 2]
    assert list(forecast["target_date"].dt.strftime("%Y-%m-%d")) == ["2025-07-01", "2025-07-02"]
    assert (forecast["q0.05_usd"] < forecast["q0.95_usd"]).all()


def test_model_answers_over_http(sample_run: Run, tmp_path: Path) -> None:
    uri, port = f"sqlite:///{sample_run.home / 'mlflow.db'}", free_port()
    command = [
        str(BIN / "mlflow"), "models", "serve", "--env-manager", "local", "--port", str(port),
        "--model-uri", "models:/btc-usd-synthetic@challenger",
    ]  # fmt: skip
    snapshot = sample_run.home / "snapshots" / sample_run.summary["snapshot_hash"]
    candles = pd.read_parquet(snapshot / "candles.parquet").tail(400)
    candles["open_time"] = candles["open_time"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    log = tmp_path / "serve.log"
    env = environment(tmp_path, MLFLOW_TRACKING_URI=uri)
    with running(command, env=env, cwd=tmp_path, log=log):
        wait_for(f"http://127.0.0.1:{port}/health", log)
        reply = requests.post(
            f"http://127.0.0.1:{port}/invocations",
            json={"dataframe_split": candles.to_dict(orient="split", index=False)},
            timeout=60,
        )
    assert reply.status_code == 200, reply.text
    rows = reply.json()["predictions"]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["q0.5_usd"] > 0 for row in rows)


def test_reproduction_is_labelled_and_gets_no_alias(retrain: Callable[..., Run]) -> None:
    """The classroom recipe with fewer units and epochs, on closes alone."""
    run = retrain(
        "--source", "sample", "--as-of", "2025-06-30", "--preset", "assignment", *SMALL_ASSIGNMENT,
        code=1,
    )  # fmt: skip
    assert "btc: no forecast: btc-usd-synthetic has no champion yet" in run.stderr
    assert run.summary["aliases"] == []
    assert set(run.summary["metrics"]) == {"assignment", "naive"}
    assert "reproduction: leaks the future, never promoted" in run.stdout
    report = Path(run.summary["artifacts"]["report"]).read_text()
    assert "leaks the future, never promoted" in report


def test_close_only_file_leaves_features_out_and_says_so(
    retrain: Callable[..., Run], sample_run: Run, tmp_path: Path
) -> None:
    snapshot = sample_run.home / "snapshots" / sample_run.summary["snapshot_hash"]
    candles = pd.read_parquet(snapshot / "candles.parquet").tail(600)
    days = candles["open_time"].dt.strftime("%Y-%m-%d")
    path = tmp_path / "closes.csv"
    pd.DataFrame({"Close": candles["close"], "DATE": days})[::-1].to_csv(path, index=False)
    # Its candles are too old to forecast from today.
    run = retrain("--source", f"csv:{path}", *QUICK, code=1)
    assert {"relative_range", "log_volume_ratio"} <= set(run.summary["features_left_out"])
    assert "relative_range" in run.stdout
    assert run.summary["registered_model"] == "btc-usd"
    assert run.summary["as_of"] == "2025-06-30"


def test_same_seed_gives_the_same_numbers_again(
    retrain: Callable[..., Run], sample_run: Run
) -> None:
    again = retrain("--source", "sample", "--as-of", "2025-06-30", *QUICK)
    assert again.summary["metrics"] == sample_run.summary["metrics"]
    mine, theirs = [run.summary["artifacts"]["predictions"] for run in (again, sample_run)]
    pd.testing.assert_frame_equal(pd.read_parquet(mine), pd.read_parquet(theirs), check_exact=True)
    assert os.path.realpath(mine) != os.path.realpath(theirs)


def test_an_old_file_is_learned_from_though_nothing_is_forecast(
    retrain: Callable[..., Run], sample_run: Run, tmp_path: Path
) -> None:
    """A retrain on history, asked for today, ends well; the forecast says why there is none."""
    snapshot = sample_run.home / "snapshots" / sample_run.summary["snapshot_hash"]
    path = tmp_path / "old.csv"
    pd.read_parquet(snapshot / "candles.parquet").tail(600).to_csv(path, index=False)
    command = ("--source", f"csv:{path}", "--preset", "assignment", *SMALL_ASSIGNMENT)
    run = retrain(*command, code=1)
    assert "days old" in run.summary["forecast"]["refused"]
    assert "days old" in run.stderr
