"""Clean: what is old and named by nothing goes, at the end of a day."""

from __future__ import annotations

import datetime as dt

from models.config.judging import Retention
from models.records import CleanedRecord, SnapshotRecord
from tasks.service.clean import clean_up
from tasks.service.runs import delete_old_runs
from tasks.stage import stage
from tasks.temporary_server import own_address


@stage("clean")
def clean(retention: Retention, snapshot: SnapshotRecord) -> CleanedRecord:
    """Delete what may go of the snapshot's symbol, whose lock the run holds.

    Ages count from the newest candle: a clock that is ahead deletes nothing. A server of `btc up`
    deletes its old runs by itself, a temporary one does not.
    """
    today = snapshot.as_of + dt.timedelta(days=1)
    items = clean_up(snapshot.symbol, retention, today)
    if api := own_address():
        delete_old_runs(api, today - dt.timedelta(days=retention.keep_days))
    return CleanedRecord(n_items=len(items), n_bytes=sum(item.n_bytes for item in items))
