"""Ingest: a source's candles into the run's work folder."""

from __future__ import annotations

import datetime as dt

from models.config.data import Reading
from models.records import CandlesRecord, as_faults
from tasks.sources import fetch_candles
from tasks.stage import stage
from tasks.storage.files import write_frame
from tasks.storage.work import discard, make_work_folder


@stage("ingest", retries=3)
def ingest(config: Reading, as_of: dt.date) -> CandlesRecord:
    """Fetch the candles up to `as_of`, as the source gives them."""
    fetched = fetch_candles(config, as_of)
    folder = make_work_folder(f"{as_of}-{config.digest()}")
    path = folder / "candles.parquet"
    try:
        write_frame(fetched.candles, path)
    except BaseException:
        discard(folder)  # The flow, which does so at its end, never hears of it.
        raise
    return CandlesRecord(
        path=path,
        label=fetched.label,
        description=fetched.description,
        synthetic=fetched.synthetic,
        n_rows=len(fetched.candles),
        findings=as_faults(fetched.findings),
    )
