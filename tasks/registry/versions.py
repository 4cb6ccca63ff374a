"""Registered versions: found by number or by retrain, and what their tags say."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from models.config.flows import RetrainConfig
from models.config.recipe import Recipe
from models.decisions.promotion import Decision
from models.errors import InputError
from models.records import SnapshotRecord
from tasks.registry.connection import code_version

# Folders of the two models of a version: the one that serves in its files, its holdout in its run.
SERVING, HOLDOUT = "forecaster", "holdout"
DECISION = "decision.json"
"""Artifact of the run with the decision about its version."""


def find_versions(client: MlflowClient, name: str, most: int = 10_000) -> list[ModelVersion]:
    """Every version of a registered model, or the newest `most`, the newest first.

    MLflow takes a millisecond for each.
    """
    order = ["version_number DESC"]
    return list(client.search_model_versions(f"name = '{name}'", most, order))


def retrain_key(config: RetrainConfig, snapshot: SnapshotRecord) -> str:
    """What makes two retrains the same: candles, symbol, recipe, judging and code."""
    parts = [snapshot.sha256, config.symbol, config.recipe.digest(), config.judging.digest()]
    return hashlib.sha256("\n".join([*parts, code_version()]).encode()).hexdigest()


def find_by_key(client: MlflowClient, name: str, key: str) -> ModelVersion | None:
    """The version that the same retrain registered before, if any; its run has the key as a tag."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return None
    runs = client.search_runs([experiment.experiment_id], f"tags.retrain_key = '{key}'")
    found = [
        version
        for run in runs
        for version in client.search_model_versions(f"run_id = '{run.info.run_id}'")
    ]
    return min(found, key=lambda version: int(version.version)) if found else None


def find_version(client: MlflowClient, name: str, number: str) -> ModelVersion:
    """One version by its number; raises InputError that names those there are."""
    # A number alone: MLflow says of other texts only that it wants one.
    if number.isdecimal() and number.isascii() and len(number) < 10:
        try:
            return client.get_model_version(name, number)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    versions = [str(version.version) for version in find_versions(client, name)]
    known = ", ".join(versions) or f"none yet; {say_where_to_look(client, name)}"
    raise InputError(f"{name} has no version {number!r}; known: {known}")


def say_where_to_look(client: MlflowClient, name: str) -> str:
    """What somebody can do who looks for a model that has no version."""
    if find_versions(client, f"{name}-synthetic"):
        return "those of the SYNTHETIC sample show with --synthetic"
    return "run `btc retrain`"


def read_recipe(version: ModelVersion) -> Recipe:
    """The recipe of a version, also one of an earlier release; InputError where it has none."""
    if "recipe" in version.tags:  # as earlier releases kept it
        return Recipe.from_stored(json.loads(version.tags["recipe"]))
    folder = f"models:/{version.name}/{version.version}/artifacts/{SERVING}"
    stored = _read_artifact(lambda: folder, "recipe.json")
    if stored is None:
        raise InputError(
            f"{version.name} version {version.version} has no recipe: it was not registered by "
            "`btc retrain`, or its files are gone; choose another version (`btc models` lists them)"
        )
    return Recipe.from_stored(json.loads(stored)["recipe"])


def check_promotable(version: ModelVersion) -> None:
    """Raise InputError for a version that may never serve: a reproduction, by its recipe."""
    if read_recipe(version).reproduction:
        raise InputError(
            f"{version.name} version {version.version} is a reproduction, which leaks the future "
            "and is never promoted; choose another version (`btc models` lists them)"
        )


def read_decision(version: ModelVersion) -> Decision | None:
    """The decision about a version, None where there is none yet."""
    text = version.tags.get("decision")
    if not text or text.startswith("{"):  # as earlier releases kept it
        return Decision.model_validate_json(text) if text else None
    client = MlflowClient()
    stored = _read_artifact(
        lambda: str(client.get_run(str(version.run_id)).info.artifact_uri), DECISION
    )
    if stored is not None:
        return Decision.model_validate_json(stored)
    action, _, unproven = text.partition(", ")
    why = ("the run that held the reasons was deleted",)
    return Decision.model_validate({"action": action, "unproven": bool(unproven), "reasons": why})


def read_action(version: ModelVersion) -> str | None:
    """What was decided about a version, by its tag alone; None where nothing was yet."""
    text = version.tags.get("decision")
    if text and text.startswith("{"):  # as earlier releases kept it
        return Decision.model_validate_json(text).action
    return text.partition(", ")[0] if text else None


def _read_artifact(find_folder: Callable[[], str], name: str) -> str | None:
    """Text of an artifact in a folder, None where it, or what it belongs to, was deleted.

    What fails otherwise is raised: a server that does not answer has deleted nothing.
    """
    try:
        folder = find_folder()
        found = mlflow.artifacts.list_artifacts(artifact_uri=folder)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    if name not in {Path(artifact.path).name for artifact in found}:
        return None
    with tempfile.TemporaryDirectory() as target:
        path = mlflow.artifacts.download_artifacts(f"{folder}/{name}", dst_path=target)
        return Path(path).read_text(encoding="utf-8")


def say_decision(decision: Decision) -> str:
    """A decision as the tag of a version: keep, or refresh, unproven."""
    return f"{decision.action}{', unproven' if decision.unproven else ''}"


def read_facts(client: MlflowClient, version: ModelVersion) -> dict[str, str]:
    """Tags of a version and of its run; a run that was deleted for good has none."""
    with suppress(MlflowException):
        return client.get_run(str(version.run_id)).data.tags | version.tags
    return dict(version.tags)
