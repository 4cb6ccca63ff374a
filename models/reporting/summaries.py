"""What the flows return; docs/summaries.schema.json, which schema.py makes, describes its JSON."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.config.flows import BacktestConfig, RetrainConfig
from models.decisions.promotion import Decision
from models.records import (
    ComparedRecord,
    Fault,
    LedgerRecord,
    LoggedRecord,
    OutlookRecord,
    Record,
    SnapshotRecord,
    Trained,
    VersionRecord,
)
from models.scoring.holdout import Echo, Evaluation, Metrics, Verdict


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True
    )


class Summary(_Frozen):
    """What a flow returns; `as_json` is the same for machines."""

    schema_number: Literal[1] = Field(1, alias="schema")
    """Number of this description; a key that changes its meaning, or goes, makes it another."""

    def as_json(self) -> dict[str, Any]:
        """The summary as JSON types."""
        return self.model_dump(mode="json", by_alias=True)


class Skipped(Summary):
    """A run that ended without its work, since another one does it or has done it."""

    skipped: str
    """Why, in a sentence."""
    done: bool = False
    """Whether it is done by now."""


class Refused(Summary):
    """A forecast or retrain that could not be had; what a run did before stands."""

    refused: str
    """Why, in a sentence."""
    seconds: dict[str, float] = {}


class Artifacts(_Frozen):
    """Where a retrain's page, plots, predictions and model (as MLflow loads it) are."""

    report: str
    plots: str
    predictions: str
    model: str


class DriftLook(_Frozen):
    """What the drift watch said after the last forecast."""

    as_of: dt.date
    alarms: tuple[str, ...]


class LedgerCounts(_Frozen):
    """What a day brought into the ledger."""

    new: int
    """Forecasts, one a target date."""
    scored: int
    rescored: int
    """Scored again, since the source has revised the close."""
    caught_up: int
    """Days that were forecast afterwards."""


class Cleaned(_Frozen):
    """What the cleaning at the end of a day deleted, or why it failed; the day stands anyway."""

    items: int = 0
    bytes: int = 0
    failed: str | None = None


class ForecastSummary(Summary):
    """A forecast by the champion, and what the ledger took in."""

    symbol: str
    synthetic: bool
    below_usd: float | None
    model: str
    version: str
    as_of: dt.date
    kind: Literal["live", "catch-up"]
    notes: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    """One a target date, USD: median, ends of the bands, probabilities."""
    ledger: LedgerCounts
    alarms: tuple[str, ...]
    """What the drift watch found today."""
    new_alarms: tuple[str, ...]
    """Those of a kind that was not raised in the watched days before."""
    seconds: dict[str, float]
    """By stage."""
    retrain: RetrainSummary | Skipped | Refused | None = None
    """The retrain that a new alarm started."""


class RetrainSummary(Summary):
    """A retrain: its data, scores, decision, and the forecast that ended it."""

    run_id: str
    experiment: str
    registered_model: str
    model_version: str
    aliases: tuple[str, ...]
    snapshot_hash: str
    snapshot_rows: int
    first_day: dt.date
    as_of: dt.date
    source: str
    symbol: str
    synthetic: bool
    reason: str
    reproduction: bool
    model: str
    """Name of the forecaster in `metrics`."""
    recipe: dict[str, Any]
    config: dict[str, Any]
    features_used: tuple[str, ...]
    features_left_out: tuple[str, ...]
    findings: tuple[Fault, ...]
    repairs: tuple[str, ...]
    metrics: dict[str, dict[str, Metrics]]
    """Model, step, metric: the test days' scores; units are in the names."""
    skill: dict[str, Metrics]
    """Step, skill against naive with the ends of its 95 % interval."""
    echo: Echo
    verdict: Verdict
    verdict_text: str
    decision: Decision
    drift: DriftLook | None = None
    artifacts: Artifacts
    seconds: dict[str, float] = {}
    """By stage."""
    done_before: bool = False
    """Whether the same retrain was done before and only its forecast was made now."""
    forecast: ForecastSummary | Refused | None = None
    cleaned: Cleaned | None = None


class SymbolsSummary(Summary):
    """Several symbols in one run."""

    symbols: dict[str, RetrainSummary | ForecastSummary | Skipped]
    """What each of them returned that did not fail."""
    failed: dict[str, str]
    """Why each of the others failed."""

    def describe_failures(self) -> str:
        """How many failed, which, and why, in a sentence."""
        reasons = "; ".join(f"{symbol}: {reason}" for symbol, reason in self.failed.items())
        counts = f"{len(self.failed)} of {len(self.failed) + len(self.symbols)} symbols failed"
        return f"{counts} ({reasons}); the others are done"


class PairTest(_Frozen):
    """Diebold-Mariano test of two models' CRPS; `a` is better where `t` is negative."""

    a: str
    b: str
    t: float | None
    p: float | None
    crps_diff_pct: float


class StepScores(_Frozen):
    """Scores of all models at one step."""

    models: dict[str, dict[str, Any]]
    dm: tuple[PairTest, ...]
    mcs_90: tuple[str, ...]
    """Models in the 90 % model confidence set."""
    best_baseline: str | None = None
    """Baseline of the lowest CRPS; None where none was asked for."""


