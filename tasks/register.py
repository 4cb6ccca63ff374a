"""Register: one MLflow run and one model version a retrain."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.data.pandas_dataset import from_pandas
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]
from mlflow.entities import Metric, Param

import models
from models.config.flows import RetrainConfig
from models.forecasters.forecaster import load_forecaster
from models.naming import flatten, metric_values, model_name, run_labels
from models.pyfunc import forecast_table, input_columns, make_signature
from models.records import ForecasterRecord, SnapshotRecord, Trained, VersionRecord
from models.reporting.notes import escape
from models.scoring.holdout import Evaluation
from tasks.registry.aliases import find_champion
from tasks.registry.connection import code_version, connect, find_experiment
from tasks.registry.model_files import HOLDOUT, SERVING, digest_model
from tasks.registry.versions import find_by_key, retrain_key
from tasks.registry.views import CELLS, DIARY, set_views
from tasks.stage import stage
from tasks.storage.snapshots import read_candles

# What models/ imports when it serves.
SERVING_PACKAGES = (
    "mlflow",
    "tensorflow",
    "keras",
    "numpy",
    "pandas",
    "scikit-learn",
    "pydantic",
    "scipy",
)


@stage("register", retries=3)
def register(config: RetrainConfig, trained: Trained) -> VersionRecord:
    """Log the run with the holdout's losses and scores, and register serving model and holdout.

    The run stays open for the report's plots. A failure marks it FAILED. What the same retrain
    registered before, cut off later, is found again; what it left half is deleted.
    """
    client, snapshot = connect(), trained.snapshot
    name = model_name(config.symbol, snapshot.synthetic)
    key = retrain_key(config, snapshot)
    existing = find_by_key(client, name, key)
    if existing is not None:
        return _as_record(name, key, str(existing.run_id), str(existing.version))
    _delete_halves(client, name, key)
    evaluation = Evaluation.model_validate_json(trained.evaluated.evaluation_path.read_text())
    champion = find_champion(client, name)
    tags = run_tags(config, trained, evaluation) | {
        "retrain_key": key,
        "parent": "none" if champion is None else str(champion.version),
    }
    labels = run_labels(snapshot.synthetic, config.recipe.reproduction)
    title = " ".join([tags["as_of"], config.recipe.name, *labels])
    experiment = find_experiment(client, name)
    set_views(client, experiment, DIARY, CELLS)
    run_id = client.create_run(experiment, run_name=title, tags=tags).info.run_id
    try:
        _log_values(client, run_id, config, trained.holdout, evaluation)
        _log_dataset(run_id, snapshot)
        number = _register_version(client, run_id, name, trained, tags)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    return _as_record(name, key, run_id, number)


def _as_record(name: str, key: str, run_id: str, number: str) -> VersionRecord:
    return VersionRecord(
        experiment=name, run_id=run_id, registered_model=name, version=number, key=key
    )


def _delete_halves(client: MlflowClient, name: str, key: str) -> None:
    """Delete the runs of the same retrain that ended before there was a version."""
    experiment = find_experiment(client, name)
    for run in client.search_runs([experiment], f"tags.retrain_key = '{key}'"):
        half = client.search_logged_models([experiment], f"source_run_id = '{run.info.run_id}'")
        for model in half:
            client.delete_logged_model(model.model_id)
        client.delete_run(run.info.run_id)


def run_tags(config: RetrainConfig, trained: Trained, evaluation: Evaluation) -> dict[str, str]:
    """Tags of the run and of the version."""
    snapshot, checked = trained.snapshot, trained.checked
    tags = {
        "recipe": config.recipe.model_dump_json(),
        "seed": str(config.recipe.seed),
        "symbol": config.symbol,
        "as_of": snapshot.as_of.isoformat(),
        "cell": config.recipe.cell,
        "preset": config.recipe.preset,
        "source": snapshot.source,
        "snapshot_sha256": snapshot.sha256,
        "verdict": evaluation.verdict,
        "code_version": code_version(),
        "repairs": "; ".join(checked.repairs) or "none",
        "findings": "; ".join(found.message for found in checked.findings) or "none",
    }
    labels = run_labels(snapshot.synthetic, config.recipe.reproduction)
    tags |= {"label": "; ".join(labels)} if labels else {}
    tags |= {"reason": config.reason} if config.reason else {}
    # MLflow shows it as Markdown; a source has the name of a file.
    note = f"{evaluation.verdict_text}\n\nCandles: {escape(snapshot.source)}, {snapshot}."
    return tags | {"mlflow.note.content": "\n\n".join([*labels, note])}


def _log_values(
    client: MlflowClient,
    run_id: str,
    config: RetrainConfig,
    forecaster: ForecasterRecord,
    evaluation: Evaluation,
) -> None:
    now = int(1000 * time.time())
    metrics = [Metric(key, value, now, 0) for key, value in metric_values(evaluation).items()]
    for key, values in forecaster.losses.items():
        metrics += [Metric(key, value, now, epoch) for epoch, value in enumerate(values, 1)]
    params = flatten(config.model_dump(mode="json"))
    client.log_batch(
        run_id, metrics=metrics, params=[Param(key, str(value)) for key, value in params.items()]
    )


def _log_dataset(run_id: str, snapshot: SnapshotRecord) -> None:
    """Log what the run learned from; MLflow's digest has 36 characters, the tag the whole hash."""
    dataset = from_pandas(
        read_candles(snapshot),
        source=LocalArtifactDatasetSource(snapshot.candles_path.as_uri()),
        name=f"{snapshot.symbol} {snapshot.first_day} to {snapshot.as_of}",
        digest=snapshot.sha256[:36],
    )
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        mlflow.log_input(dataset, context="training", tags={"sha256": snapshot.sha256})


def _register_version(
    client: MlflowClient,
    run_id: str,
    name: str,
    trained: Trained,
    tags: dict[str, str],
) -> str:
    """Log the model with all it needs to load elsewhere, and register it; returns the version."""
    folders = {SERVING: trained.serving.folder, HOLDOUT: trained.holdout.folder}
    loaded = load_forecaster(folders[SERVING])
    n_rows = loaded.first_origin(trained.scaled.first_row) + 1
    candles = read_candles(trained.snapshot).tail(n_rows)
    output = forecast_table(loaded, candles)
    example = candles[list(input_columns(loaded.columns))].reset_index(drop=True)
    package = Path(models.__file__).parent
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        info = mlflow.pyfunc.log_model(
            name="forecaster",
            python_model=str(package / "pyfunc.py"),
            artifacts={part: str(folder) for part, folder in folders.items()},
            code_paths=[str(package)],
            signature=make_signature(loaded.columns, output),
            input_example=example.assign(open_time=example["open_time"].dt.tz_localize(None)),
            pip_requirements=[f"{package}=={version(package)}" for package in SERVING_PACKAGES],
        )
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    stored = Path(mlflow.artifacts.download_artifacts(info.model_uri))
    tags = tags | {"model_sha256": digest_model(stored)}
    created = client.create_model_version(
        name,
        source=info.model_uri,
        run_id=run_id,
        model_id=info.model_id,
        description=tags["mlflow.note.content"],
        tags={key: value for key, value in tags.items() if key != "mlflow.note.content"},
    )
    return str(created.version)
