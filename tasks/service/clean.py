"""Housekeeping: finds what nothing names any more, and deletes it."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from models.decisions.retention import (
    KEEP_DAYS,
    StoredVersion,
    select_kept,
    select_old,
    select_unnamed,
)
from models.errors import InputError
from models.naming import model_name
from tasks.registry.aliases import find_champion, read_history
from tasks.registry.connection import connect, find_experiment
from tasks.registry.versions import find_versions
from tasks.storage.home import home
from tasks.storage.ledger import read_ledger
from tasks.storage.lock import hold

# Of a report, what can be drawn again from what is kept; recalling a retrain needs the summary.
PICTURES = ("plots", "report.html", "predictions.parquet")


@dataclass(frozen=True)
class Item:
    """Something that may go: what it is, where, how large, and the version it belongs to."""

    what: str
    path: Path
    version: ModelVersion | None = None

    @property
    def n_bytes(self) -> int:
        """Size of the file, or of all files in the folder."""
        files = [self.path] if self.path.is_file() else self.path.rglob("*")
        return sum(path.stat().st_size for path in files if path.is_file())


def find_rubbish(symbol: str = "BTC/USD", keep_days: int = KEEP_DAYS) -> list[Item]:
    """Everything that may be deleted today, of the real and of the SYNTHETIC models."""
    today = dt.datetime.now(dt.UTC).date()
    last = today - dt.timedelta(days=keep_days)
    client = connect()
    found: list[Item] = []
    named: set[str] = set()
    for name in (model_name(symbol, synthetic=False), model_name(symbol, synthetic=True)):
        versions = {int(version.version): version for version in find_versions(client, name)}
        ledger = read_ledger(name)
        stored = [_stored(version) for version in versions.values()]
        kept = select_kept(ledger["version"].astype(int), _champions(client, name))
        old = {one.number for one in select_old(stored, kept, today, keep_days)}
        found += [_files(client, versions[number]) for number in sorted(old)]
        found += _pictures(client, name, versions, last)
        named |= {one.snapshot_sha256 for one in stored if one.number not in old}
        named |= set(ledger["snapshot_sha256"])
    found += _snapshots(symbol, named, last)
    found += [
        Item("scores of an old holdout", path)
        for path in (home() / "holdouts").glob("*.parquet")
        if dt.date.fromtimestamp(path.stat().st_mtime) < last
    ]
    found += [
        Item("candles of an old search", path)  # Its recipe stays; going on writes them anew.
        for path in (home() / "tuning").glob("*/candles.parquet")
        if dt.date.fromtimestamp(path.stat().st_mtime) < last
    ]
    return [item for item in found if item.path.exists()]


def _stored(version: ModelVersion) -> StoredVersion:
    tags = version.tags
    return StoredVersion(
        number=int(version.version),
        as_of=dt.date.fromisoformat(tags["as_of"]),
        snapshot_sha256=tags["snapshot_sha256"],
    )


def _champions(client: MlflowClient, name: str) -> list[int]:
    history = read_history(name)
    moved = history.loc[history["state"] == "done", "to_version"].astype(int).tolist()
    champion = find_champion(client, name)
    return moved if champion is None else [*moved, int(champion.version)]


def _files(client: MlflowClient, version: ModelVersion) -> Item:
    try:
        model = client.get_logged_model(str(version.source).removeprefix("models:/"))
        place = urlsplit(str(model.artifact_location))
        # In a bucket, or with a server that keeps them, only MLflow can delete them.
        path = Path(unquote(place.path)) if place.scheme in ("", "file") else home() / "none"
    except MlflowException:
        path = home() / "none"
    return Item(f"version {version.version}, which never forecast", path, version)


def _pictures(
    client: MlflowClient, name: str, versions: dict[int, ModelVersion], last: dt.date
) -> Iterator[Item]:
    """Plots and predictions of old reports, in the report's folder and in MLflow's copy."""
    folders = [
        folder
        for folder in (home() / "reports").glob(f"*-{name}-v*")
        if (day := re.match(r"\d{4}-\d\d-\d\d", folder.name))
        and dt.date.fromisoformat(day[0]) < last
    ]
    artifacts = home() / "mlartifacts" / name
    for folder in sorted(folders):
        version = versions.get(int(folder.name.rpartition("-v")[2]))
        places = [folder]
        if version is not None and find_experiment(client, name):
            places.append(artifacts / str(version.run_id) / "artifacts")
        for place in places:
            for part in PICTURES:
                yield Item(f"pictures of {folder.name}", place / part)


def _snapshots(symbol: str, named: set[str], last: dt.date) -> Iterator[Item]:
    manifests = {path.parent.name: path for path in (home() / "snapshots").glob("*/manifest.json")}
    for sha256 in sorted(select_unnamed(manifests, named)):
        try:
            facts = json.loads(manifests[sha256].read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # `btc doctor` tells of it.
        # What names those of another symbol was not looked at.
        if facts["symbol"] != symbol:
            continue
        if dt.date.fromisoformat(facts["as_of"]) < last:
            yield Item(f"snapshot of {facts['as_of']}", manifests[sha256].parent)


def delete(items: list[Item], symbol: str = "BTC/USD") -> int:
    """Delete what was found; returns the bytes. Raises InputError while a retrain is at work."""
    client = connect()
    freed = 0
    with hold(model_name(symbol, synthetic=False)) as mine:
        if not mine:
            raise InputError(f"a retrain of {symbol} is at work; clean when it has ended")
        for item in items:
            freed += item.n_bytes
            if item.version is not None:
                # The registry first: a version without files would be worse than files without one.
                client.delete_model_version(item.version.name, str(item.version.version))
            shutil.rmtree(item.path) if item.path.is_dir() else item.path.unlink()
    return freed
