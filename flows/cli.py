"""`btc`: each command reads its options and calls a flow."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from flows import cli_ledger, cli_registry
from flows.cli_backtest import CompanionsOption, backtest, list_companions
from flows.cli_data import data, ingest, settle_source
from flows.cli_ledger import check_writable
from flows.console import (
    ExogenousOption,
    hushed_imports,
    print_forecast,
    print_summary,
    show_stages,
)
from models.errors import InputError, RegistryError, SourceError
from models.overrides import make_config, parse_exogenous
from models.recipe import PRESETS, REPRODUCTION_LABEL, Recipe
from tasks.files import read_config, write_text
from tasks.home import prepare_environment

app = typer.Typer(
    help="The Bitcoin forecaster that retrains itself every day, judged honestly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(ingest)
app.add_typer(data, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"btc-daily {version('btc-daily')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


app.command()(backtest)


@app.command()
def retrain(
    source: Annotated[
        str | None,
        typer.Option(
            help="exchange:ID, csv:PATH, sample (SYNTHETIC) or auto (exchange, else sample)."
        ),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(help="UTC day, YYYY-MM-DD, of the newest candle to use; default: yesterday."),
    ] = None,
    cell: Annotated[
        str | None, typer.Option(help="Recurrent cell: rnn, lstm, gru, bilstm or bigru.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Recipe to start from; `btc presets` lists them.")
    ] = None,
    exogenous: ExogenousOption = None,
    companions: CompanionsOption = None,
    exchange_url: Annotated[
        str | None,
        typer.Option(help="Base address in place of the exchange's own; or BTC_EXCHANGE_URL."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML, TOML or JSON file with configuration keys.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="One configuration key, as in units=64; may be repeated."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the run's summary here, for machines.")
    ] = None,
) -> None:
    """Retrain on all candles up to a day: judge, register and report the new model."""
    values = read_config(config) if config else {}
    options: dict[str, Any] = {"source": source, "as_of": as_of, "cell": cell, "preset": preset}
    options |= {"exchange_url": exchange_url, "exogenous": parse_exogenous(exogenous)}
    options |= {"companions": list_companions(companions)}
    given = {key: value for key, value in options.items() if value is not None}
    checked = make_config(values | given, assignments or [])
    check_writable("--json", json_file)
    # Before TensorFlow is loaded and a Prefect server started; the flow checks the day again.
    checked, note = settle_source(checked)
    prepare_environment()
    with hushed_imports():
        from tasks.preflight import check_request
    check_request(checked)
    with hushed_imports():
        from flows.retrain import retrain as flow
        from models.naming import run_labels
        from models.report import metrics_table
        from tasks.tracking import ui_command
    show_stages()
    summary = flow(checked)
    if json_file:
        write_text(json.dumps(summary, indent=2) + "\n", json_file)
    if note:
        print(f"\n{note}")
    if "skipped" in summary:
        print(summary["skipped"])
        return
    notes = run_labels(summary["synthetic"], summary["reproduction"])
    print_summary(summary, metrics_table(summary), notes, ui_command())
    print_forecast(summary["forecast"])


@app.command()
def presets() -> None:
    """List the recipes that --preset knows, and what each sets."""
    table = Table("preset", "cell", "what it changes from the default")
    for name, changes in PRESETS.items():
        recipe = Recipe(preset=name)
        text = ", ".join(f"{key}={value}" for key, value in changes.items() if key != "cell")
        label = f"[{REPRODUCTION_LABEL}] " if recipe.reproduction else ""
        table.add_row(name, recipe.cell, f"{label}{text}".replace("[", r"\["))
    Console().print(table)


cli_registry.register_commands(app)
cli_ledger.register_commands(app)


def main() -> None:
    """Run `btc`; exit with one line: 2 for what the user can mend, 1 for a service's failure."""
    try:
        app()
    except InputError as error:
        print(f"btc: {error}", file=sys.stderr)
        sys.exit(2)
    except (SourceError, RegistryError) as error:
        print(f"btc: {error}", file=sys.stderr)
        sys.exit(1)
