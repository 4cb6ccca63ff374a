"""The summary of a run: one dictionary for people's report and for machines' JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.config import RetrainConfig
from models.evaluation import Evaluation
from models.records import (
    CheckedRecord,
    ScaledRecord,
    SnapshotRecord,
    VersionRecord,
)


def make_summary(
    config: RetrainConfig,
    checked: CheckedRecord,
    snapshot: SnapshotRecord,
    scaled: ScaledRecord,
    evaluation: Evaluation,
    version: VersionRecord,
    folder: Path,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Gather what a run did, as JSON types; the report lies in `folder`."""
    judged = evaluation.model_dump(mode="json", exclude={"model", "reference"})
    return {
        "run_id": version.run_id,
        "experiment": version.experiment,
        "registered_model": version.registered_model,
        "model_version": version.version,
        "aliases": list(version.aliases),
        "snapshot_hash": snapshot.sha256,
        "snapshot_rows": snapshot.n_rows,
        "first_day": snapshot.first_day.isoformat(),
        "as_of": snapshot.as_of.isoformat(),
        "source": snapshot.source,
        "symbol": snapshot.symbol,
        "synthetic": snapshot.synthetic,
        "reproduction": config.recipe.reproduction,
        "model": evaluation.model,
        "recipe": config.recipe.model_dump(mode="json"),
        "config": config.model_dump(mode="json"),
        "features_used": list(scaled.features_used),
        "features_left_out": list(scaled.features_left_out),
        "findings": [fault.model_dump() for fault in checked.findings],
        "repairs": list(checked.repairs),
        **judged,
        "artifacts": {
            "report": str(folder / "report.html"),
            "plots": str(folder / "plots"),
            "predictions": str(folder / "predictions.parquet"),
            "model": f"models:/{version.registered_model}/{version.version}",
        },
        "seconds": seconds,
    }
