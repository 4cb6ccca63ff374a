"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.config.base import shorten
from models.config.text import MAX_CHARACTERS, parse_config
from models.errors import InputError
from tasks.storage.home import make_folder, told_when_full

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block ends well."""
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    temporary = Path(name)
    try:
        with told_when_full():
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder; put it in the place of `path` when the block ends well.

    What a killed process left of the same folder goes first.
    """
    make_folder(path.parent)
    for half in path.parent.glob(f".{path.name}-*"):
        shutil.rmtree(half, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        with told_when_full():
            yield temporary
            shutil.rmtree(path, ignore_errors=True)
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def share_equal(folder: Path, other: Path) -> None:
    """Keep files once on the disk that `other` has too, by name and content (hard links).

    Whoever writes one of them anew makes a file of its own, as `whole_file` does.
    """
    for path in folder.rglob("*"):
        twin = other / path.relative_to(folder)
        if not (path.is_file() and twin.is_file()) or path.samefile(twin):
            continue
        if filecmp.cmp(path, twin, shallow=False):
            temporary = path.with_name(f".{path.name}-{os.getpid()}")
            try:
                os.link(twin, temporary)
                temporary.replace(path)
            except OSError:
                temporary.unlink(missing_ok=True)
                return  # A disk that knows no links keeps both.


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as Parquet, sealed."""
    import pyarrow as pa

    from tasks.storage.sealed import write_sealed

    data = write_sealed(pa.Table.from_pandas(frame, preserve_index=False))
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def read_frame(path: Path) -> pd.DataFrame:
    """Read a frame from Parquet; raises InputError in one line where the file is damaged."""
    from tasks.storage.sealed import Damaged, read_sealed

    try:
        frame: pd.DataFrame = read_sealed(path.read_bytes())[0].to_pandas()
    except Damaged as error:
        raise InputError(
            f"{path} is damaged ({error}): remove it, and run the command that made it again"
        ) from error
    return frame


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration file; raises InputError when it cannot be read or parsed."""
    path, status = find_file(str(path), "--config PATH")
    # No character of UTF-8 has more than four bytes.
    if status.st_size > 4 * MAX_CHARACTERS:
        raise InputError(f"--config {path.name}: more than 1 MB; a configuration is a few lines")
    try:
        return parse_config(path.read_text(encoding="utf-8"), path.name)
    except OSError as error:
        raise InputError(f"--config {path}: cannot read it ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--config {path}: cannot read it ({error.reason}); use UTF-8") from error


def find_file(argument: str, expected: str) -> tuple[Path, os.stat_result]:
    """The path of a regular file that a user named, and what the file system says of it.

    Raises InputError for a path that is none, and for a folder, pipe or device: they could make
    the program wait for ever.
    """
    name = shorten(argument, 200)  # a file is told by the end of its path
    try:
        path = Path(argument).expanduser()
        status = path.stat()
    except FileNotFoundError as error:
        raise InputError(f"no file {name}: expected {expected} of an existing file") from error
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from error
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{name} is no usable path: {error}") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{name} is a directory: expected {expected} of a file")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{name} is a pipe or device: expected {expected} of a regular file")
    return path, status


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 text."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
