"""A disk that is really full: what was there stays, nothing is half-written, and it is one line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from models.errors import DiskError, InputError, LedgerError
from tasks.storage.database import transaction
from tasks.storage.files import read_frame, whole_folder, write_frame, write_text
from tasks.storage.home import check_home
from tests.servers import fill_disk

FRAME = pd.DataFrame({"close": range(20_000)})


def test_a_file_is_the_old_one_and_no_half_is_left(small_disk: Path) -> None:
    path = small_disk / "home" / "kept" / "frame.parquet"
    write_frame(FRAME.head(3), path)
    filler = fill_disk(small_disk)
    for again in (
        lambda: write_frame(FRAME, path),
        lambda: write_text("x" * 100_000, path.with_name("note")),
        lambda: _write_folder(path.with_name("folder")),
    ):
        with pytest.raises(DiskError, match="no space is left on the disk") as told:
            again()
        assert "\n" not in str(told.value) and "run again" in str(told.value)
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    assert read_frame(path).equals(FRAME.head(3))
    filler.unlink()
    write_frame(FRAME, path)
    assert read_frame(path).equals(FRAME)


def _write_folder(path: Path) -> None:
    with whole_folder(path) as folder:
        (folder / "part").write_text("x" * 100_000)


def test_a_run_is_refused_before_any_work(small_disk: Path) -> None:
    check_home()
    filler = fill_disk(small_disk)
    with pytest.raises(InputError, match="0 MB are left"):
        check_home()
    filler.unlink()
    check_home()


def test_the_ledger_says_so_too(small_disk: Path) -> None:
    (small_disk / "home").mkdir()
    fill_disk(small_disk)
    with pytest.raises(LedgerError, match=r"full|disk I/O error"), transaction():
        pass
