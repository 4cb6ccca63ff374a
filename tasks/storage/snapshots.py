"""The snapshots on disk, for people; apart from the task, so that a look needs no Prefect."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from models.config.flows import RetrainConfig
from models.data.candles import apply_changes, digest_candles, find_changes
from models.errors import InputError, SourceError
from models.naming import model_name
from models.records import SnapshotRecord
from tasks.storage.archive import list_kept, recover
from tasks.storage.files import read_frame, write_frame
from tasks.storage.home import home


def list_snapshots() -> list[tuple[SnapshotRecord, bool]]:
    """Every whole snapshot, oldest day first, and whether its candles still have its hash.

    Without those of `find_unreadable`.
    """
    found = [(record, is_intact(record)) for _, record in read_manifests() if record]
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
            facts = json.loads(manifest.read_text(encoding="utf-8"))
            yield folder, SnapshotRecord.model_validate(facts | {"folder": folder})
        except (FileNotFoundError, NotADirectoryError):
            continue  # not whole yet, or removed since it was listed
        except (OSError, ValueError, TypeError):
            yield folder, None


def read_candles(record: SnapshotRecord) -> pd.DataFrame:
    """The candles of a snapshot, whose hash is verified; raises InputError where they changed."""
    again = "remove its folder, and `btc retrain` makes it again"
    try:
        candles = _read(record.folder)
        found = digest_candles(candles)
    except (OSError, ValueError) as error:
        raise InputError(f"snapshot {record.folder} cannot be read ({error}): {again}") from error
    if found != record.sha256:
        raise InputError(
            f"snapshot {record.folder} is damaged (SHA-256 {found[:12]} of its candles, expected "
            f"{record.sha256[:12]}): {again}"
        )
    return candles


def _read(folder: Path) -> pd.DataFrame:
    path = folder / "candles.parquet"
    if not path.exists() and (base := find_base(folder)):
        return apply_changes(read_frame(changes_path(folder, base)), _read(folder.parent / base))
    return read_frame(path)


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
    try:
        read_candles(record)
    except InputError:
        return False
    return True


def find_newest_snapshot(
    config: RetrainConfig, as_of: dt.date, trouble: SourceError
) -> SnapshotRecord:
    """The newest intact snapshot of the symbol's real candles up to `as_of`; `trouble` without."""
    _recover_newest(config.symbol, as_of)
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


def find_newest_candle(symbol: str) -> dt.date | None:
    """Newest day of the symbol's snapshots, by those manifests alone that can be read."""
    known = [record for _, record in read_manifests() if record]
    return max(
        (found.as_of for found in known if found.symbol == symbol and not found.synthetic),
        default=None,
    )


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
