"""What may be wrong with an installation and its state, and what mends it."""

from __future__ import annotations

import datetime as dt
import os
import shlex
import shutil
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zoneinfo import available_timezones

import psutil

from models.decisions.alarms import LEAST_DISK_BYTES
from tasks.service.facts import find_api, look_at_servers
from tasks.service.runs import crash_dead_runs
from tasks.service.stores import Finding, examine_stores
from tasks.storage.home import home, is_open
from tasks.storage.lock import locked
from tasks.storage.snapshots import find_newest_candles
from tasks.storage.work import find_dead_work

LEAST_MEMORY_BYTES = 1_000_000_000
# Combinations that are known not to work: package, first version that fails, why.
KNOWN_BAD = (
    ("fastapi", (0, 151), "`prefect deploy` fails"),
    ("sqlalchemy", (2, 1), "Prefect's scheduler plans no run"),
    ("prefect", (3, 9), "not tried with this release"),
)


def examine(symbol: str = "") -> list[Finding]:
    """Everything that is found wrong; of every symbol that is known, or of one."""
    checks = (
        _versions, _machine, _rights, _clock, _servers, _runs, _left_over,
    )  # fmt: skip
    found = [finding for check in checks for finding in check()]
    return [*found, *examine_stores(symbol)]


def _versions() -> Iterator[Finding]:
    for package, limit, why in KNOWN_BAD:
        try:
            found = version(package)
        except PackageNotFoundError:
            yield Finding(f"{package} is not installed", "make setup")
            continue
        if tuple(int(part) for part in found.split(".")[:2] if part.isdigit()) >= limit:
            yield Finding(f"{package} {found}: {why}", "make setup")


def _machine() -> Iterator[Finding]:
    existing = next(path for path in (home(), *home().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < LEAST_DISK_BYTES:
        yield Finding(f"{free / 1e6:,.0f} MB of disk are left", "btc clean")
    memory = psutil.virtual_memory().available
    if memory < LEAST_MEMORY_BYTES:
        yield Finding(
            f"{memory / 1e6:,.0f} MB of memory are left, training wants 1,000",
            "stop other programs",
        )
    if home().exists() and not os.access(home(), os.W_OK):
        yield Finding(f"{home()} cannot be written", "chown it, or set BTC_HOME to another folder")


def _rights() -> Iterator[Finding]:
    """What others may look into, though it may hold passwords, or addresses that do."""
    if not home().exists():
        return
    patterns = ("*.db*", "prefect/*.db*", "alerts.json", "service/*.log*")
    for path in (home(), *sorted(found for pattern in patterns for found in home().glob(pattern))):
        if is_open(path):
            mode = 0o700 if path.is_dir() else 0o600
            yield Finding(
                f"others may read {path} (rights {path.stat().st_mode & 0o777:o})",
                f"btc doctor --fix, or chmod {mode:o} {shlex.quote(str(path))}",
                lambda path=path, mode=mode: path.chmod(mode),  # type: ignore[misc]
            )


def _clock() -> Iterator[Finding]:
    newest = max(find_newest_candles().values(), default=None)
    today = dt.datetime.now(dt.UTC).date()
    if newest is not None and newest >= today:
        yield Finding(
            f"the clock says {today} (UTC), and there is a candle of {newest} that has closed",
            "set the clock: timedatectl set-ntp true",
        )
    zone = os.environ.get("TZ", "").removeprefix(":")
    # Other forms than Area/City need no table.
    if "/" in zone and not Path(zone).is_absolute() and zone not in available_timezones():
        yield Finding(f"TZ names no time zone ({zone}); times are shown in UTC", "export TZ=UTC")


def _servers() -> Iterator[Finding]:
    for name, well in look_at_servers().items():
        if not well:
            yield Finding(f"{name} does not answer", "btc down, then btc up")


def _runs() -> Iterator[Finding]:
    api, _ = find_api()
    if not api or not look_at_servers().get("prefect"):
        return
    from tasks.service.runs import find_dead_runs

    for run in find_dead_runs(api):
        yield Finding(
            f"the run {run['name']} is said to be at work, and has no process",
            "btc doctor --fix",
            lambda: _ignore(crash_dead_runs(api)),
        )


def _left_over() -> Iterator[Finding]:
    # Held by whoever makes a work folder, until it has its lock.
    with locked(home() / "locks" / "work.lock"):
        dead = find_dead_work()
    halves = [path for path in home().glob("*/.*") if path.parent.name != "prefect"]
    for path in [*dead, *filter(_is_left, halves)]:
        yield Finding(
            f"{path.relative_to(home())} was left by a run that was cut off",
            "btc doctor --fix",
            lambda path=path: _remove(path),  # type: ignore[misc]
        )


def _is_left(path: Path) -> bool:
    """Whether nobody has written it for an hour; till then it may be of a run at work."""
    try:
        return path.stat().st_mtime < time.time() - 3600
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _ignore(_: object) -> None:
    pass
