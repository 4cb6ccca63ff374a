"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.config.overrides import parse_config
from models.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder; put it in the place of `path` when the block ends well.

    What a killed process left of the same folder goes first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for half in path.parent.glob(f".{path.name}-*"):
        shutil.rmtree(half, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def discarded_after(path: Path) -> Iterator[None]:
    """Remove a folder of passing files, with all that is in it, however the block ends."""
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as Parquet."""
    with whole_file(path) as temporary:
        frame.to_parquet(temporary, index=False)


def read_frame(path: Path) -> pd.DataFrame:
    """Read a frame from Parquet."""
    import pandas as pd

    return pd.read_parquet(path)


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration file; raises InputError when it cannot be read or parsed."""
    try:
        return parse_config(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path}: cannot read it ({error})") from error


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 text."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
