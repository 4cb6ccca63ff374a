"""MLflow runs: opened when the work of a day begins, ended when it ends, whatever the end is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import yaml
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from prefect.context import FlowRunContext
from prefect.runtime import deployment
from pydantic import BaseModel

from models.config.flows import RetrainConfig
from models.naming import model_name, run_labels
from models.records import SnapshotRecord
from models.reporting.runs import Point, describe_model, retrain_params
from tasks.registry.artifacts import ArtifactFolder
from tasks.registry.connection import code_version, connect, find_experiment, user_name
from tasks.registry.versions import find_by_key, retrain_key
from tasks.registry.views import CELLS, DIARY, set_views


def open_retrain(config: RetrainConfig, snapshot: SnapshotRecord) -> str:
    """Open the run of a retrain, or go on with the one that a cut-off retrain left; returns its id.

    What the same retrain left half, before there was a version, is deleted. Runs of other days that
    a kill left open are marked KILLED.
    """
    client = connect()
    name, key = model_name(config.symbol, snapshot.synthetic), retrain_key(config, snapshot)
    experiment = find_experiment(client, name)
    set_views(client, experiment, describe_model(config.symbol, snapshot.synthetic), DIARY, CELLS)
    existing = find_by_key(client, name, key)
    if existing is not None:
        client.update_run(str(existing.run_id), status="RUNNING")
        return str(existing.run_id)
    _delete_halves(client, experiment, key)
    for left in client.search_runs([experiment], "status = 'RUNNING' and tags.kind = 'retrain'"):
        client.set_terminated(left.info.run_id, "KILLED")
    labels = run_labels(snapshot.synthetic, config.recipe.reproduction)
    tags = {
        "retrain_key": key,
        "symbol": config.symbol,
        "as_of": snapshot.as_of.isoformat(),
        "model": config.recipe.name,
        "snapshot_sha256": snapshot.sha256,
        "mlflow.note.content": "\n\n".join([*labels, "At work."]),
    }
    tags |= {"label": "; ".join(labels)} if labels else {}
    tags |= {"reason": config.reason} if config.reason else {}
    title = " · ".join([f"{snapshot.as_of} {config.recipe.name}", *labels])
    run_id = create_run(client, experiment, title, tags | origin_tags("retrain"))
    log_config(client, run_id, config, retrain_params(config))
    return run_id


def _delete_halves(client: MlflowClient, experiment: str, key: str) -> None:
    for run in find_by_retrain(client, experiment, key):
        delete_half_models(client, experiment, run.info.run_id)
        _delete_files(str(run.info.artifact_uri))
        client.delete_run(run.info.run_id)


def delete_half_models(client: MlflowClient, experiment: str, run_id: str) -> None:
    """Delete the models that an earlier try of a run logged, with their files."""
    for half in client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
        _delete_files(str(half.artifact_location))
        client.delete_logged_model(half.model_id)


def _delete_files(address: str) -> None:
    """Delete the files of a run or model, which MLflow leaves, with the folder they are in."""
    artifacts = ArtifactFolder(address.removesuffix("/artifacts"))
    if artifacts.is_here:
        artifacts.delete()


def find_by_retrain(client: MlflowClient, experiment: str, key: str) -> list[Run]:
    """The runs of one retrain."""
    return list(client.search_runs([experiment], f"tags.retrain_key = '{key}'"))


def create_run(client: MlflowClient, experiment: str, title: str, tags: dict[str, str]) -> str:
    """Open a run whose time counts from the start of the flow; returns its id."""
    context = FlowRunContext.get()
    began = context.start_time.timestamp() if context is not None else time.time()
    made = client.create_run(experiment, int(1000 * began), tags=tags, run_name=title)
    return str(made.info.run_id)


def origin_tags(kind: str) -> dict[str, str]:
    """What tells kinds of runs apart, and where a run comes from: command, commit, user."""
    return {
        "kind": kind,
        "mlflow.source.name": deployment.name or f"btc {kind}",
        "mlflow.source.type": "JOB",
        "mlflow.source.git.commit": code_version(),
        "mlflow.user": user_name(),
    }


def log_config(
    client: MlflowClient, run_id: str, config: BaseModel, params: dict[str, str]
) -> None:
    """Log what a person varies as parameters, and the whole configuration as config.yaml."""
    log_params(client, run_id, params)
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    client.log_text(run_id, text, "config.yaml")


def log_params(client: MlflowClient, run_id: str, params: dict[str, str]) -> None:
    """Log parameters."""
    client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()])


def log_points(
    client: MlflowClient,
    run_id: str,
    points: Sequence[Point],
    model_id: str | None = None,
    dataset: tuple[str, str] | None = None,
) -> None:
    """Log metrics, with the logged model and the dataset (name, digest) that they are about.

    Their time is the start of the run, so that a second try adds nothing.
    """
    now = client.get_run(run_id).info.start_time
    name, digest = dataset or (None, None)
    # MLflow itself gives the model of a second try what the first has logged, and refuses it again.
    model = client.get_logged_model(model_id) if model_id else None
    known = {(metric.key, metric.step) for metric in (model and model.metrics) or []}
    metrics = [
        Metric(key, value, now, step, model_id, dataset_name=name, dataset_digest=digest)
        for key, value, step in points
        if (key, step) not in known
    ]
    client.log_batch(run_id, metrics=metrics)


@contextmanager
def ended(run_id: str) -> Iterator[None]:
    """End a run when the block ends: FINISHED, FAILED by an error, KILLED by an interrupt.

    A run that is FINISHED when the block begins stays so: what is done again today is not its work.
    """
    client = connect()
    finished = client.get_run(run_id).info.status == "FINISHED"
    try:
        yield
    except BaseException as error:
        # The error is what must be told; a store that fails too is told by it already.
        with suppress(MlflowException):
            if not finished:
                state = "FAILED" if isinstance(error, Exception) else "KILLED"
                client.set_terminated(run_id, state)
        raise
    if not finished:
        client.set_terminated(run_id)
