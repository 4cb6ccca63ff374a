"""One file with all state, and state made of such a file, also in another folder."""

from __future__ import annotations

import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy.exc import DatabaseError

from models.errors import InputError
from models.naming import model_name
from tasks.registry.store import mend_home
from tasks.service.facts import all_symbols
from tasks.storage.files import whole_file
from tasks.storage.home import home, make_private
from tasks.storage.lock import hold

# What is made anew, or belongs to processes of this machine; but what was told is not told again.
LEFT_OUT, TOLD = ("locks", "work", "service"), Path("service") / "told.json"
MARK = "btc-daily-backup"


def back_up(target: Path) -> int:
    """Write all state into a .tar.gz; returns the number of files.

    Databases are copied as of one moment, also while servers use them. Raises InputError while a
    run of any symbol is at work, and where there is nothing.
    """
    if not home().is_dir() or not any(home().iterdir()):
        raise InputError(f"nothing to back up: {home()} is empty (BTC_HOME)")
    if home() in target.absolute().parents:
        raise InputError(f"{target}: write the backup to a place outside {home()}")
    n_files = 0
    with (
        _all_held(),
        tempfile.TemporaryDirectory() as folder,
        whole_file(target.absolute()) as temporary,
        tarfile.open(temporary, "w:gz", compresslevel=6) as archive,
    ):
        mark = Path(folder) / "mark"
        mark.write_text(str(home()), encoding="utf-8")
        archive.add(mark, MARK)
        for path in sorted(home().rglob("*")):
            name = path.relative_to(home())
            left_out = name.parts[0] in LEFT_OUT and name != TOLD
            if left_out or not path.is_file() or _is_journal(path):
                continue
            archive.add(_still(path, Path(folder)), f"home/{name.as_posix()}")
            n_files += 1
    return n_files


@contextmanager
def _all_held() -> Iterator[None]:
    """Hold the locks of all symbols that are served or were forecast; else raise InputError."""
    with ExitStack() as held:
        for symbol in sorted(all_symbols()):
            if not held.enter_context(hold(model_name(symbol, synthetic=False))):
                raise InputError(f"a run of {symbol} is at work; back up when it has ended")
        yield


def _is_journal(path: Path) -> bool:
    return path.name.endswith(("-wal", "-shm", "-journal"))


def _still(path: Path, folder: Path) -> Path:
    """A copy of a database as of one moment; any other file as it is."""
    if path.suffix != ".db":
        return path
    copy = folder / path.name
    make_private(copy)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def restore(source: Path) -> int:
    """Make the state folder of a backup; returns the number of files.

    Raises InputError where the folder holds something already, or the file is no backup.
    """
    if home().exists() and any(home().iterdir()):
        raise InputError(
            f"{home()} is not empty; set BTC_HOME to a new folder, or move this one away"
        )
    home().parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            tarfile.open(source, "r:gz") as archive,
            tempfile.TemporaryDirectory(dir=home().parent, prefix=".restore-") as folder,
        ):
            archive.extractall(folder, filter="data")
            (Path(folder) / MARK).stat()  # else it is no backup
            made = Path(folder) / "home"
            made.chmod(0o700)
            n_files = sum(path.is_file() for path in made.rglob("*"))
            if home().exists():
                home().rmdir()
            made.rename(home())
            with suppress(DatabaseError):  # a damaged one is told by whatever uses it first
                mend_home(home())
    except (OSError, tarfile.TarError, EOFError) as error:
        raise InputError(
            f"{source}: cannot restore it ({type(error).__name__}: {error})"
        ) from error
    return n_files
