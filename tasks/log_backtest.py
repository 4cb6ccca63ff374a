"""Log: a backtest's scores, plots and frame in MLflow."""

from __future__ import annotations

from mlflow import MlflowClient

from models.config.flows import BacktestConfig
from models.naming import model_name, run_labels
from models.records import ComparedRecord, LoggedRecord, SnapshotRecord
from models.reporting.backtest_page import describe_backtest
from models.reporting.backtest_runs import (
    backtest_params,
    child_metrics,
    describe_parent,
    name_child,
    name_parent,
    rank_models,
)
from models.reporting.render import render_chart, render_page
from models.reporting.runs import describe_model
from tasks.registry.connection import artifact_address, connect, find_experiment
from tasks.registry.runs import create_run, ended, log_config, log_params, log_points, origin_tags
from tasks.registry.views import BACKTESTS, set_views
from tasks.stage import stage
from tasks.storage.files import read_frame, write_text


@stage("log", retries=3)
def log_backtest(
    config: BacktestConfig, snapshot: SnapshotRecord, compared: ComparedRecord
) -> LoggedRecord:
    """Log the backtest to MLflow: a parent run with plots and frame, one child run a model.

    The best model comes last, so that MLflow, which shows the newest first, begins with it.
    """
    client, summary = connect(), compared.summary
    name = f"{model_name(config.symbol, snapshot.synthetic)}-backtest"
    experiment = find_experiment(client, name)
    tags = {"symbol": config.symbol, "snapshot_sha256": snapshot.sha256} | origin_tags("backtest")
    ranked = rank_models(summary)
    title = name_parent(config, summary, snapshot.synthetic)
    run_id = create_run(client, experiment, title, tags | {"winner": ranked[0]})
    with ended(run_id):
        _log_parent(client, run_id, config, compared, snapshot.synthetic)
        for model in reversed(ranked):
            own = tags | {"mlflow.parentRunId": run_id, "model": model}
            child = client.create_run(
                experiment, run_name=name_child(model, config, summary), tags=own
            ).info.run_id
            with ended(child):
                log_params(client, child, backtest_params(model, config, summary))
                log_points(client, child, child_metrics(model, summary))
        about = f"Backtests. {describe_model(config.symbol, snapshot.synthetic)}"
        set_views(client, experiment, about, BACKTESTS)
    return LoggedRecord(experiment=name, run_id=run_id)


def _log_parent(
    client: MlflowClient,
    run_id: str,
    config: BacktestConfig,
    compared: ComparedRecord,
    synthetic: bool,
) -> None:
    log_config(client, run_id, config, backtest_params("", config, compared.summary))
    labels = run_labels(synthetic, reproduction=False)
    note = describe_parent(config, compared.summary, labels, artifact_address(run_id, "page.html"))
    client.set_tag(run_id, "mlflow.note.content", note)
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
