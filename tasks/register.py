"""Register: one model version a retrain, and what its MLflow run holds of the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.data.pandas_dataset import from_pandas
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]

import models
from models.config.flows import RetrainConfig
from models.forecasters.forecaster import load_forecaster
from models.naming import model_name
from models.pyfunc import forecast_table, input_columns, make_signature
from models.records import SnapshotRecord, Trained, VersionRecord
from models.reporting.runs import describe_model, loss_metrics, retrain_metrics
from models.scoring.holdout import Evaluation
from tasks.registry.aliases import find_champion
from tasks.registry.artifacts import ArtifactFolder
from tasks.registry.connection import connect
from tasks.registry.model_files import digest_model, fetch_files
from tasks.registry.runs import delete_half_models, log_points
from tasks.registry.versions import HOLDOUT, SERVING, find_by_key, retrain_key
from tasks.stage import stage
from tasks.storage.files import read_frame, share_equal
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
def register(config: RetrainConfig, trained: Trained, run_id: str) -> VersionRecord:
    """Register serving model and holdout, and log the holdout's scores, losses and candles.

    What the same retrain registered before, cut off later, is found again.
    """
    client, snapshot = connect(), trained.snapshot
    name = model_name(config.symbol, snapshot.synthetic)
    key = retrain_key(config, snapshot)
    existing = find_by_key(client, name, key)
    if existing is not None:
        return _as_record(name, key, str(existing.run_id), str(existing.version))
    evaluation = Evaluation.model_validate_json(trained.evaluated.evaluation_path.read_text())
    champion = find_champion(client, name)
    client.set_tag(run_id, "verdict", trained.evaluated.verdict)
    client.set_tag(run_id, "parent", "none" if champion is None else str(champion.version))
    delete_half_models(client, client.get_run(run_id).info.experiment_id, run_id)
    dataset = _log_dataset(run_id, snapshot)
    client.log_artifacts(run_id, str(trained.holdout.folder), HOLDOUT)
    model_uri, model_id = _log_model(run_id, config, trained)
    points = retrain_metrics(evaluation, read_frame(trained.evaluated.predictions_path))
    log_points(client, run_id, points, model_id, dataset)
    log_points(client, run_id, loss_metrics(trained.holdout.losses), model_id)
    number = _register_version(client, config, snapshot, (run_id, model_uri, model_id))
    return _as_record(name, key, run_id, number)


def _as_record(name: str, key: str, run_id: str, number: str) -> VersionRecord:
    return VersionRecord(
        experiment=name, run_id=run_id, registered_model=name, version=number, key=key
    )


def _log_dataset(run_id: str, snapshot: SnapshotRecord) -> tuple[str, str]:
    """Log what the run learned from, once; returns its name and digest.

    MLflow's digest has 36 characters, the tag the whole hash.
    """
    name = f"{snapshot.symbol} {snapshot.first_day} to {snapshot.as_of}"
    dataset = from_pandas(
        read_candles(snapshot),
        source=LocalArtifactDatasetSource(snapshot.candles_path.as_uri()),
        name=name,
        digest=snapshot.sha256[:36],
    )
    with _resumed(run_id):
        mlflow.log_input(dataset, context="training", tags={"sha256": snapshot.sha256})
    return name, snapshot.sha256[:36]


def _log_model(run_id: str, config: RetrainConfig, trained: Trained) -> tuple[str, str]:
    """Log the model with all that it needs to load elsewhere; returns its address and id."""
    loaded = load_forecaster(trained.serving.folder)
    n_rows = loaded.first_origin(trained.scaled.first_row) + 1
    candles = read_candles(trained.snapshot).tail(n_rows)
    output = forecast_table(loaded, candles)
    example = candles[list(input_columns(loaded.columns))].reset_index(drop=True)
    package = Path(models.__file__).parent
    with _resumed(run_id):
        info = mlflow.pyfunc.log_model(
            name=f"{trained.snapshot.as_of} {config.recipe.name}",
            python_model=str(package / "pyfunc.py"),
            artifacts={SERVING: str(trained.serving.folder)},
            code_paths=[str(package)],
            signature=make_signature(loaded.columns, output),
            input_example=example.assign(open_time=example["open_time"].dt.tz_localize(None)),
            pip_requirements=[f"{package}=={version(package)}" for package in SERVING_PACKAGES],
        )
    _share_code(str(info.model_id))
    return str(info.model_uri), str(info.model_id)


def _share_code(model_id: str) -> None:
    """Keep the code of this model once on the disk with that of the one before it."""
    folder = ArtifactFolder(str(MlflowClient().get_logged_model(model_id).artifact_location)).folder
    if folder is None:
        return
    others = [path for path in folder.parents[1].glob("m-*") if path != folder.parent]
    if others:
        newest = max(others, key=lambda path: path.stat().st_mtime)
        share_equal(folder / "code", newest / "artifacts" / "code")


def _register_version(
    client: MlflowClient,
    config: RetrainConfig,
    snapshot: SnapshotRecord,
    logged: tuple[str, str, str],
) -> str:
    """Register what was `logged` (run, model's address and id); returns the version's number."""
    run_id, model_uri, model_id = logged
    name = model_name(config.symbol, snapshot.synthetic)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    about = describe_model(config.symbol, snapshot.synthetic)
    if client.get_registered_model(name).description != about:
        client.update_registered_model(name, about)
    created = client.create_model_version(
        name,
        source=model_uri,
        run_id=run_id,
        model_id=model_id,
        tags={
            "as_of": snapshot.as_of.isoformat(),
            "model": config.recipe.name,
            "snapshot_sha256": snapshot.sha256,
            # Of what the server gives back, not of what was sent.
            "model_sha256": digest_model(fetch_files(model_uri)),
        },
    )
    return str(created.version)


@contextmanager
def _resumed(run_id: str) -> Iterator[None]:
    """The run as MLflow's active one, which stays open afterwards."""
    client = MlflowClient()
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        yield
    client.update_run(run_id, status="RUNNING")
