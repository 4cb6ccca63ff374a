"""Tunings in MLflow: one run a study, and under it one run a trial."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from optuna.trial import FrozenTrial, TrialState

from models.config.flows import TuneConfig
from models.naming import model_name, run_labels
from models.records import SnapshotRecord
from models.reporting.runs import describe_model, recipe_params, round_figure, rounded
from models.reporting.tune_summary import StudyRecord, say_score
from tasks.registry.connection import find_experiment
from tasks.registry.runs import create_run, ended, log_config, origin_tags
from tasks.registry.views import TUNING, set_views

SCORE = "crps_over_naive"


def begin_study(
    client: MlflowClient, name: str, config: TuneConfig, snapshot: SnapshotRecord
) -> str:
    """The run of a study, made unless an earlier start made it; returns its id.

    Runs of other studies that a kill left open are marked KILLED.
    """
    experiment = find_experiment(client, f"{model_name(config.symbol, snapshot.synthetic)}-tuning")
    about = f"Searches for a recipe. {describe_model(config.symbol, snapshot.synthetic)}"
    set_views(client, experiment, about, TUNING)
    for left in client.search_runs([experiment], "status = 'RUNNING' and tags.kind = 'tuning'"):
        client.set_terminated(left.info.run_id, "KILLED")
    found = client.search_runs([experiment], f"tags.study = '{name}' and tags.kind = 'tuning'")
    if found:
        run_id = str(found[0].info.run_id)
        client.update_run(run_id, status="RUNNING")
        return run_id
    tags = origin_tags("tuning") | {
        "study": name,
        "symbol": config.symbol,
        "model": config.recipe.name,
        "as_of": snapshot.as_of.isoformat(),
        "snapshot_sha256": snapshot.sha256,
    }
    labels = run_labels(snapshot.synthetic, reproduction=False)
    title = " · ".join([f"{snapshot.as_of} tune {config.recipe.name}", *labels])
    run_id = create_run(client, experiment, title, tags)
    log_config(client, run_id, config, recipe_params(config.recipe) | {"source": config.source})
    return run_id


def log_trials(client: MlflowClient, study: StudyRecord, trials: Iterable[FrozenTrial]) -> None:
    """Log the finished trials that have no whole run yet; runs that were left half are deleted."""
    experiment = client.get_run(study.run_id).info.experiment_id
    query = f"tags.study = '{study.name}' and tags.kind = 'trial'"
    known: set[str] = set()
    for run in client.search_runs([experiment], query, max_results=50_000):
        if run.info.status == "FINISHED":
            known.add(run.data.tags["trial"])
        else:
            client.delete_run(run.info.run_id)
    for order, trial in enumerate(trials, 1):
        if str(order) not in known:
            log_trial(client, study, trial, order)


def log_trial(client: MlflowClient, study: StudyRecord, trial: FrozenTrial, order: int) -> None:
    """Log one finished trial, the `order`-th from 1, under the run of its study."""
    experiment = client.get_run(study.run_id).info.experiment_id
    pruned = trial.state == TrialState.PRUNED
    score = trial.intermediate_values[max(trial.intermediate_values)]
    tags = {
        "mlflow.parentRunId": study.run_id,
        "kind": "trial",
        "study": study.name,
        "trial": str(order),
        "outcome": "given up" if pruned else "complete",
    }
    title = f"trial {order} {say_score(score)}{' given up' if pruned else ''}"
    run_id = client.create_run(experiment, run_name=title, tags=tags).info.run_id
    now = int(1000 * time.time())
    points = rounded([(SCORE, value, step) for step, value in trial.intermediate_values.items()])
    metrics = [Metric(key, value, now, step) for key, value, step in points]
    params = [Param(key, f"{value:.6g}") for key, value in trial.params.items()]
    with ended(run_id):
        client.log_batch(run_id, metrics=metrics, params=params)


def end_study(
    client: MlflowClient,
    run_id: str,
    note: str,
    scores: Mapping[str, float],
    files: Mapping[str, Any],
) -> None:
    """Log what a study found, with its files by name, and close its run."""
    for key, value in scores.items():
        client.log_metric(run_id, key, round_figure(key, value))
    for name, text in files.items():
        client.log_text(run_id, text, name)
    client.set_tag(run_id, "mlflow.note.content", note)
    client.set_terminated(run_id)
