"""The files of a registered version: their hash, and the forecaster in them."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from models.errors import InputError
from models.forecasters.forecaster import Forecaster, load_forecaster
from tasks.registry.aliases import find_champion
from tasks.registry.connection import told_in_one_line, tracking_uri
from tasks.registry.store import local_folder
from tasks.registry.versions import SERVING, find_versions, read_facts

# MLflow adds this file whenever it hands a version out.
_ADDED = "registered_model_meta"
_KEPT = 8
_fetched: dict[str, Path] = {}
"""Folders of the last versions fetched from a server or bucket by this process, by address."""


def digest_model(folder: Path) -> str:
    """SHA-256 over names and contents of a logged model's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != _ADDED and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def fetch_files(source: str) -> Path:
    """The folder with the files of a logged model: where they lie, or as fetched by this process.

    What comes from a server or bucket is fetched once, since it is some eighty requests; it goes
    with the process. Raises RegistryError where server or bucket do not give them, which may be
    over soon, and MlflowException or OSError where they are gone.
    """
    place = source
    if source.startswith("models:/m-"):
        model = MlflowClient().get_logged_model(source.removeprefix("models:/"))
        place = str(model.artifact_location)
    if local_folder(place):
        return Path(mlflow.artifacts.download_artifacts(source))
    if source not in _fetched:
        while len(_fetched) >= _KEPT:  # A worker may live for months.
            shutil.rmtree(_fetched.pop(next(iter(_fetched))), ignore_errors=True)
        # A folder of its own for each try: one that was cut off is never taken for whole.
        target = tempfile.mkdtemp(dir=_passing_folder().name)
        with told_in_one_line():
            _fetched[source] = Path(mlflow.artifacts.download_artifacts(source, dst_path=target))
    return _fetched[source]


@cache
def _passing_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="btc-daily-versions-", ignore_cleanup_errors=True)


def load_version(version: ModelVersion) -> Forecaster:
    """Load the forecaster of a version that serves, after checking its files against their hash.

    Raises InputError for files that are missing or changed, and for a model that this release
    cannot read.
    """
    label = _label(version)
    other = "`btc rollback --why …` goes back to the version before, `btc retrain` makes a new one"
    folder, fault = _fetch(version)
    if folder is None:
        raise InputError(f"{label}: {fault}; {other}")
    try:
        return load_forecaster(folder / "artifacts" / SERVING)
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        facts = read_facts(MlflowClient(), version)
        made = facts.get("mlflow.source.git.commit") or facts.get("code_version", "unknown")
        raise InputError(
            f"{label}: made by another release (code {made}), this one cannot read it "
            f"({_one_line(error)}); {other}"
        ) from error


def check_champion(client: MlflowClient, name: str) -> None:
    """Raise InputError where there is a champion whose files are not there as registered.

    It could not forecast, and no retrain would be compared with it; the message names the version
    to go back to.
    """
    champion = find_champion(client, name)
    if champion is None:
        return
    folder, fault = _fetch(champion)
    if folder is not None:
        return
    others = (version for version in find_versions(client, name) if version != champion)
    whole = next((version for version in others if _fetch(version)[0]), None)
    raise InputError(
        f"{_label(champion)}, the champion: {fault}; "
        + (
            f"`btc rollback --to {whole.version} --why …` lets version {whole.version} serve"
            if whole
            else "no other version has its files: `btc restore` a backup into a new BTC_HOME, or "
            "begin anew in one"
        )
    )


def find_fault(version: ModelVersion) -> str:
    """What is wrong with a version's files; empty where they are those that were registered."""
    return _fetch(version)[1]


def _fetch(version: ModelVersion) -> tuple[Path | None, str]:
    """The folder with a version's files, if they are those that were registered; else why not."""
    try:
        folder = fetch_files(str(version.source))
    except (OSError, MlflowException) as error:
        gone = getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST"
        if tracking_uri().startswith("http") and not gone:
            raise  # the server cannot say
        return None, f"its files cannot be had ({_one_line(error)})"
    found = digest_model(folder)
    expected = version.tags.get("model_sha256", "none")
    if found != expected:
        _fetched.pop(str(version.source), None)
        return None, (
            f"its files are not those that were registered (SHA-256 {found[:12]}, expected "
            f"{expected[:12]})"
        )
    return folder, ""


def _label(version: ModelVersion) -> str:
    return f"{version.name} version {version.version}"


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
