"""What one stage hands to the next: small frozen references, never frames."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from models.config.recipe import Recipe
from models.data.rules import Finding
from models.decisions.promotion import Decision


class Record(BaseModel):
    """A reference with the seconds that the stage took."""

    model_config = ConfigDict(frozen=True)
    seconds: float = 0.0

    @property
    def progress(self) -> tuple[int, int] | None:
        """How many of how many are done, of a stage that is one of many."""
        return None


class Fault(BaseModel):
    """One finding of the validation."""

    model_config = ConfigDict(frozen=True)
    kind: str
    severity: str
    message: str


def as_faults(findings: Iterable[Finding]) -> tuple[Fault, ...]:
    """Turn findings of the checks into what a record carries."""
    return tuple(
        Fault(kind=found.kind, severity=found.severity, message=found.message) for found in findings
    )


def report_rows(findings: Iterable[Fault], repairs: Iterable[str]) -> list[dict[str, str]]:
    """Rows of the validation report: severity, check and finding, errors first."""
    rows = [
        {"severity": found.severity, "check": found.kind, "finding": found.message}
        for found in sorted(findings, key=lambda found: (found.severity, found.kind))
    ]
    rows += [{"severity": "repaired", "check": "repair", "finding": text} for text in repairs]
    return rows or [{"severity": "ok", "check": "all", "finding": "nothing found"}]


class CandlesRecord(Record):
    """Candles as a source gave them: a Parquet file in the run's work folder."""

    path: Path
    label: str
    synthetic: bool
    n_rows: int
    description: str = ""
    findings: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        taken_for = f" ({self.description})" if self.description else ""
        return f"{self.n_rows:,} candles from {self.label}{taken_for}"


class CheckedRecord(Record):
    """Candles that passed the checks, and what was found and mended."""

    path: Path
    n_rows: int
    findings: tuple[Fault, ...]
    repairs: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.n_rows:,} good; findings: {len(self.findings)}, repairs: {len(self.repairs)}"


class SnapshotRecord(Record):
    """The candles that a run saw, immutable, under their SHA-256."""

    folder: Path
    sha256: str
    symbol: str
    source: str
    synthetic: bool
    n_rows: int
    first_day: dt.date
    as_of: dt.date

    def __str__(self) -> str:
        return f"{self.sha256[:12]}, {self.first_day} to {self.as_of}"

    @property
    def candles_path(self) -> Path:
        """The Parquet file with the candles."""
        return self.folder / "candles.parquet"


class ScaledRecord(Record):
    """Scaled features and targets, and the scalers, fitted on the training rows alone."""

    folder: Path
    snapshot: SnapshotRecord
    features_used: tuple[str, ...]
    features_left_out: tuple[str, ...]
    n_train_rows: int
    first_row: int

    def __str__(self) -> str:
        left = f"; left out {', '.join(self.features_left_out)}" if self.features_left_out else ""
        return f"features: {len(self.features_used)}, on {self.n_train_rows:,} training rows{left}"


class WindowsRecord(Record):
    """Which origins train, validate and test; windows are views on the scaled arrays."""

    scaled: ScaledRecord
    lookback: int
    horizon: int
    n_train: int
    n_validation: int
    n_test: int

    def __str__(self) -> str:
        parts = f"{self.n_train:,} train, {self.n_validation:,} validate, {self.n_test:,} test"
        return f"{parts}; {self.lookback} days back, {self.horizon} ahead"


class ForecasterRecord(Record):
    """A fitted forecaster on disk, with its losses by epoch."""

    folder: Path
    losses: dict[str, list[float]]

    def __str__(self) -> str:
        return (
            f"epochs: {len(self.losses['loss'])}, best val_loss {min(self.losses['val_loss']):.4f}"
        )


class EvaluationRecord(Record):
    """Predictions of the test days and their scores."""

    predictions_path: Path
    evaluation_path: Path
    verdict: str

    def __str__(self) -> str:
        return self.verdict


class Trained(BaseModel):
    """What the stages before registration left, handed on together."""

    model_config = ConfigDict(frozen=True)
    checked: CheckedRecord
    snapshot: SnapshotRecord
    scaled: ScaledRecord
    windows: WindowsRecord
    holdout: ForecasterRecord
    evaluated: EvaluationRecord
    serving: ForecasterRecord


