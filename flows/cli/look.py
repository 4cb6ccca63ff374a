"""`btc report` and `btc ui`: the page of a day, and MLflow's pages."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from typing import Annotated

import typer

from flows.cli.options import SymbolOption, SyntheticOption
from models.errors import InputError, RegistryError

OpenOption = Annotated[bool, typer.Option("--open", help="Open it in the browser.")]


def report(
    day: Annotated[
        str | None, typer.Option(help="Day of the page, YYYY-MM-DD; default: the newest.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="The index of all days.")] = False,
    open_it: OpenOption = False,
    symbol: SymbolOption = "BTC/USD",
    synthetic: SyntheticOption = False,
) -> None:
    """Say where the page of a day is, or open it."""
    from flows.cli.tables import open_console
    from models.naming import model_name
    from tasks.storage.pages import page_path, read_days

    name = model_name(symbol, synthetic)
    days = {str(kept["as_of"]): kept for kept in read_days(name)}
    if not days:
        raise InputError(f"{name} has no page yet; run `btc retrain`, or see --synthetic, --symbol")
    chosen = day or max(days)
    if chosen not in days:
        near = f"{min(days)} to {max(days)}"
        raise InputError(f"--day {chosen}: {name} has no page of that day; {len(days)} of {near}")
    path = page_path(name, dt.date.fromisoformat(chosen))
    if history:
        path = path.with_name("index.html")
    else:
        open_console().print(days[chosen]["headline"], markup=False)
    print(path)
    if open_it:
        _open(path.as_uri())


def ui(
    port: Annotated[int | None, typer.Option(help="Port; default: a free one.")] = None,
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
    backtests: Annotated[bool, typer.Option("--backtests", help="The runs of backtests.")] = False,
    tuning: Annotated[bool, typer.Option("--tuning", help="The trials of tunings.")] = False,
    symbol: SymbolOption = "BTC/USD",
    synthetic: SyntheticOption = False,
) -> None:
    """Open MLflow with the runs of the daily retrains; until Ctrl-C where it is started here."""
    from flows.cli.console import hushed_imports
    from models.naming import model_name
    from tasks.storage.home import prepare_environment

    prepare_environment()
    with hushed_imports():
        from tasks.registry.connection import check_tracking, compare_address, shown_uri
        from tasks.registry.server import free_port, start_mlflow, wait_until_ready
    if backtests and tuning:
        raise InputError("--backtests and --tuning are two pages; ask for one of them")
    kind = "-backtest" if backtests else "-tuning" if tuning else ""
    name = model_name(symbol, synthetic) + kind
    if shown_uri().startswith("http"):
        check_tracking()
        address = compare_address(shown_uri(), name)
        print(address)
        if open_it:
            _open(address)
        return
    base = f"http://127.0.0.1:{port or free_port()}"
    process = start_mlflow(base)
    try:
        wait_until_ready(base, process)
        address = compare_address(base, name)
        print(f"{address}\nCtrl-C ends it.", flush=True)
        if open_it:
            _open(address)
        if process.wait():
            raise RegistryError(f"MLflow's server ended with status {process.returncode}")
    except KeyboardInterrupt:
        print("ended", file=sys.stderr)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _open(address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        print("no browser was found; open the address by hand", file=sys.stderr)
