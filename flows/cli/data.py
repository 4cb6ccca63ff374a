"""`btc ingest` and `btc data …`: take candles in, look at them, give them out."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import (
    AskedSymbolsOption,
    AsOfOption,
    ConfigOption,
    DateOrderOption,
    ExchangeUrlOption,
    SetOption,
    SourceOption,
    make_request,
)
from models.errors import InputError, ServiceError

if TYPE_CHECKING:
    import pandas as pd

    from models.config.flows import RetrainConfig
    from models.data.rules import Finding
    from tasks.storage.candle_store import CandleStore

data = typer.Typer(
    help="Look at stored candles and snapshots.", no_args_is_help=True, add_completion=False
)

StoredSource = Annotated[str, typer.Option(help="Source, if there are several: exchange:ID.")]
StoredSymbol = Annotated[str, typer.Option(help="Symbol, if there are several: BTC/USD.")]


def ingest(
    source: SourceOption = None,
    symbols: AskedSymbolsOption = None,
    as_of: AsOfOption = None,
    exchange_url: ExchangeUrlOption = None,
    date_order: DateOrderOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Fetch the candles that are missing, check them, and store them."""
    options = {
        "source": source,
        "symbols": symbols,
        "as_of": as_of,
        "exchange_url": exchange_url,
        "date_order": date_order,
    }
    wanted = make_request(options, config, assignments, defaults={"source": "auto"})
    from tasks.storage.home import check_home

    check_home()
    if not wanted.symbols:
        _ingest(wanted)
        return
    failed: dict[str, str] = {}
    for one in wanted.symbols:
        print(f"{one}:")
        try:
            _ingest(wanted.for_symbol(one))
        except (InputError, ServiceError) as error:
            failed[one] = str(error)
            print(f"Failed: {error}")
    if failed:
        names = ", ".join(failed)
        raise ServiceError(f"{len(failed)} of {len(wanted.symbols)} symbols failed: {names}")


def _ingest(wanted: RetrainConfig) -> None:
    from flows.cli.console import settle_source
    from models.data.calendar import newest_closed_day, resolve_as_of
    from models.data.candles import check_candles, digest_candles
    from models.records import as_faults, report_rows
    from tasks.sources import fetch_candles
    from tasks.storage.candle_store import CandleStore

    wanted, note = settle_source(wanted)
    newest_closed = newest_closed_day(dt.datetime.now(dt.UTC))
    last_day = resolve_as_of(wanted.as_of, newest_closed)
    name = wanted.source
    fetched = fetch_candles(wanted, last_day)
    checked = check_candles(
        fetched.candles, wanted.repair, as_of=last_day, newest_closed=newest_closed
    )
    days = checked.candles["open_time"]
    print(note or f"Source: {fetched.label}")
    if fetched.description:
        print(f"Taken for: {fetched.description}")
    print(f"Candles: {len(days):,}, {days.iloc[0]:%Y-%m-%d} to {days.iloc[-1]:%Y-%m-%d}, UTC")
    if fetched.n_added is None:
        print("Stored: nothing, this source is read anew each time")
    else:
        print(f"Stored: {fetched.n_added:,} new, {CandleStore(name, wanted.symbol).folder}")
    print(f"SHA-256: {digest_candles(checked.candles)}")
    for row in report_rows(as_faults((*fetched.findings, *checked.findings)), checked.repairs):
        print(f"{row['severity']}: {row['finding']}")


@data.command()
def show(
    source: StoredSource = "",
    symbol: StoredSymbol = "",
    last: Annotated[int, typer.Option(min=0, help="How many of the newest days to list.")] = 5,
) -> None:
    """Show what is stored: how much, the newest candles, and the newest revisions."""
    from models.data.crosscheck import QUARANTINE_SCHEMA
    from models.data.store_table import REVISION_SCHEMA
    from tasks.storage.candle_store import QUARANTINE, REVISIONS

    for store in _chosen(source, symbol):
        candles = store.read()
        revisions = store.read_log(REVISIONS, REVISION_SCHEMA)
        quarantine = store.read_log(QUARANTINE, QUARANTINE_SCHEMA)
        days = candles["open_time"]
        print(
            f"{store.source} {store.symbol}: {len(days):,} candles, {_cell(days[0].as_py())} to "
            f"{_cell(days[-1].as_py())}, {revisions.num_rows} revised values, "
            f"{quarantine.num_rows} quarantined, {store.folder}"
        )
        for part in (candles, revisions, quarantine):
            rows = part.slice(max(0, part.num_rows - last)).to_pylist()
            if rows:
                _print_table(rows[0], [map(_cell, row.values()) for row in rows])


def _cell(value: object) -> str:
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d}"
    return f"{value:.7g}" if isinstance(value, float) else str(value)


