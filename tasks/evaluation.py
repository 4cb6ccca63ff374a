"""Evaluate: the forecaster and naive persistence on the test days."""

from __future__ import annotations

from models.config import Judging
from models.forecaster import load_forecaster
from models.judge import judge
from models.records import EvaluationRecord, ForecasterRecord, ScaledRecord, SnapshotRecord
from tasks.files import read_frame, write_frame, write_text
from tasks.scaling import read_scaled
from tasks.stage import stage


@stage("evaluate")
def evaluate(
    forecaster: ForecasterRecord, scaled: ScaledRecord, snapshot: SnapshotRecord, judging: Judging
) -> EvaluationRecord:
    """Score the forecaster as it was saved, not as it was trained, so that saving is tested too."""
    predictions, evaluation = judge(
        load_forecaster(forecaster.folder),
        read_frame(snapshot.candles_path),
        read_scaled(scaled.folder).fold,
        judging,
    )
    folder = forecaster.folder.parent
    record = EvaluationRecord(
        predictions_path=folder / "predictions.parquet",
        evaluation_path=folder / "evaluation.json",
        verdict=evaluation.verdict,
    )
    write_frame(predictions, record.predictions_path)
    write_text(evaluation.model_dump_json(indent=2), record.evaluation_path)
    return record