class BacktestSummary(Summary):
    """A backtest: every model's scores by step, and where the forecasts are."""

    symbol: str
    source: str
    synthetic: bool
    snapshot_sha256: str
    config: dict[str, Any]
    n_origins: int
    first_origin: dt.date
    last_origin: dt.date
    horizons: dict[str, StepScores]
    """By step."""
    all_steps: dict[str, float] = {}
    """By model, the mean over steps of CRPS divided by naive's at that step."""
    run_id: str
    experiment: str
    artifacts: dict[str, str]
    seconds: dict[str, float | dict[str, float]]
    """By stage; `folds` by model."""


class RecallRecord(Record):
    """The summary that the same retrain left, where it was done before, and its MLflow run."""

    run_id: str
    summary: RetrainSummary | None = None

    def __str__(self) -> str:
        if self.summary is None:
            return f"not done before; run {self.run_id}"
        return f"version {self.summary.model_version} is of the same retrain"


class ReportRecord(Record):
    """Where the report, the plots and the predictions lie, and the run's summary."""

    folder: Path
    summary: RetrainSummary

    @property
    def complete_summary(self) -> RetrainSummary:
        """The summary with this last stage's own seconds."""
        return add_seconds(self.summary, report=self.seconds)

    def __str__(self) -> str:
        return str(self.folder)


def make_summary(
    config: RetrainConfig,
    trained: Trained,
    evaluation: Evaluation,
    version: VersionRecord,
    decision: Decision,
    artifacts: Artifacts,
) -> RetrainSummary:
    """Gather what a retrain did, and where its files lie."""
    snapshot = trained.snapshot
    return RetrainSummary(
        run_id=version.run_id,
        experiment=version.experiment,
        registered_model=version.registered_model,
        model_version=version.version,
        aliases=version.aliases,
        snapshot_hash=snapshot.sha256,
        snapshot_rows=snapshot.n_rows,
        first_day=snapshot.first_day,
        as_of=snapshot.as_of,
        source=snapshot.source,
        symbol=snapshot.symbol,
        synthetic=snapshot.synthetic,
        reason=config.reason,
        reproduction=config.recipe.reproduction,
        recipe=config.recipe.model_dump(mode="json"),
        config=config.model_dump(mode="json"),
        features_used=trained.scaled.features_used,
        features_left_out=trained.scaled.features_left_out,
        findings=trained.checked.findings,
        repairs=trained.checked.repairs,
        decision=decision,
        artifacts=artifacts,
        **evaluation.model_dump(exclude={"reference"}),
    )


def summarize_forecast(
    outlook: OutlookRecord,
    scored: LedgerRecord,
    symbol: str,
    synthetic: bool,
    below_usd: float | None,
) -> ForecastSummary:
    """Gather a day's forecast and what the ledger took in."""
    return ForecastSummary(
        symbol=symbol,
        synthetic=synthetic,
        below_usd=below_usd,
        **outlook.model_dump(exclude={"seconds", "n_new"}),
        ledger=LedgerCounts(
            new=outlook.n_new,
            scored=scored.n_scored,
            rescored=scored.n_rescored,
            caught_up=scored.n_caught_up,
        ),
        alarms=scored.alarms,
        new_alarms=scored.new_alarms,
        seconds={"forecast": outlook.seconds, "score": scored.seconds},
    )


def summarize_backtest(
    config: BacktestConfig,
    snapshot: SnapshotRecord,
    compared: ComparedRecord,
    logged: LoggedRecord,
    seconds: dict[str, float],
    fold_seconds: dict[str, float],
) -> BacktestSummary:
    """Gather what a backtest found; `seconds` by stage and `fold_seconds` by model."""
    folder = compared.frame_path.parent
    paths = {"forecasts": compared.frame_path, "folder": folder, "page": folder / "page.html"}
    return BacktestSummary(
        symbol=config.symbol,
        source=snapshot.source,
        synthetic=snapshot.synthetic,
        snapshot_sha256=snapshot.sha256,
        config=config.model_dump(mode="json"),
        **compared.summary,
        run_id=logged.run_id,
        experiment=logged.experiment,
        artifacts={name: str(path) for name, path in paths.items()},
        seconds=seconds | {"folds": fold_seconds},
    )


def with_aliases(summary: RetrainSummary, promoted: VersionRecord) -> RetrainSummary:
    """The summary with the aliases that the version got, and that stage's seconds."""
    moved = summary.model_copy(update={"aliases": promoted.aliases})
    return add_seconds(moved, promote=promoted.seconds)


def with_forecast(summary: RetrainSummary, forecast: ForecastSummary | Refused) -> RetrainSummary:
    """The summary with the forecast of the run."""
    return add_seconds(summary.model_copy(update={"forecast": forecast}), **forecast.seconds)


def add_seconds(summary: RetrainSummary, **seconds: float) -> RetrainSummary:
    """The summary with the seconds of more stages."""
    return summary.model_copy(update={"seconds": summary.seconds | seconds})
