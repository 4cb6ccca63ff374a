"""Snapshot: the candles that a run saw, kept unchanged under their hash."""

from __future__ import annotations

import json

from models.data.candles import digest_candles
from models.records import CandlesRecord, CheckedRecord, SnapshotRecord
from tasks.stage import stage
from tasks.storage.archive import keep
from tasks.storage.files import read_frame, write_frame, write_text
from tasks.storage.home import home
from tasks.storage.snapshots import archive_name, is_intact


@stage("snapshot", retries=3)
def snapshot(candles: CandlesRecord, checked: CheckedRecord, symbol: str) -> SnapshotRecord:
    """Store the checked candles once; the manifest comes last, so that it means all is there."""
    frame = read_frame(checked.path)
    sha256 = digest_candles(frame)
    record = SnapshotRecord(
        folder=home() / "snapshots" / sha256,
        sha256=sha256,
        symbol=symbol,
        source=candles.label,
        synthetic=candles.synthetic,
        n_rows=len(frame),
        first_day=frame["open_time"].iloc[0].date(),
        as_of=frame["open_time"].iloc[-1].date(),
    )
    manifest = record.folder / "manifest.json"
    if manifest.exists() and record.candles_path.exists() and is_intact(record):
        manifest.touch()  # Cleaning goes by when it was last asked for.
    else:
        write_frame(frame, record.candles_path)
        facts = record.model_dump(mode="json", exclude={"folder", "seconds"})
        write_text(json.dumps(facts | {"columns": list(frame.columns)}, indent=2), manifest)
    if not candles.synthetic:
        keep(record.folder, archive_name(record))
    return record