@data.command()
def check(
    file: Annotated[
        str, typer.Argument(help="csv:PATH, a file that is read now; default: what is stored.")
    ] = "",
    source: StoredSource = "",
    symbol: StoredSymbol = "",
    date_order: DateOrderOption = None,
    assignments: SetOption = None,
) -> None:
    """Check a file, or stored candles, as a retrain would; exit with 2 if it would refuse them."""
    from models.data.store_table import frame_from_table

    refused = []
    if file:
        options = {"source": file, "symbol": symbol or None, "date_order": date_order}
        refused += _check_file(make_request(options, None, assignments))
    for store in [] if file else _chosen(source, symbol):
        frame = frame_from_table(store.read())
        print(f"{store.source} {store.symbol}: {len(frame):,} candles")
        refused += _check_frame(f"{store.source} {store.symbol}", frame)
    if refused:
        raise InputError(f"a retrain would refuse {', '.join(refused)}")


def _check_file(wanted: RetrainConfig) -> list[str]:
    """Show what a file was understood to be; returns its name if a retrain would refuse it."""
    import pandas as pd

    from flows.cli.tables import open_console
    from tasks.sources import fetch_candles

    fetched = fetch_candles(wanted, dt.date.max)
    frame = fetched.candles
    print(f"{fetched.label}: {fetched.description}")
    own = ", ".join(f"{name} from {own!r}" for name, own in fetched.columns.items())
    console = open_console()
    console.print(f"Columns: {own}", markup=False, soft_wrap=not console.is_terminal)
    ends = frame if len(frame) <= 6 else pd.concat([frame.head(3), frame.tail(3)])
    rows = [[_cell(cell) for cell in row] for row in ends.itertuples(index=False)]
    _print_table(frame.columns, rows)
    return _check_frame(fetched.label, frame, fetched.findings)


def _check_frame(name: str, frame: pd.DataFrame, found: tuple[Finding, ...] = ()) -> list[str]:
    """Print what the checks find; returns the name if a retrain would refuse the candles."""
    from models.config.data import RepairPolicy
    from models.data.calendar import newest_closed_day
    from models.data.candles import check_candles
    from models.records import Fault, as_faults, report_rows

    today = newest_closed_day(dt.datetime.now(dt.UTC))
    refused: tuple[Fault, ...] = ()
    repairs: tuple[str, ...] = ()
    try:
        checked = check_candles(frame, RepairPolicy(), as_of=today, newest_closed=today)
        found, repairs = (*found, *checked.findings), checked.repairs
    except InputError as error:
        refused = (Fault(kind="refused", severity="error", message=str(error)),)
    rows = report_rows((*refused, *as_faults(found)), repairs)
    _print_table(rows[0], [list(row.values()) for row in rows])
    return [name] if refused else []


@data.command()
def snapshots() -> None:
    """List the snapshots that retrains made, with their hashes, checked again now."""
    from tasks.storage.snapshots import find_unreadable, list_snapshots

    found = list_snapshots()
    for folder in find_unreadable():
        print(f"DAMAGED: {folder / 'manifest.json'} cannot be read; btc doctor", file=sys.stderr)
    if not found:
        raise InputError("no snapshots yet: run `btc retrain` first")
    rows = [
        (
            record.sha256[:12],
            record.source,
            record.symbol,
            f"{record.n_rows:,}",
            record.first_day,
            record.as_of,
            "DAMAGED" if fault else "whole",
        )
        for record, fault in found
    ]
    _print_table(("hash", "source", "symbol", "candles", "first", "last", "content"), rows)


@data.command()
def export(
    file: Annotated[Path, typer.Argument(help="CSV file to write.")],
    source: StoredSource = "",
    symbol: StoredSymbol = "",
) -> None:
    """Write one store's candles as CSV: date,open,high,low,close,volume."""
    import pyarrow.compute as pc

    from models.data.store_table import frame_from_table
    from tasks.storage.files import write_text

    stores = _chosen(source, symbol)
    if len(stores) > 1:
        names = ", ".join(f"{store.source} {store.symbol}" for store in stores)
        raise InputError(f"several stores: {names}; choose with --source and --symbol")
    candles = stores[0].read()
    days = pc.strftime(candles["open_time"], "%Y-%m-%d")
    frame = frame_from_table(candles.drop_columns("open_time"))
    frame.insert(0, "date", days.to_pandas())
    try:
        write_text(frame.to_csv(index=False, lineterminator="\n"), file)
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror}") from error
    print(f"{len(frame):,} candles of {stores[0].source} {stores[0].symbol} written to {file}")


def _chosen(source: str, symbol: str) -> list[CandleStore]:
    from tasks.storage.candle_store import list_stores

    stores = list_stores()
    if not stores:
        raise InputError("no candles are stored yet: run `btc ingest --source exchange:bitstamp`")
    chosen = [s for s in stores if source in ("", s.source) and symbol in ("", s.symbol)]
    if not chosen:
        names = ", ".join(f"{store.source} {store.symbol}" for store in stores)
        raise InputError(
            f"no candles of {' '.join(filter(None, (source, symbol)))}; stored: {names}"
        )
    return chosen


def _print_table(names: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    from flows.cli.tables import fit_table, open_console

    console, columns = open_console(), list(map(str, names))
    wraps = next((name for name in ("finding", "source") if name in columns), "")
    drop = [n for n in ("symbol", "candles", "volume", "first", "open") if n in columns]
    text = ("check", "symbol", "first", "last", "content")
    table = fit_table(console, columns, rows, drop=drop, left=text, wraps=wraps)
    console.print(table, markup=False)
