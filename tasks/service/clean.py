"""Housekeeping: deletes what `rubbish.py` finds, under the lock of its symbol."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from models.config.judging import Retention
from models.errors import CleaningError, InputError, ServiceError
from models.naming import model_name
from tasks.registry.connection import is_trouble, told_in_one_line
from tasks.secrets import hide
from tasks.service.items import Item
from tasks.service.rubbish import find_rubbish
from tasks.storage.lock import hold

# More failures than these are one: a server that is gone, a folder that may not be written.
MOST_FAILURES = 5


@told_in_one_line()
def clean_up(symbol: str, retention: Retention, today: dt.date) -> list[Item]:
    """Delete what may go, and return it; for a caller that holds the lock of the symbol.

    Raises CleaningError where something could not be deleted, see `delete`.
    """
    items = find_rubbish(symbol, retention, today)
    delete(items)
    return items


@told_in_one_line()
def clean_alone(symbol: str, retention: Retention, today: dt.date) -> list[Item]:
    """Take the lock of the symbol and clean up; raises InputError while a retrain is at work."""
    with hold(model_name(symbol, synthetic=False)) as mine:
        if not mine:
            raise InputError(f"a retrain of {symbol} is at work; clean when it has ended")
        return clean_up(symbol, retention, today)


def delete(items: Iterable[Item]) -> None:
    """Delete items in their order; what another process has deleted meanwhile is no error.

    One that cannot be deleted keeps later ones of its snapshot, and stops no others until there are
    too many. Raises CleaningError at the end.
    """
    failed: list[str] = []
    waiting: set[str] = set()
    n_deleted = 0
    for item in items:
        if item.snapshot in waiting:
            continue
        if len(failed) >= MOST_FAILURES:
            break
        try:
            item.delete()
            n_deleted += 1
        except Exception as error:
            if not isinstance(error, OSError | InputError | ServiceError) and not is_trouble(error):
                raise
            failed.append(f"{item.what}: {' '.join(hide(error).split())[:150]}")
            waiting |= {item.snapshot} - {""}
    if failed:
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise CleaningError(
            f"not deleted: {failed[0]}{more}; {n_deleted} other items were; "
            "the next cleaning goes on"
        )
