"""Ingest: a source's candles into the run's work folder."""

from __future__ import annotations

import datetime as dt

from models.config.flows import RetrainConfig
from models.records import CandlesRecord, as_faults
from tasks.sources import fetch_candles
from tasks.stage import stage
from tasks.storage.files import write_frame
from tasks.storage.home import home


@stage("ingest", retries=3)
def ingest(config: RetrainConfig, as_of: dt.date) -> CandlesRecord:
    """Fetch the candles up to `as_of`, as the source gives them."""
    fetched = fetch_candles(
        config.source, symbol=config.symbol, last_day=as_of, policy=config.ingestion
    )
    path = home() / "work" / f"{as_of}-{config.digest()}" / "candles.parquet"
    write_frame(fetched.candles, path)
    return CandlesRecord(
        path=path,
        label=fetched.label,
        synthetic=fetched.synthetic,
        n_rows=len(fetched.candles),
        findings=as_faults(fetched.findings),
    )
