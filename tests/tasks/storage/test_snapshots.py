"""Snapshots on disk of which some cannot be read."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from tasks.service.doctor import examine
from tasks.storage.snapshots import find_newest_candle, find_unreadable, list_snapshots

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
    assert find_newest_candle("BTC/USD") == dt.date(2024, 1, 5)
    assert [record.as_of for record, _ in list_snapshots()] == [dt.date(2024, 1, 5)]
    assert find_unreadable() == [damaged]
    told = [found for found in examine() if str(damaged) in found.todo]
    assert [found.what for found in told] == [
        "the manifest of snapshot bbbbbbbbbbbb cannot be read"
    ]
