"""Finds what nothing names any more, of one symbol: its real and its SYNTHETIC model."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from models.config.judging import Retention
from models.decisions.retention import StoredVersion, select_champions, select_old
from models.naming import model_name
from models.records import SnapshotRecord
from tasks.registry.aliases import find_aliases, find_champion, read_history
from tasks.registry.artifacts import ArtifactFolder
from tasks.registry.connection import connect
from tasks.registry.versions import HOLDOUT, find_versions, read_action
from tasks.secrets import hide
from tasks.service.items import GOING, Item, changed_on, on_disk
from tasks.storage.home import home
from tasks.storage.ledger import read_named
from tasks.storage.snapshots import find_base, read_manifests, shrink

# Of a report and its run, what can be made again from what is kept: the same recipe on the same
# snapshot gives the same holdout. Recalling a retrain needs the summary.
PICTURES = ("plots", "report.html", "predictions.parquet", HOLDOUT)
# Where a run keeps its copies of the pages, whose originals stay in reports.
PAGES = "pages"
# Tag of a version whose pictures went, so that no other day asks MLflow for them again.
TIDIED = "pictures_deleted"
# Decisions after which a version served.
TOOK_OVER = ("promote", "refresh")


@dataclass(frozen=True)
class Model:
    """What is known of a registered model before anything of it goes.

    `champions` are the versions whose pictures stay; `old` versions go as a whole; `last` is the
    first day whose things stay.
    """

    client: MlflowClient
    name: str
    versions: dict[int, ModelVersion]
    stored: dict[int, StoredVersion]
    champions: set[int]
    old: set[int]
    last: dt.date


def find_rubbish(symbol: str, retention: Retention, today: dt.date) -> list[Item]:
    """Everything that may be deleted, in the order in which it is to be deleted.

    `today`: the day from which ages count. A version goes after its pictures; what names a snapshot
    goes before it.
    """
    last = today - dt.timedelta(days=retention.keep_days)
    client = connect()
    found: list[Item] = []
    named: set[str] = set()
    compared: set[str] = set()
    for synthetic in (False, True):
        name = model_name(symbol, synthetic)
        forecast, in_ledger = read_named(name)
        model = _look(client, name, forecast, retention, last)
        found += [*_report_pictures(model), *_run_pictures(model), *_versions(model)]
        found += _orphans(model)
        named |= in_ledger
        for number, one in model.stored.items():
            named |= {one.snapshot_sha256} if number not in model.old else set()
            compared |= {one.snapshot_sha256} if number in model.champions else set()
    found += _snapshots(symbol, named, last)
    return [*found, *_scores(symbol, compared, last), *_old(last)]


def _look(
    client: MlflowClient, name: str, forecast: set[int], retention: Retention, last: dt.date
) -> Model:
    versions = {int(version.version): version for version in find_versions(client, name)}
    stored = {
        number: StoredVersion(
            number=number,
            as_of=dt.date.fromisoformat(version.tags["as_of"]),
            made=_day(version.creation_timestamp),
            snapshot_sha256=version.tags["snapshot_sha256"],
        )
        for number, version in versions.items()
        if {"as_of", "snapshot_sha256"} <= version.tags.keys()  # else it is not of ours
    }
    history = read_history(name)
    moved = history.loc[history["state"] == "done", "to_version"].astype(int).tolist()
    champion = find_champion(client, name)
    # Beside the ledger, which may be another one than that of whoever made the versions.
    decided = sorted(n for n, version in versions.items() if read_action(version) in TOOK_OVER)
    served = [*decided, *moved] if champion is None else [*decided, *moved, int(champion.version)]
    champions = select_champions(served, retention.keep_champions)
    # Whoever gave a version an alias counts on it.
    champions |= {int(number) for number in find_aliases(client, name)} if versions else set()
    kept = champions | forecast | set(decided)
    old = {
        one.number
        for one in select_old(stored.values(), kept, last)
        if not _is_elsewhere(client, versions[one.number])
    }
    return Model(client, name, versions, stored, champions, old, last)


def _report_pictures(model: Model) -> Iterator[Item]:
    """Plots and predictions in the folders of old reports of this machine."""
    ours = re.compile(rf"(\d{{4}}-\d\d-\d\d)-{re.escape(model.name)}-v(\d+)")
    for folder in sorted((home() / "reports").glob(f"*-{model.name}-v*")):
        found = ours.fullmatch(folder.name)
        if found is None or int(found[2]) in model.champions:
            continue
        if max(dt.date.fromisoformat(found[1]), changed_on(folder / "summary.json")) < model.last:
            for part in PICTURES:
                if (folder / part).exists():
                    yield on_disk(f"pictures of {folder.name}", folder / part)


def _run_pictures(model: Model) -> Iterator[Item]:
    """MLflow's copies of the same, and of the pages of the days."""
    for number, one in sorted(model.stored.items()):
        version = model.versions[number]
        if number in model.champions or TIDIED in version.tags or not one.is_before(model.last):
            continue
        try:
            run = model.client.get_run(str(version.run_id))
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                continue  # Somebody has deleted the run for good.
            raise
        artifacts = ArtifactFolder(str(run.info.artifact_uri))
        if not artifacts.is_here:
            continue
        parts = [file for file in artifacts.find() if file.path in PICTURES]
        parts += [file for file in artifacts.find(PAGES) if file.path.endswith(".html")]
        n_bytes = sum(
            artifacts.count_bytes(file.path) if file.is_dir else int(file.file_size or 0)
            for file in parts
        )
        paths = [file.path for file in parts]
        yield Item(
            f"pictures in the run of version {number}",
            hide(artifacts.address),
            n_bytes,
            partial(_delete_pictures, model.client, version, artifacts, paths),
            one.snapshot_sha256,
        )


