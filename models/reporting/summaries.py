"""The summary of a run: one dictionary for people's report and for machines' JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.config.flows import RetrainConfig
from models.records import (
    CheckedRecord,
    LedgerRecord,
    OutlookRecord,
    ScaledRecord,
    SnapshotRecord,
    VersionRecord,
)
from models.scoring.holdout import Evaluation


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
        "reason": config.reason,
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


def summarize_forecast(
    outlook: OutlookRecord,
    kept: LedgerRecord,
    symbol: str,
    synthetic: bool,
    below_usd: float | None,
) -> dict[str, Any]:
    """Gather a day's forecast and what the ledger took in, as JSON types."""
    facts = outlook.model_dump(mode="json", exclude={"seconds", "n_new"})
    return {
        "symbol": symbol,
        "synthetic": synthetic,
        "below_usd": below_usd,
        **facts,
        "ledger": {
            "new": outlook.n_new,
            "scored": kept.n_scored,
            "rescored": kept.n_rescored,
            "caught_up": kept.n_caught_up,
        },
        "alarms": list(kept.alarms),
        "new_alarms": list(kept.new_alarms),
        "seconds": {"forecast": outlook.seconds, "score": kept.seconds},
    }


def with_aliases(summary: dict[str, Any], promoted: VersionRecord) -> dict[str, Any]:
    """The summary with the aliases that the version got, and that stage's seconds."""
    seconds = summary["seconds"] | {"promote": promoted.seconds}
    return summary | {"aliases": list(promoted.aliases), "seconds": seconds}


def with_forecast(summary: dict[str, Any], forecast: dict[str, Any]) -> dict[str, Any]:
    """The summary with the forecast that ended the run."""
    return summary | {
        "forecast": forecast,
        "seconds": summary["seconds"] | forecast["seconds"],
    }
