"""Log: a backtest's scores, plots and frame in MLflow."""

from __future__ import annotations

import time
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from models.config.flows import BacktestConfig
from models.naming import flatten, model_name
from models.records import ComparedRecord, LoggedRecord, SnapshotRecord
from models.reporting.backtest_page import describe_backtest
from models.reporting.render import render_chart, render_page
from tasks.registry.connection import code_version, connect, find_experiment
from tasks.registry.views import BACKTESTS, set_views
from tasks.stage import stage
from tasks.storage.files import read_frame, write_text


@stage("log", retries=3)
def log_backtest(
    config: BacktestConfig, snapshot: SnapshotRecord, compared: ComparedRecord
) -> LoggedRecord:
    """Log the backtest to MLflow: a parent run with plots and frame, one child run a model."""
    client = connect()
    name = f"{model_name(config.symbol, snapshot.synthetic)}-backtest"
    experiment = find_experiment(client, name)
    set_views(client, experiment, BACKTESTS)
    summary = compared.summary
    label = "SYNTHETIC " if snapshot.synthetic else ""
    tags = _run_tags(config, snapshot, summary)
    title = f"{label}backtest to {snapshot.as_of}"
    run_id = client.create_run(experiment, run_name=title, tags=tags).info.run_id
    try:
        _log_parent(client, run_id, config, compared, snapshot.synthetic)
        for model in (*config.recipes, *config.baselines):
            own = tags | {"mlflow.parentRunId": run_id, "model": model}
            _log_child(client, experiment, summary["horizons"], own)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    return LoggedRecord(experiment=name, run_id=run_id)


def _log_parent(
    client: MlflowClient,
    run_id: str,
    config: BacktestConfig,
    compared: ComparedRecord,
    synthetic: bool,
) -> None:
    params = flatten(config.model_dump(mode="json"))
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in params.items()])
    facts = describe_backtest(read_frame(compared.frame_path), compared.summary, config.recipes)
    for chart in facts["charts"]:
        client.log_text(run_id, render_chart(chart), f"plots/{chart.name}.svg")
    facts |= {"title": "Backtest", "symbol": config.symbol, "synthetic": synthetic}
    facts |= {"refit_days": config.refit_days, "config": config.model_dump(mode="json")}
    page = compared.frame_path.with_name("page.html")
    write_text(render_page("backtest", facts), page)
    client.log_artifact(run_id, str(page))
    client.log_artifact(run_id, str(compared.frame_path))
    client.log_artifact(run_id, str(compared.frame_path.with_name("summary.json")))


def _log_child(
    client: MlflowClient, experiment: str, horizons: dict[str, Any], tags: dict[str, str]
) -> None:
    """Log one model's scores and tests as a run of its own; a metric's step is the day ahead."""
    model = tags["model"]
    child = client.create_run(experiment, run_name=model, tags=tags).info.run_id
    now = int(1000 * time.time())
    metrics = []
    for step, horizon in horizons.items():
        values = dict(horizon["models"].get(model, {}))
        values |= {f"dm_t_{test['b']}": test["t"] for test in horizon["dm"] if test["a"] == model}
        metrics += [
            Metric(key, float(value), now, int(step))
            for key, value in values.items()
            if isinstance(value, int | float)
        ]
    client.log_batch(child, metrics=metrics)
    client.set_terminated(child)


def _run_tags(
    config: BacktestConfig, snapshot: SnapshotRecord, summary: dict[str, Any]
) -> dict[str, str]:
    label = "SYNTHETIC " if snapshot.synthetic else ""
    note = (
        f"{label}Walk-forward backtest of {', '.join(config.recipes)} against "
        f"{', '.join(config.baselines)}: {summary['n_origins']:,} origins from "
        f"{summary['first_origin']} to {summary['last_origin']}, refitted every "
        f"{config.refit_days} days."
    )
    return {
        "symbol": config.symbol,
        "source": snapshot.source,
        "snapshot_sha256": snapshot.sha256,
        "code_version": code_version(),
        "mlflow.note.content": note,
    }