def _delete_pictures(
    client: MlflowClient, version: ModelVersion, artifacts: ArtifactFolder, paths: list[str]
) -> None:
    for path in paths:
        artifacts.delete(path)
    client.set_model_version_tag(version.name, str(version.version), TIDIED, "yes")


def _versions(model: Model) -> Iterator[Item]:
    for number in sorted(model.old):
        version = model.versions[number]
        identity = _logged_model(version)
        address = _model_address(model.client, identity) if identity else ""
        yield Item(
            f"version {number}, which never forecast",
            hide(address),
            ArtifactFolder(address).count_bytes() if address else 0,
            partial(_delete_version, model.client, version, identity, address),
            model.stored[number].snapshot_sha256,
        )


def _is_elsewhere(client: MlflowClient, version: ModelVersion) -> bool:
    """Whether its files are another machine's, or somebody registered them under another name."""
    identity = _logged_model(version)
    address = _model_address(client, identity) if identity else ""
    if address and not ArtifactFolder(address).is_here:
        return True
    found = client.search_model_versions(f"run_id = '{version.run_id}'")
    return any(other.name != version.name for other in found)


def _delete_version(
    client: MlflowClient, version: ModelVersion, identity: str, address: str
) -> None:
    # The registry first: a version without files would be worse than files without one, which the
    # next cleaning finds.
    client.delete_model_version(version.name, str(version.version))
    if address:
        _delete_model(client, identity, address)


def _delete_model(client: MlflowClient, identity: str, address: str) -> None:
    ArtifactFolder(address).delete()
    if _model_address(client, identity):
        client.delete_logged_model(identity)


def _logged_model(version: ModelVersion) -> str:
    source = str(version.source)
    return source.removeprefix("models:/") if source.startswith("models:/m-") else ""


def _model_address(client: MlflowClient, identity: str) -> str:
    """Where the files of a logged model are; empty for one that was deleted."""
    try:
        return str(client.get_logged_model(identity).artifact_location)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return ""
        raise


