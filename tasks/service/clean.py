"""Housekeeping: deletes what `rubbish.py` finds, under the lock of its symbol."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from models.config.judging import Retention
from models.errors import InputError
from models.naming import model_name
from tasks.registry.connection import told_in_one_line
from tasks.service.rubbish import Item, find_rubbish
from tasks.storage.lock import hold


@told_in_one_line()
def clean_up(symbol: str, retention: Retention, today: dt.date) -> list[Item]:
    """Delete what may go, and return it; for a caller that holds the lock of the symbol."""
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
    """Delete items in their order; what another process has deleted meanwhile is no error."""
    for item in items:
        item.delete()
