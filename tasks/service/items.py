"""Something that may be deleted, and how a file or folder of the state is."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

# How the name of a folder ends while it is deleted.
GOING = "-going"


@dataclass(frozen=True)
class Item:
    """Something that may go: what it is, where, its size, and how it is deleted.

    `snapshot`: the hash of the one that it is or names; where an item cannot be deleted, later ones
    of the same snapshot wait, so that nothing is named that is gone.
    """

    what: str
    place: str
    n_bytes: int
    delete: Callable[[], None]
    snapshot: str = ""


def changed_on(path: Path) -> dt.date:
    """The day on which a file was written last."""
    try:
        return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC).date()
    except FileNotFoundError:
        return dt.date.max  # Another process has deleted it meanwhile.


def on_disk(what: str, path: Path, snapshot: str = "") -> Item:
    """A file or folder that may go."""
    files = path.rglob("*") if path.is_dir() else [path]
    n_bytes = sum(file.stat().st_size for file in files if file.is_file())
    return Item(what, str(path), n_bytes, partial(remove, path), snapshot)


def remove(path: Path) -> None:
    """Delete a file or folder, which may be gone already."""
    try:
        if path.is_dir():
            # Half a folder must not look like a whole one.
            going = path.with_name(f".{path.name.lstrip('.').removesuffix(GOING)}{GOING}")
            if going != path:
                shutil.rmtree(going, ignore_errors=True)  # of an earlier try
                path.rename(going)
            shutil.rmtree(going)
        else:
            path.unlink()
    except FileNotFoundError:
        pass  # Two symbols may clean at once.
