"""Validate: refuse candles that cannot be right, mend what the policy allows."""

from __future__ import annotations

import datetime as dt

from prefect import get_run_logger
from prefect.artifacts import create_table_artifact

from models.config.data import Exogenous, RepairPolicy
from models.data.candles import check_candles
from models.errors import InputError
from models.records import CandlesRecord, CheckedRecord, Fault, as_faults, report_rows
from tasks.sources.exogenous import join_exogenous
from tasks.stage import stage
from tasks.storage.files import read_frame, write_frame


@stage("validate")
def validate(
    candles: CandlesRecord,
    policy: RepairPolicy,
    as_of: dt.date,
    newest_closed: dt.date,
    exogenous: tuple[Exogenous, ...] = (),
) -> CheckedRecord:
    """Check the candles up to `as_of`, and join the `exogenous` series to them, checked too.

    Raises InputError for what cannot be mended. What was found is shown as a Prefect table, also
    when it stops the run.
    """
    try:
        checked = check_candles(
            read_frame(candles.path), policy, as_of=as_of, newest_closed=newest_closed
        )
        joined, found = join_exogenous(checked.candles, exogenous)
    except InputError as error:
        refused = Fault(kind="refused", severity="error", message=str(error))
        show_report((*candles.findings, refused), ())
        raise
    path = candles.path.with_name("checked.parquet")
    write_frame(joined, path)
    findings = (*candles.findings, *as_faults((*checked.findings, *found)))
    show_report(findings, checked.repairs)
    return CheckedRecord(path=path, n_rows=len(joined), findings=findings, repairs=checked.repairs)


def show_report(findings: tuple[Fault, ...], repairs: tuple[str, ...]) -> None:
    """Log each finding as a warning, and leave all of them as a table in Prefect's UI."""
    for found in findings:
        get_run_logger().warning("%s: %s", found.kind, found.message)
    create_table_artifact(
        report_rows(findings, repairs), key="validation", description="What the checks found"
    )
