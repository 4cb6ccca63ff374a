"""Backtest: plan the folds, forecast each where it is not known yet, score, and log."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from pydantic import BaseModel, ConfigDict

import models
from models.config.flows import BacktestConfig
from models.config.recipe import Recipe
from models.errors import InputError
from models.forecasters.baselines import Question, predict_baseline
from models.forecasters.conformal import adapt_quantiles
from models.forecasters.frame import make_predictions
from models.forecasters.walk_forward import group_spans, make_spans, predict_group
from models.learning.splits import Span
from models.learning.windows import make_targets
from models.naming import flatten, model_name
from models.records import Record, SnapshotRecord
from models.reporting.backtest_figures import backtest_figures
from models.reporting.figures import render_png
from models.scoring.backtest import LEVELS, summarise_backtest
from models.scoring.metrics import with_crps
from tasks.registry.connection import code_version, connect, find_experiment
from tasks.stage import stage
from tasks.storage.files import read_frame, whole_file, write_frame, write_text
from tasks.storage.home import home

DEFAULT_DAYS = 730


class Unit(BaseModel):
    """One piece of work: a recipe's group of folds, or a baseline over all origins.

    `path` is named by the content of all that its numbers depend on.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    number: int
    recipe: Recipe | None
    spans: tuple[tuple[int, int, int, int], ...]
    horizon: int
    refit_days: int
    seed: int
    candles: Path
    path: Path


class PlanRecord(Record):
    """The units of work of a backtest, and the origins they forecast from."""

    folder: Path
    units: tuple[Unit, ...]
    first_origin: int
    stop_origin: int

    def __str__(self) -> str:
        n = self.stop_origin - self.first_origin
        return f"{n:,} origins, {len(self.units)} units of work"


class UnitRecord(Record):
    """The quantiles of one unit, in a file."""

    unit: Unit
    cached: bool

    def __str__(self) -> str:
        known = ", known already" if self.cached else ""
        return f"{self.unit.name}, part {self.unit.number}{known}"


class ScoredRecord(Record):
    """The long frame of scored forecasts and its summary."""

    frame_path: Path
    summary_path: Path
    text: str

    def __str__(self) -> str:
        return self.text


class LoggedRecord(Record):
    """The MLflow run of a backtest."""

    experiment: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.experiment}, run {self.run_id}"


@stage("plan")
def plan(config: BacktestConfig, snapshot: SnapshotRecord) -> PlanRecord:
    """Cut the days asked for into folds and units of work."""
    days = read_frame(snapshot.candles_path)["open_time"].dt.date.to_numpy()
    start = config.start or days[-1] - dt.timedelta(days=DEFAULT_DAYS - 1)
    first = int(np.sum(days < start)) - 1
    if first < 0 or start > days[-1]:
        raise InputError(
            f"start: expected a day from {days[1]} to {days[-1]} (the candles given), "
            f"received {start}"
        )
    origins = range(first, len(days) - 1)
    folder = home() / "backtest"
    shared: dict[str, Any] = {
        "horizon": config.horizon,
        "seed": config.seed,
        "candles": snapshot.candles_path,
        "refit_days": config.baseline_refit_days,
    }
    units = []
    for preset in config.recipes:
        recipe = config.recipe(preset, LEVELS)
        spans = make_spans(origins, refit_days=config.refit_days, rolling_days=config.rolling_days)
        for number, group in enumerate(group_spans(recipe, spans), 1):
            cut = tuple(
                (span.known.start, span.known.stop, span.origins.start, span.origins.stop)
                for span in group
            )
            units.append(_unit(snapshot, folder, preset, number, recipe, cut, **shared))
    everything = ((0, first + 1, origins.start, origins.stop),)
    units += [
        _unit(snapshot, folder, name, 1, None, everything, **shared) for name in config.baselines
    ]
    return PlanRecord(
        folder=folder, units=tuple(units), first_origin=origins.start, stop_origin=origins.stop
    )


def _unit(
    snapshot: SnapshotRecord,
    folder: Path,
    name: str,
    number: int,
    recipe: Recipe | None,
    spans: tuple[tuple[int, int, int, int], ...],
    **shared: Any,
) -> Unit:
    content = {
        "code": digest_code(),
        "candles": snapshot.sha256,
        "name": name,
        "recipe": recipe.digest() if recipe else shared["refit_days"],
        "spans": spans,
        "horizon": shared["horizon"],
        "seed": shared["seed"],
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]
    return Unit(
        name=name,
        number=number,
        recipe=recipe,
        spans=spans,
        path=folder / "units" / f"{name}-{key}.npy",
        **shared,
    )


def digest_code(root: Path = Path(models.__file__).parent) -> str:
    """SHA-256 of the code under `root`, names and contents; a change invalidates cached units."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@stage("fold")
def predict_unit(unit: Unit) -> UnitRecord:
    """Forecast a unit's origins, unless an earlier backtest did."""
    if unit.path.exists():
        return UnitRecord(unit=unit, cached=True)
    candles = read_frame(unit.candles)
    if unit.recipe is None:
        origins = range(unit.spans[0][2], unit.spans[0][3])
        question = Question(candles, origins, unit.horizon, LEVELS, unit.refit_days, unit.seed)
        quantiles = predict_baseline(unit.name, question)
    else:
        spans = [Span(range(a, b), range(c, d)) for a, b, c, d in unit.spans]
        quantiles = predict_group(unit.recipe, candles, spans)
    with whole_file(unit.path) as temporary, temporary.open("wb") as file:
        np.save(file, quantiles)
    return UnitRecord(unit=unit, cached=False)


