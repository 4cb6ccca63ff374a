"""The snapshots on disk, for people; apart from the task, so that a look needs no Prefect."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pandas as pd

from models.config.flows import RetrainConfig
from models.data.candles import apply_changes, digest_candles, find_changes
from models.errors import InputError, ServiceError, StoreError
from models.naming import model_name
from models.records import SnapshotRecord
from tasks.storage.archive import list_kept, recover
from tasks.storage.files import read_frame, write_frame
from tasks.storage.home import home


def list_snapshots() -> list[tuple[SnapshotRecord, str]]:
    """Every snapshot, oldest day first, and what is wrong with its candles; empty for nothing.

    Without those of `find_unreadable`.
    """
    found = [(record, find_fault(record)) for _, record in read_manifests() if record]
    return sorted(found, key=lambda pair: (pair[0].as_of, pair[0].sha256))


def find_unreadable() -> list[Path]:
    """Folders of snapshots whose manifest is damaged."""
    return sorted(folder for folder, record in read_manifests() if record is None)


def read_manifests(
    folders: Iterable[Path] | None = None,
) -> Iterator[tuple[Path, SnapshotRecord | None]]:
    """Snapshots' folders, of all or of those given, and their manifests, None for a damaged one."""
    for folder in (home() / "snapshots").glob("*") if folders is None else folders:
        manifest = folder / "manifest.json"
        if folder.name.startswith("."):
            continue  # half deleted
        try:
            yield folder, _read_manifest(manifest, manifest.stat().st_mtime_ns)
        except (FileNotFoundError, NotADirectoryError):
            continue  # not whole yet, or removed since it was listed
        except (OSError, ValueError, TypeError):
            yield folder, None


@cache
def _read_manifest(manifest: Path, _changed: int) -> SnapshotRecord:
    """Read it once a process: the alarms look each minute, at ten years of all symbols."""
    facts = json.loads(manifest.read_text(encoding="utf-8"))
    return SnapshotRecord.model_validate(facts | {"folder": manifest.parent})


def read_candles(record: SnapshotRecord) -> pd.DataFrame:
    """The candles of a snapshot, whose hash is verified; raises InputError where they changed."""
    return _read(record.folder, record.sha256)


def _read(folder: Path, sha256: str) -> pd.DataFrame:
    path = folder / "candles.parquet"
    base = "" if path.exists() else find_base(folder)
    # Raises for itself: what is kept as changes from it is lost with it.
    before = _read(folder.parent / base, base) if base else None
    try:
        if before is None:
            candles = read_frame(path)
        else:
            candles = apply_changes(read_frame(changes_path(folder, base)), before)
        found = digest_candles(candles)
    except (OSError, ValueError) as error:
        raise InputError(f"snapshot {folder} cannot be read ({error}): {advise(folder)}") from error
    if found != sha256:
        raise InputError(
            f"snapshot {folder} is damaged (SHA-256 {found[:12]} of its candles, expected "
            f"{sha256[:12]}): {advise(folder)}"
        )
    return candles


def advise(folder: Path) -> str:
    """What to do about a damaged snapshot, which may be the base of others."""
    if any(folder.parent.glob(f"*/{changes_path(folder, folder.name).name}")):
        return "restore it from a backup; other snapshots are kept as their changes from it"
    return "remove its folder, and `btc retrain` makes it again"


def find_base(folder: Path) -> str:
    """The snapshot, by hash, from which one differs little that is kept as changes; else empty."""
    found = next(folder.glob(changes_path(folder, "*").name), None)
    return "" if found is None else found.stem.partition("-")[2]


def shrink(record: SnapshotRecord, base: SnapshotRecord) -> None:
    """Keep a snapshot as its changes from a whole one.

    It stays as it is where more than half of its rows differ, or it would not be the same.
    """
    candles, before = read_candles(record), read_candles(base)
    changes = find_changes(candles, before)
    if changes is None or 2 * len(changes) > len(candles):
        return
    if digest_candles(apply_changes(changes, before)) == record.sha256:
        write_frame(changes, changes_path(record.folder, base.sha256))
        record.candles_path.unlink()


def changes_path(folder: Path, base: str) -> Path:
    """Where a snapshot lies that is kept as its changes from another."""
    return folder / f"changes-{base}.parquet"


def is_intact(record: SnapshotRecord) -> bool:
    """Whether the candles are there and have the snapshot's hash."""
    return not find_fault(record)


def find_fault(record: SnapshotRecord) -> str:
    """What is wrong with the candles, and what to do about it; empty where nothing is."""
    try:
        read_candles(record)
    except InputError as error:
        return str(error)
    return ""


def find_newest_snapshot(
    config: RetrainConfig, as_of: dt.date, trouble: ServiceError
) -> SnapshotRecord:
    """The newest intact snapshot of the symbol's real candles up to `as_of`; `trouble` without."""
    try:
        _recover_newest(config.symbol, as_of)
    except StoreError as error:
        logging.getLogger(__name__).warning(
            "only this machine's snapshots are looked at: %s", error
        )
    known = [
        record
        for _, record in read_manifests()
        if record and record.symbol == config.symbol
        if record.as_of <= as_of and not record.synthetic
    ]
    newest_first = sorted(known, key=lambda record: (record.as_of, record.sha256), reverse=True)
    found = next(filter(is_intact, newest_first), None)
    if found is None:
        raise trouble
    return found


def find_newest_candles() -> dict[str, dt.date]:
    """Newest day of each symbol's snapshots, by those manifests alone that can be read."""
    found: dict[str, dt.date] = {}
    for _, record in read_manifests():
        if record and not record.synthetic:
            found[record.symbol] = max(record.as_of, found.get(record.symbol, record.as_of))
    return found


def archive_name(record: SnapshotRecord) -> str:
    """Where a snapshot is in the archive, so that those of a symbol are listed by day."""
    folder = f"{record.as_of}-{record.sha256}"
    return f"snapshots/{model_name(record.symbol, record.synthetic)}/{folder}"


def _recover_newest(symbol: str, as_of: dt.date) -> None:
    """Bring the newest snapshot of a symbol back that another machine left in the archive."""
    folder = f"snapshots/{model_name(symbol, synthetic=False)}"
    for name in reversed(list_kept(folder)):
        day, sha256 = name[:10], name[11:]
        target = home() / "snapshots" / sha256
        if day <= as_of.isoformat() and (target.exists() or recover(f"{folder}/{name}", target)):
            return
