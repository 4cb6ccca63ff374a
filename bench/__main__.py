"""`make bench`: print every figure."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

from tasks.storage.home import prepare_environment


def main() -> None:
    """Run every benchmark on a file of daily candles, or on the synthetic sample."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--data", type=Path, help="CSV file of daily candles")
    data = parser.parse_args().data
    source = f"csv:{data.absolute()}" if data else "sample"
    prepare_environment()

    from bench import (
        backtest,
        commands,
        ingestion,
        ledger,
        retrain,
        service,
        symbols,
        windows,
        years,
    )
    from models.config.data import Reading
    from tasks.sources import fetch_candles

    print(f"Source: {source}{'' if data else ' (SYNTHETIC)'}")
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    candles = fetch_candles(Reading(source=source), yesterday).candles
    ingestion.run()
    windows.run()
    ledger.run()
    commands.run(source)
    retrain.run(source, candles["open_time"].iloc[-1].date())
    backtest.run(candles)
    symbols.run(candles, (1, 2, 4))
    years.run(candles if data else None)
    service.run(200)


if __name__ == "__main__":
    main()
