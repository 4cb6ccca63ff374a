"""The files of a registered version: their hash, and the forecaster in them."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from models.errors import InputError
from models.forecasters.forecaster import Forecaster, load_forecaster
from tasks.registry.versions import SERVING, read_facts

# MLflow adds this file whenever it hands a version out.
_ADDED = "registered_model_meta"


def digest_model(folder: Path) -> str:
    """SHA-256 over names and contents of a logged model's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != _ADDED and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def load_version(version: ModelVersion) -> Forecaster:
    """Load the forecaster of a version that serves, after checking its files against their hash.

    Raises InputError for files that are missing or changed, and for a model that this release
    cannot read.
    """
    label = f"{version.name} version {version.version}"
    other = "`btc rollback --why …` goes back to the version before, `btc retrain` makes a new one"
    try:
        folder = Path(mlflow.artifacts.download_artifacts(version.source))
    except (OSError, MlflowException) as error:
        raise InputError(
            f"{label}: its files cannot be had ({_one_line(error)}); {other}"
        ) from error
    found = digest_model(folder)
    expected = version.tags.get("model_sha256", "none")
    if found != expected:
        raise InputError(
            f"{label}: its files are not those that were registered (SHA-256 {found[:12]}, "
            f"expected {expected[:12]}); {other}"
        )
    try:
        return load_forecaster(folder / "artifacts" / SERVING)
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        facts = read_facts(MlflowClient(), version)
        made = facts.get("mlflow.source.git.commit") or facts.get("code_version", "unknown")
        raise InputError(
            f"{label}: made by another release (code {made}), this one cannot read it "
            f"({_one_line(error)}); {other}"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
