"""Companions: other coins' candles that share the training, fetched and checked as one's own."""

from __future__ import annotations

import datetime as dt

import pandas as pd

from models.candles import check_candles, digest_candles
from models.config import RetrainConfig
from models.errors import InputError
from models.records import CompanionsRecord
from tasks.exogenous import join_exogenous
from tasks.files import write_frame
from tasks.home import home
from tasks.sources import fetch_candles, is_exchange, is_synthetic
from tasks.stage import stage


@stage("companions", retries=3)
def fetch_companions(
    config: RetrainConfig, as_of: dt.date, newest_closed: dt.date
) -> CompanionsRecord:
    """Fetch and check the companions' candles up to `as_of`, with the same exogenous series."""
    folder = home() / "companions"
    hashes: dict[str, str] = {}
    for source in config.companions:
        try:
            candles, name = _fetch(source, config, as_of, newest_closed)
        except InputError as error:
            raise InputError(f"companion {source}: {error}") from error
        if name in hashes:
            raise InputError(f"companion {source}: expected every companion once, received {name}")
        hashes[name] = digest_candles(candles)
        path = folder / f"{hashes[name]}.parquet"
        if not path.exists():
            write_frame(candles, path)
    return CompanionsRecord(folder=folder, hashes=hashes)


def find_teachers(taught_by: CompanionsRecord, today: CompanionsRecord) -> CompanionsRecord:
    """The companions that taught a champion: today's of that name, else as they were then.

    Those whose candles are no longer kept here are left out.
    """
    folder = home() / "companions"
    hashes = {name: today.hashes.get(name, sha256) for name, sha256 in taught_by.hashes.items()}
    kept = {name: s for name, s in hashes.items() if (folder / f"{s}.parquet").exists()}
    return CompanionsRecord(folder=folder, hashes=kept)


def _fetch(
    source: str, config: RetrainConfig, as_of: dt.date, newest_closed: dt.date
) -> tuple[pd.DataFrame, str]:
    """Checked candles of one companion, and its name."""
    exchange, symbol = source, config.symbol
    if is_exchange(source):
        scheme, _, rest = source.partition(":")
        exchange_id, _, symbol = rest.partition(":")
        exchange = f"{scheme}:{exchange_id}"
        if "/" not in symbol:
            raise InputError("expected a symbol, as in exchange:binance:ETH/USDT")
    fetched = fetch_candles(exchange, symbol=symbol, last_day=as_of, policy=config.ingestion)
    if fetched.synthetic and not is_synthetic(config.source):
        raise InputError("its candles are made up; real ones are not trained with them")
    checked = check_candles(
        fetched.candles, config.repair, as_of=as_of, newest_closed=newest_closed
    )
    candles, _ = join_exogenous(checked.candles, config.exogenous)
    return candles, source if is_exchange(source) else fetched.label
