"""`btc doctor`, `clean`, `backup` and `restore`: the care of what is stored."""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import OneSymbolOption
from models.errors import CleaningError, InputError


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what can be mended without losing anything.")
    ] = False,
    symbol: OneSymbolOption = "",
) -> None:
    """Look for what is wrong, and say the command that mends it; exit 1 with a finding."""
    from flows.cli.console import hushed_imports

    # It may load the champion, and with it TensorFlow.
    with hushed_imports():
        from tasks.service.doctor import examine

        findings = list(examine(symbol))
    left = 0
    for finding in findings:
        if fix and finding.fix is not None:
            finding.fix()
            print(f"mended: {finding.what}")
            continue
        left += 1
        print(f"{finding.what}\n  {finding.todo}")
    if not findings:
        print("nothing found")
    if left:
        sys.exit(1)


def clean(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be deleted, and delete nothing.")
    ] = False,
    keep_days: Annotated[
        int,
        typer.Option(min=1, max=36_500, help="Age in days from which what nothing names goes."),
    ] = 90,
    keep_champions: Annotated[
        int,
        typer.Option(min=0, max=10_000, help="Former champions that stay whole, however old."),
    ] = 30,
    symbol: OneSymbolOption = "",
) -> None:
    """Delete what nothing names: old pictures, and versions that never forecast."""
    from models.config.judging import Retention
    from tasks.service.clean import clean_alone
    from tasks.service.facts import all_symbols
    from tasks.service.items import Item
    from tasks.service.rubbish import find_rubbish

    retention = Retention(keep_days=keep_days, keep_champions=keep_champions)
    today = dt.datetime.now(dt.UTC).date()
    look = find_rubbish if dry_run else clean_alone
    items: dict[tuple[str, str], Item] = {}  # what is no symbol's is found for each
    failed: list[InputError | CleaningError] = []
    for one in (symbol,) if symbol else all_symbols():
        try:
            found = look(one, retention, today)
        except (InputError, CleaningError) as error:
            failed.append(error)  # it stops no other symbol
            continue
        for item in found:
            if (key := (item.what, item.place or one)) not in items:
                print(f"{item.n_bytes / 1e6:8.2f} MB  {item.what}: {item.place}")
                items[key] = item
    for other in failed[1:]:
        print(f"btc: {other}", file=sys.stderr)
    if items or not failed:
        total = sum(item.n_bytes for item in items.values()) / 1e6
        print(f"{total:8.2f} MB {'would be ' if dry_run else ''}deleted, {len(items)} items")
    if failed:
        raise failed[0]


def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The .tar.gz to write.")],
) -> None:
    """Write all state into one file, also while servers run."""
    from tasks.service.backup import back_up

    n_files = back_up(target)
    print(f"{n_files} files, {target.stat().st_size / 1e6:,.1f} MB in {target}")
    elsewhere = {
        "the ledger": "BTC_DATABASE_URL",
        "MLflow's runs and models": "MLFLOW_TRACKING_URI",
        "candles": "BTC_STORE",
    }
    left = [f"{what} ({name})" for what, name in elsewhere.items() if os.environ.get(name)]
    if left:
        print(f"Not in it, back them up where they are: {', '.join(left)}")


def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A file of `btc backup`.")],
) -> None:
    """Make the state folder (BTC_HOME) of a backup; it must not hold anything yet."""
    from tasks.service.backup import restore as make
    from tasks.storage.home import home

    print(f"{make(source)} files in {home()}")
