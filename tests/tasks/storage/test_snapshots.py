"""Snapshots on disk of which some cannot be read."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pandas as pd
import pytest

from models.data.candles import digest_candles
from models.data.sample import make_sample
from models.records import SnapshotRecord
from tasks.service.doctor import examine
from tasks.storage.files import write_frame
from tasks.storage.snapshots import (
    find_base,
    find_newest_candles,
    find_unreadable,
    is_intact,
    list_snapshots,
    read_candles,
    shrink,
)

MANIFEST = {
    "sha256": "a" * 64, "symbol": "BTC/USD", "source": "csv:x.csv", "synthetic": False,
    "n_rows": 5, "first_day": "2024-01-01", "as_of": "2024-01-05",
}  # fmt: skip


def write_manifest(home: Path, name: str, content: bytes) -> Path:
    folder = home / "snapshots" / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(content)
    return folder


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"symbol": "BTC/USD"}', b"null"]
)
def test_a_damaged_manifest_stops_nobody_and_doctor_tells_it(
    own_home: Path, content: bytes
) -> None:
    write_manifest(own_home, "a" * 64, json.dumps(MANIFEST).encode())
    damaged = write_manifest(own_home, "b" * 64, content)
    # Removed by `btc clean` after it was listed.
    gone = write_manifest(own_home, "c" * 64, b"") / "manifest.json"
    gone.unlink()
    gone.symlink_to("nowhere")
    assert find_newest_candles()["BTC/USD"] == dt.date(2024, 1, 5)
    assert [record.as_of for record, _ in list_snapshots()] == [dt.date(2024, 1, 5)]
    assert find_unreadable() == [damaged]
    [told] = [found for found in examine() if str(damaged) in found.what]
    assert told.what == f"the manifest of snapshot {damaged} cannot be read"
    assert told.todo.startswith("remove its folder, and `btc retrain` makes it again")


def test_manifests_are_read_once_and_again_when_they_have_changed(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_manifest(own_home, "a" * 64, json.dumps(MANIFEST).encode())
    assert find_newest_candles()["BTC/USD"] == dt.date(2024, 1, 5)
    with monkeypatch.context() as patch:
        patch.delattr(json, "loads")
        assert find_newest_candles()["BTC/USD"] == dt.date(2024, 1, 5)
    newer = MANIFEST | {"as_of": "2024-01-06"}
    (folder / "manifest.json").write_bytes(json.dumps(newer).encode())
    assert find_newest_candles()["BTC/USD"] == dt.date(2024, 1, 6)


def store(home: Path, candles: pd.DataFrame) -> SnapshotRecord:
    facts = MANIFEST | {"sha256": digest_candles(candles), "n_rows": len(candles)}
    folder = write_manifest(home, str(facts["sha256"]), json.dumps(facts).encode())
    record = SnapshotRecord.model_validate(facts | {"folder": folder})
    write_frame(candles, record.candles_path)
    return record


def test_a_snapshot_kept_as_changes_reads_the_same_and_damage_shows(own_home: Path) -> None:
    candles = make_sample(dt.date(2026, 1, 10), n_days=800)
    revised = candles.assign(volume=candles["volume"].where(candles.index != 700, 1.0))
    first, second, third = (store(own_home, frame) for frame in (candles[:-2], candles, revised))
    size = second.candles_path.stat().st_size
    for record in (second, third):
        shrink(record, first)
        assert find_base(record.folder) == first.sha256
        assert not record.candles_path.exists() and is_intact(record)
    assert sum(path.stat().st_size for path in second.folder.iterdir()) < size / 3
    pd.testing.assert_frame_equal(read_candles(third), revised)
    # One that lacks days of the first stays as it is.
    other = store(own_home, candles[100:])
    shrink(other, first)
    assert other.candles_path.exists()
    # Damage to the first is told once, and by no command that would lose the others for good.
    first.candles_path.write_bytes(b"damaged")
    assert not is_intact(second)
    told = [found for found in examine() if found.what.startswith("snapshot ")]
    assert [str(first.folder) in found.what for found in told] == [True]
    assert told[0].todo.startswith("restore it from a backup; other snapshots")
    whole = [record.sha256 for record, fault in list_snapshots() if not fault]
    assert whole == [other.sha256]