def _orphans(model: Model) -> Iterator[Item]:
    """Files of models that no version names: of a deletion or of a retrain that was cut off."""
    experiment = model.client.get_experiment_by_name(model.name)
    if experiment is None:
        return
    named = {_logged_model(version) for version in model.versions.values()}
    root = ArtifactFolder(f"{experiment.artifact_location}/models")
    for folder in root.find():
        identity = folder.path
        address = f"{root.address}/{identity}"
        if identity.startswith("m-") and identity not in named and _is_orphan(model, address):
            yield Item(
                "a model without a version",
                hide(address),
                ArtifactFolder(address).count_bytes(),
                partial(_delete_model, model.client, identity, address),
            )


def _is_orphan(model: Model, address: str) -> bool:
    """Whether a model is old and no version of any name is of its run, or nothing is left of it."""
    try:
        logged = model.client.get_logged_model(address.rpartition("/")[2])
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            # Files that this database does not know may be another database's.
            return ArtifactFolder(address).count_bytes() == 0
        raise
    if _day(logged.creation_timestamp) >= model.last:
        return False
    return not model.client.search_model_versions(f"run_id = '{logged.source_run_id}'")


def _snapshots(symbol: str, named: set[str], last: dt.date) -> Iterator[Item]:
    """Snapshots of old days that nothing has asked for lately: the unnamed go, others get smaller.

    The first one of each year stays whole, and the others of the year as their changes from it.
    """
    folders = [path.parent for path in (home() / "snapshots").glob("*/manifest.json")]
    bases = {find_base(folder) for folder in folders}
    # Those that are small already need no look.
    looked_at = [
        folder
        for folder in folders
        if (folder.name not in named and folder.name not in bases)
        or (folder / "candles.parquet").exists()
    ]
    whole: dict[tuple[object, ...], SnapshotRecord] = {}
    records = [(folder, record) for folder, record in read_manifests(looked_at) if record]
    for folder, record in sorted(records, key=lambda pair: (pair[1].as_of, pair[1].sha256)):
        # A damaged manifest is told by `btc doctor`; what names another symbol's was not looked at.
        if record.symbol != symbol or record.as_of >= last:
            continue
        if changed_on(folder / "manifest.json") >= last:
            continue
        if folder.name not in named | bases:
            yield on_disk(f"snapshot of {record.as_of}", folder, folder.name)
            continue
        alike = (record.synthetic, record.source, record.first_day, record.as_of.year)
        first = whole.setdefault(alike, record)
        if first is not record and folder.name not in bases:
            yield Item(
                f"snapshot of {record.as_of}, which becomes its changes from that of {first.as_of}",
                str(record.candles_path),
                record.candles_path.stat().st_size,
                partial(shrink, record, first),
                folder.name,
            )


def _scores(symbol: str, compared: set[str], last: dt.date) -> Iterator[Item]:
    """Holdout scores of no champion that is kept; those of another symbol's snapshots stay."""
    short = {sha256[:16] for sha256 in compared}
    for path in sorted((home() / "holdouts").glob("*.parquet")):
        start = path.name.partition("-")[0]
        if start in short or changed_on(path) >= last:
            continue
        records = read_manifests((home() / "snapshots").glob(f"{start}*"))
        if all(record is not None and record.symbol == symbol for _, record in records):
            yield on_disk("scores of an old holdout", path)


def _old(last: dt.date) -> Iterator[Item]:
    """Candles of old searches, and what a cleaning that was cut off left of a folder.

    The recipe of a search stays, and going on with it writes the candles anew.
    """
    for path in sorted((home() / "tuning").glob("*/candles.parquet")):
        if changed_on(path) < last:
            yield on_disk("candles of an old search", path)
    for path in sorted([*home().glob(f"*/.*{GOING}"), *home().glob(f"reports/*/.*{GOING}")]):
        if changed_on(path) < last:
            yield on_disk("left by a cleaning that was cut off", path)


def _day(milliseconds: int) -> dt.date:
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).date()
