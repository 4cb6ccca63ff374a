"""Report: what was measured about a version, for machines and for the day's page."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path

from prefect.artifacts import create_table_artifact

from models.config.flows import RetrainConfig
from models.records import DecisionRecord, Trained, VersionRecord
from models.reporting.holdout_charts import holdout_charts, loss_chart
from models.reporting.notes import metrics_table
from models.reporting.render import render_chart
from models.reporting.summaries import (
    Artifacts,
    DriftLook,
    ReportRecord,
    RetrainSummary,
    make_summary,
)
from models.scoring.holdout import Evaluation
from tasks.registry.artifacts import ArtifactFolder
from tasks.registry.connection import connect
from tasks.stage import stage
from tasks.storage.archive import keep
from tasks.storage.files import read_frame, share_equal, whole_folder
from tasks.storage.home import home
from tasks.storage.ledger import read_last_look
from tasks.storage.pages import page_path


@stage("report", retries=3)
def report(
    config: RetrainConfig,
    trained: Trained,
    version: VersionRecord,
    decided: DecisionRecord,
    seconds: dict[str, float],
) -> ReportRecord:
    """Write the summary, the holdout predictions and their charts, also into the MLflow run."""
    evaluated = trained.evaluated
    evaluation = Evaluation.model_validate_json(evaluated.evaluation_path.read_text())
    folder = report_folder(trained.snapshot.as_of, version.registered_model, version.version)
    artifacts = name_artifacts(trained.snapshot.as_of, version.registered_model, version.version)
    summary = make_summary(config, trained, evaluation, version, decided.decision, artifacts)
    look = read_last_look(version.registered_model)
    drift = None if look is None else DriftLook.model_validate(look)
    summary = summary.model_copy(update={"drift": drift, "seconds": seconds})
    charts = draw_charts(config, trained)
    with whole_folder(folder) as temporary:
        _write_report(temporary, summary, charts, evaluated.predictions_path)
    keep(folder, f"reports/{folder.name}")
    create_table_artifact(metrics_table(summary), key=f"{version.registered_model}-metrics")
    client = connect()
    client.log_artifacts(version.run_id, str(folder))
    if copied := ArtifactFolder(str(client.get_run(version.run_id).info.artifact_uri)).folder:
        share_equal(copied, folder)
    return ReportRecord(folder=folder, summary=summary)


def name_artifacts(as_of: dt.date, model: str, version: str) -> Artifacts:
    """Where a version and what is told of it are, in the folder of all state as it is now."""
    folder = report_folder(as_of, model, version)
    return Artifacts(
        report=str(page_path(model, as_of)),
        plots=str(folder / "plots"),
        predictions=str(folder / "predictions.parquet"),
        model=f"models:/{model}/{version}",
    )


def draw_charts(config: RetrainConfig, trained: Trained) -> dict[str, str]:
    """The charts about the test days and the training, as SVG files by name."""
    predictions = read_frame(trained.evaluated.predictions_path)
    charts = holdout_charts(predictions, config.recipe.name, config.judging)
    charts.append(loss_chart(trained.holdout.losses, config.recipe))
    return {chart.name: render_chart(chart) for chart in charts}


def report_folder(as_of: dt.date, model: str, version: str) -> Path:
    """Folder of the report of a version."""
    return home() / "reports" / f"{as_of}-{model}-v{version}"


def _write_report(
    folder: Path, summary: RetrainSummary, charts: dict[str, str], predictions: Path
) -> None:
    (folder / "plots").mkdir()
    for name, svg in charts.items():
        (folder / "plots" / f"{name}.svg").write_text(svg, encoding="utf-8")
    shutil.copyfile(predictions, folder / "predictions.parquet")
    (folder / "summary.json").write_text(json.dumps(summary.as_json(), indent=2), encoding="utf-8")
