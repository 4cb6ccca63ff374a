"""Report: plots, tables and the summary, in MLflow, in Prefect and in a folder."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import time
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from models.config.flows import RetrainConfig
from models.naming import run_labels
from models.records import DecisionRecord, Trained, VersionRecord
from models.reporting.figures import (
    plot_loss,
    plot_prices,
    plot_recent,
    plot_reliability,
    plot_residuals,
    render_png,
)
from models.reporting.pages import metrics_table, render_html, render_summary
from models.reporting.summaries import DriftLook, ReportRecord, RetrainSummary, make_summary
from models.scoring.holdout import Evaluation
from tasks.registry.connection import connect
from tasks.stage import stage
from tasks.storage.archive import keep
from tasks.storage.files import read_frame, whole_folder
from tasks.storage.home import home
from tasks.storage.ledger import read_last_look

CAPTIONS = {
    "prices": "Actual and forecast price of the next day, on all test days",
    "recent": "The last 60 test days",
    "loss": "Loss by epoch: mean squared error of the scaled targets",
    "residuals": "Errors of the next day's forecast",
    "reliability": "How often the price fell below each quantile",
}


@stage("report", retries=3)
def report(
    config: RetrainConfig,
    trained: Trained,
    version: VersionRecord,
    decided: DecisionRecord,
    seconds: dict[str, float],
) -> ReportRecord:
    """Render the report and hand it to MLflow and Prefect; ends the MLflow run."""
    start = time.perf_counter()
    evaluated = trained.evaluated
    evaluation = Evaluation.model_validate_json(evaluated.evaluation_path.read_text())
    folder = report_folder(trained.snapshot.as_of, version.registered_model, version.version)
    summary = make_summary(config, trained, evaluation, version, decided.decision, folder)
    look = read_last_look(version.registered_model)
    drift = None if look is None else DriftLook.model_validate(look)
    summary = summary.model_copy(update={"drift": drift, "seconds": seconds})
    figures = draw_plots(read_frame(evaluated.predictions_path), trained.holdout.losses, summary)
    plots = {name: render_png(figure) for name, figure in figures.items()}
    with whole_folder(folder) as temporary:
        _write_report(temporary, summary, plots, evaluated.predictions_path)
    keep(folder, f"reports/{folder.name}")
    _show_in_prefect(summary, folder)
    seconds = seconds | {"report": time.perf_counter() - start}
    _log_to_mlflow(connect(), version.run_id, folder, seconds)
    return ReportRecord(folder=folder, summary=summary)


def draw_plots(
    predictions: pd.DataFrame, losses: dict[str, list[float]], summary: RetrainSummary
) -> dict[str, Figure]:
    """Draw every plot of a run, by file name; all of them say what the run is."""
    model = summary.model
    parts = [summary.symbol, model, f"to {summary.as_of}"]
    parts += run_labels(summary.synthetic, summary.reproduction)
    title = ", ".join(parts)
    return {
        "prices": plot_prices(predictions, model, title=title),
        "recent": plot_recent(predictions, model, title=title),
        "loss": plot_loss(losses, title=title),
        "residuals": plot_residuals(predictions, model, title=title),
        "reliability": plot_reliability(predictions, model, title=title),
    }


def report_folder(as_of: dt.date, model: str, version: str) -> Path:
    """Folder of the report of a version."""
    return home() / "reports" / f"{as_of}-{model}-v{version}"


def _write_report(
    folder: Path, summary: RetrainSummary, plots: dict[str, bytes], predictions: Path
) -> None:
    markdown = render_summary(summary)
    (folder / "plots").mkdir()
    for name, png in plots.items():
        (folder / "plots" / f"{name}.png").write_bytes(png)
    shutil.copyfile(predictions, folder / "predictions.parquet")
    (folder / "report.md").write_text(markdown, encoding="utf-8")
    captioned = {CAPTIONS[name]: png for name, png in plots.items()}
    page = render_html(markdown, captioned, title=f"btc-daily {summary.symbol} {summary.as_of}")
    (folder / "report.html").write_text(page, encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(summary.as_json(), indent=2), encoding="utf-8")


def _log_to_mlflow(
    client: MlflowClient, run_id: str, folder: Path, seconds: dict[str, float]
) -> None:
    client.log_artifacts(run_id, str(folder))
    for name, value in seconds.items():
        client.log_metric(run_id, f"seconds_{name}", value)
    client.set_terminated(run_id)


def _show_in_prefect(summary: RetrainSummary, folder: Path) -> None:
    links = f"\nReport with plots: {folder / 'report.html'}\n"
    key = summary.registered_model
    create_markdown_artifact(render_summary(summary) + links, key=f"{key}-report")
    create_table_artifact(metrics_table(summary), key=f"{key}-metrics")
