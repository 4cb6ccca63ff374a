"""Evaluate: the holdout model and naive persistence on the test days."""

from __future__ import annotations

from models.config.judging import Judging
from models.forecasters.forecaster import load_forecaster
from models.records import EvaluationRecord, ForecasterRecord, WindowsRecord
from models.scoring.holdout import say_briefly, score_holdout
from tasks.scale import read_scaled
from tasks.stage import stage
from tasks.storage.files import write_frame, write_text


@stage("evaluate")
def evaluate(
    holdout: ForecasterRecord, windows: WindowsRecord, judging: Judging
) -> EvaluationRecord:
    """Score the forecaster as it was saved, not as it was trained, so that saving is tested too."""
    forecaster = load_forecaster(holdout.folder)
    prepared = read_scaled(windows.scaled, forecaster.recipe)
    predictions, evaluation = score_holdout(forecaster, prepared.candles, prepared.fold, judging)
    folder = holdout.folder.parent
    record = EvaluationRecord(
        predictions_path=folder / "predictions.parquet",
        evaluation_path=folder / "evaluation.json",
        verdict=say_briefly(evaluation.verdict, evaluation.skill["1"]),
    )
    write_frame(predictions, record.predictions_path)
    write_text(evaluation.model_dump_json(indent=2), record.evaluation_path)
    return record
