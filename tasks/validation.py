"""Validate: refuse candles that cannot be right, mend what the policy allows."""

from __future__ import annotations

import datetime as dt

from models.candles import check_candles
from models.config import RepairPolicy
from models.records import CandlesRecord, CheckedRecord, Fault
from tasks.files import read_frame, write_frame
from tasks.stage import stage


@stage("validate")
def validate(
    candles: CandlesRecord, policy: RepairPolicy, as_of: dt.date, newest_closed: dt.date
) -> CheckedRecord:
    """Check the candles up to `as_of`; raises InputError for what cannot be mended."""
    checked = check_candles(
        read_frame(candles.path), policy, as_of=as_of, newest_closed=newest_closed
    )
    path = candles.path.with_name("checked.parquet")
    write_frame(checked.candles, path)
    return CheckedRecord(
        path=path,
        n_rows=len(checked.candles),
        findings=tuple(
            Fault(kind=found.kind, severity=found.severity, message=found.message)
            for found in checked.findings
        ),
        repairs=checked.repairs,
    )