class VersionRecord(Record):
    """What MLflow now has: the run and the registered version."""

    experiment: str
    run_id: str
    registered_model: str
    version: str
    key: str
    aliases: tuple[str, ...] = ()

    def __str__(self) -> str:
        names = "".join(f" @{alias}" for alias in self.aliases)
        return f"{self.registered_model} version {self.version}{names}, run {self.run_id}"


class RivalRecord(Record):
    """Holdout scores of the challenger and, on the same days, of the champion's recipe.

    `champion_path` is None without a champion, and where its recipe's scores are not known.
    """

    challenger_path: Path
    version: str | None = None
    champion_path: Path | None = None
    trained: bool = False

    def __str__(self) -> str:
        if self.version is None:
            return "no champion to compare with"
        known = "trained on the same fold" if self.trained else "scores known"
        return f"champion is version {self.version}, {known if self.champion_path else 'no scores'}"


class DecisionRecord(Record):
    """What becomes of the version, and why."""

    decision: Decision

    def __str__(self) -> str:
        return str(self.decision)


class ForecastRequest(BaseModel):
    """What a forecast is asked beside the configuration.

    below_usd: the price whose chance to be fallen below is told. trouble: why there are no newer
    candles. made: the version that this run has just made; it forecasts where the champion has seen
    later days.
    """

    model_config = ConfigDict(frozen=True)
    below_usd: float | None = None
    trouble: str = ""
    made: str = ""


class OutlookRecord(Record):
    """A forecast as it was stored: a row a target date, and what a reader must know."""

    model: str
    version: str
    as_of: dt.date
    kind: str
    notes: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    n_new: int

    def __str__(self) -> str:
        told = f"{len(self.rows)} days from {self.as_of} by {self.model} version {self.version}"
        return f"{told}, {self.kind}; {self.n_new} new in the ledger"


class LedgerRecord(Record):
    """What the ledger took in, and the drift watch's alarms; see `select_new`."""

    n_caught_up: int = 0
    n_scored: int = 0
    n_rescored: int = 0
    alarms: tuple[str, ...] = ()
    new_alarms: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.n_scored} scored, {self.n_rescored} again, {self.n_caught_up} caught up"
        return "; ".join([text, *self.alarms])


class FoldUnit(BaseModel):
    """One piece of work of a backtest: a recipe's group of folds, or a baseline over all origins.

    `path` is named by the content of all that its numbers depend on; `home` is the id of the folder
    of state that it is in.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    number: int
    recipe: Recipe | None
    spans: tuple[tuple[int, int, int, int], ...]
    horizon: int
    refit_days: int
    seed: int
    snapshot: SnapshotRecord
    path: Path
    home: str


class PlanRecord(Record):
    """The units of work of a backtest, and the origins they forecast from."""

    folder: Path
    units: tuple[FoldUnit, ...]
    first_origin: int
    stop_origin: int

    def __str__(self) -> str:
        n = self.stop_origin - self.first_origin
        return f"{n:,} origins, {len(self.units)} units of work"


class FoldRecord(Record):
    """The quantiles of one unit, in a file."""

    unit: FoldUnit
    cached: bool

    def __str__(self) -> str:
        known = ", known already" if self.cached else ""
        return f"{self.unit.name}, part {self.unit.number}{known}"


class ComparedRecord(Record):
    """The long frame of a backtest's forecasts with their scores, and its summary."""

    frame_path: Path
    summary: dict[str, Any]
    n_forecasts: int

    def __str__(self) -> str:
        return f"{self.n_forecasts:,} forecasts scored"


class LoggedRecord(Record):
    """The MLflow run of a backtest."""

    experiment: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.experiment}, run {self.run_id}"


class PageRecord(Record):
    """The page of a day, and its headline."""

    path: Path
    headline: str

    def __str__(self) -> str:
        return str(self.path)


class CleanedRecord(Record):
    """What the cleaning at the end of a day deleted."""

    n_items: int
    n_bytes: int

    def __str__(self) -> str:
        return f"{self.n_items} items deleted, {self.n_bytes / 1e6:.2f} MB"


def seconds_by_stage(**records: Record) -> dict[str, float]:
    """Collect what each stage took, by its name."""
    return {name: record.seconds for name, record in records.items()}


def seconds_by_model(parts: Iterable[FoldRecord]) -> dict[str, float]:
    """Add up what the folds of each model of a backtest took."""
    total: dict[str, float] = {}
    for part in parts:
        total[part.unit.name] = total.get(part.unit.name, 0.0) + part.seconds
    return total
