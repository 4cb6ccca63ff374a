"""`make bench`: print every figure."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

from tasks.home import prepare_environment


def main() -> None:
    """Run every benchmark on a file of daily candles, or on the synthetic sample."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--data", type=Path, help="CSV file of daily candles")
    data = parser.parse_args().data
    source = f"csv:{data.absolute()}" if data else "sample"
    prepare_environment()

    from bench import backtest, ingestion, ledger, retrain, windows
    from models.config import Ingestion
    from tasks.sources import fetch_candles

    print(f"Source: {source}{'' if data else ' (SYNTHETIC)'}")
    ingestion.run()
    windows.run()
    ledger.run()
    retrain.run(source)
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    backtest.run(
        fetch_candles(source, symbol="BTC/USD", last_day=yesterday, policy=Ingestion()).candles
    )


if __name__ == "__main__":
    main()