@stage("score")
def score(
    config: BacktestConfig, snapshot: SnapshotRecord, plan: PlanRecord, parts: list[UnitRecord]
) -> ScoredRecord:
    """Score all forecasts on what came; keep the long frame and its summary."""
    candles = read_frame(snapshot.candles_path)
    origins = range(plan.first_origin, plan.stop_origin)
    frames = []
    for name in (*config.recipes, *config.baselines):
        mine = [part.unit.path for part in parts if part.unit.name == name]
        quantiles = np.concatenate([np.load(path) for path in mine])
        if config.calibrate and name in config.recipes:
            quantiles = _calibrate(quantiles, candles, origins)
        frames.append(make_predictions(name, candles, origins, quantiles, LEVELS))
    frame = with_crps(pd.concat(frames, ignore_index=True))
    summary = summarise_backtest(frame, config.baselines, config.seed)
    key = hashlib.sha256("".join(part.unit.path.stem for part in parts).encode()).hexdigest()[:12]
    folder = plan.folder / f"{snapshot.as_of}-{config.digest()}-{key}"
    record = ScoredRecord(
        frame_path=folder / "forecasts.parquet",
        summary_path=folder / "summary.json",
        text=f"{len(frame):,} forecasts scored",
    )
    write_frame(frame, record.frame_path)
    write_text(json.dumps(summary, indent=2), record.summary_path)
    return record


def _calibrate(quantiles: np.ndarray, candles: pd.DataFrame, origins: range) -> np.ndarray:
    close = candles["close"].to_numpy(dtype=np.float64)
    horizon = quantiles.shape[1]
    actual = make_targets(close, horizon, "log_return")[origins.start : origins.stop]
    steps = [
        adapt_quantiles(quantiles[:, step - 1], actual[:, step - 1], LEVELS, step=step)
        for step in range(1, horizon + 1)
    ]
    return np.stack(steps, axis=1)


@stage("log", retries=3)
def log_backtest(
    config: BacktestConfig, snapshot: SnapshotRecord, scored: ScoredRecord
) -> LoggedRecord:
    """Log the backtest to MLflow: a parent run with plots and frame, one child run a model."""
    client = connect()
    name = f"{model_name(config.symbol, snapshot.synthetic)}-backtest"
    experiment = find_experiment(client, name)
    summary = json.loads(scored.summary_path.read_text())
    label = "SYNTHETIC " if snapshot.synthetic else ""
    tags = {
        "symbol": config.symbol,
        "source": snapshot.source,
        "snapshot_sha256": snapshot.sha256,
        "code_version": code_version(),
        "mlflow.note.content": (
            f"{label}Walk-forward backtest of {', '.join(config.recipes)} against "
            f"{', '.join(config.baselines)}: {summary['n_origins']:,} origins from "
            f"{summary['first_origin']} to {summary['last_origin']}, refitted every "
            f"{config.refit_days} days."
        ),
    }
    title = f"{label}backtest to {snapshot.as_of}"
    run_id = client.create_run(experiment, run_name=title, tags=tags).info.run_id
    try:
        _log_parent(client, run_id, config, scored)
        for model in (*config.recipes, *config.baselines):
            _log_child(client, experiment, run_id, model, summary, tags)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    return LoggedRecord(experiment=name, run_id=run_id)


def _log_parent(
    client: MlflowClient, run_id: str, config: BacktestConfig, scored: ScoredRecord
) -> None:
    params = flatten(config.model_dump(mode="json"))
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in params.items()])
    frame = read_frame(scored.frame_path)
    for name, figure in backtest_figures(frame, config.recipes, config.baselines).items():
        path = scored.frame_path.parent / "plots" / f"{name}.png"
        with whole_file(path) as temporary:
            temporary.write_bytes(render_png(figure))
        client.log_artifact(run_id, str(path), "plots")
    client.log_artifact(run_id, str(scored.frame_path))
    client.log_artifact(run_id, str(scored.summary_path))


def _log_child(
    client: MlflowClient,
    experiment: str,
    parent: str,
    model: str,
    summary: dict[str, Any],
    tags: dict[str, str],
) -> None:
    own = {"mlflow.parentRunId": parent, "model": model}
    child = client.create_run(experiment, run_name=model, tags=tags | own).info.run_id
    now = int(1000 * time.time())
    metrics = []
    for step, horizon in summary["horizons"].items():
        for key, value in horizon["models"].get(model, {}).items():
            if isinstance(value, int | float):
                # The step of the metric is the day ahead.
                metrics.append(Metric(key, float(value), now, int(step)))
        for test in horizon["dm"]:
            if test["a"] == model and test["t"] is not None:
                metrics.append(Metric(f"dm_t_{test['b']}", test["t"], now, int(step)))
    client.log_batch(child, metrics=metrics)
    client.set_terminated(child)
