"""Recall: what the same retrain left where it was done before, else the MLflow run of this one."""

from __future__ import annotations

from pydantic import ValidationError

from models.config.flows import RetrainConfig
from models.naming import model_name
from models.records import SnapshotRecord
from models.reporting.summaries import RecallRecord, RetrainSummary
from tasks.registry.connection import check_experiment, connect
from tasks.registry.model_files import check_champion
from tasks.registry.runs import open_retrain
from tasks.registry.versions import find_by_key, retrain_key
from tasks.report import name_artifacts, report_folder
from tasks.stage import stage
from tasks.storage.archive import recover


@stage("recall", retries=3)
def recall(config: RetrainConfig, snapshot: SnapshotRecord) -> RecallRecord:
    """Find the summary of the same retrain where it was done to the end, else open its run.

    Where its report is gone, or of another release, there is none: the retrain writes it again.
    """
    summary = _find_summary(config, snapshot)
    if summary is None:
        return RecallRecord(run_id=open_retrain(config, snapshot))
    return RecallRecord(summary=summary, run_id=summary.run_id)


def _find_summary(config: RetrainConfig, snapshot: SnapshotRecord) -> RetrainSummary | None:
    name = model_name(config.symbol, snapshot.synthetic)
    client = connect()
    # What somebody deleted is seen now, not after training.
    check_experiment(client, name)
    check_champion(client, name)
    found = find_by_key(client, name, retrain_key(config, snapshot))
    if found is None or "finished" not in found.tags:
        return None
    folder = report_folder(snapshot.as_of, name, str(found.version))
    if not folder.exists():
        recover(f"reports/{folder.name}", folder)
    path = folder / "summary.json"
    try:
        summary = RetrainSummary.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None
    # The folder of all state may have moved since.
    artifacts = name_artifacts(snapshot.as_of, name, str(found.version))
    return summary.model_copy(update={"done_before": True, "artifacts": artifacts})
