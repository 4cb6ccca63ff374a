"""Where state lives: one folder, `BTC_HOME`, unless the standard variables say otherwise."""

from __future__ import annotations

import errno
import os
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import DiskError, InputError
from tasks.secrets import guard_output

THREADS = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)
"""How many threads TensorFlow, scikit-learn and numpy compute on, for the libraries to read."""
RUN_BYTES = 50_000_000
"""What must be free before a run begins; a run of ten years of days stores about ten."""


def home() -> Path:
    """Return the absolute path of the folder of all state: `BTC_HOME`, else ./.btc."""
    return Path(os.environ.get("BTC_HOME") or ".btc").absolute()


def make_private(path: Path) -> None:
    """Make an empty file that its owner alone may read, or take the others' rights from one.

    For databases, which the libraries that fill them would make for everybody; SQLite's journals
    take the rights of their database. Raises OSError as making a file does.
    """
    make_folder(path.parent)
    # Never opened where it is there: closing it would drop SQLite's locks in this process.
    if not path.exists():
        path.touch(mode=0o600)
    for file in (path, *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm"))):
        if file.exists() and is_open(file):
            file.chmod(0o600)


def make_folder(path: Path) -> None:
    """Make a folder with those above it; the folder of all state for its owner alone."""
    if home() in (path, *path.parents):
        home().mkdir(mode=0o700, parents=True, exist_ok=True)
    path.mkdir(parents=True, exist_ok=True)


def is_open(path: Path) -> bool:
    """Whether others may do anything with a file or folder of ours."""
    found = path.stat()
    return bool(found.st_mode & 0o077) and found.st_uid == os.geteuid()


def check_home() -> None:
    """Raise InputError unless the folder of all state can be made and written."""
    probe = home() / f".probe-{os.getpid()}"
    try:
        make_folder(home())
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"BTC_HOME: cannot write to {home()} ({error.strerror}); "
            "set BTC_HOME to a folder that you may write to"
        ) from error
    free = shutil.disk_usage(home()).free
    if free < RUN_BYTES:
        raise InputError(
            f"BTC_HOME: {free / 1e6:,.0f} MB are left on the disk of {home()}, a run wants "
            f"{RUN_BYTES / 1e6:,.0f}; free some (`btc clean --dry-run` shows what can go), or set "
            "BTC_HOME to a folder on another disk"
        )


@contextmanager
def told_when_full() -> Iterator[None]:
    """Raise DiskError, in one line, where a disk is full; every other error passes unchanged."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = f" for {error.filename}" if error.filename else ""
        raise DiskError(
            f"no space is left on the disk{place} ({error.strerror}); what was stored before "
            f"stands. Free some on the disk of {home()}, then run again"
        ) from error


def prepare_environment() -> None:
    """Set what Prefect, MLflow and TensorFlow read when they are imported.

    What the user has set stands. Call it before the first import of any of them. Raises InputError
    when the folder of all state cannot be written.
    """
    prepare_libraries()
    check_profile()
    own_prefect = Path.home() / ".prefect" / "profiles.toml"
    named = {"PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"}
    if not named & os.environ.keys() and not own_prefect.exists():
        check_home()
        os.environ["PREFECT_HOME"] = str(home() / "prefect")


def check_profile() -> None:
    """Raise InputError for a PREFECT_PROFILE that there is not; Prefect would take another."""
    name = os.environ.get("PREFECT_PROFILE")
    if not name:
        return
    folder = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or folder / "profiles.toml")
    known = {"ephemeral", "local", "cloud", "test"}
    try:
        known |= set(tomllib.loads(path.read_text(encoding="utf-8")).get("profiles", {}))
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise InputError(f"PREFECT_PROFILE: cannot read {path} ({error}); mend it") from error
    if name not in known:
        raise InputError(
            f"PREFECT_PROFILE: {path} has no profile {name!r} (known: {', '.join(sorted(known))}); "
            f"unset the variable, or make it with `prefect profile create {name}`"
        )


def prepare_libraries() -> None:
    """Set what does not depend on where state lives; see `prepare_environment`."""
    guard_output()
    # Errors reach the user in one line of our own; Prefect's console would add its traceback.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # The number of threads changes the last bits of a result, and a recurrent step is too small to
    # be worth sharing: one thread gives the same numbers on every machine, and is as fast.
    for name in THREADS:
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # Prefect gives its own server 20 s to start, which a busy laptop does not always keep.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
