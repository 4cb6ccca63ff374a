"""`btc`: each command reads its options and calls a flow."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from flows.cli import ledger as cli_ledger
from flows.cli import registry as cli_registry
from flows.cli.backtest import backtest
from flows.cli.console import hushed_imports, print_forecast, print_summary, show_stages
from flows.cli.data import data, ingest, settle_source
from flows.cli.options import (
    AsOfOption,
    ConfigOption,
    ExchangeUrlOption,
    ExogenousOption,
    JsonFileOption,
    SetOption,
    SourceOption,
    check_writable,
    make_request,
)
from models.config.overrides import parse_exogenous
from models.config.recipe import PRESETS, REPRODUCTION_LABEL, Recipe
from models.errors import InputError, RegistryError, SourceError
from tasks.storage.files import write_text
from tasks.storage.home import prepare_environment

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
    source: SourceOption = None,
    as_of: AsOfOption = None,
    cell: Annotated[
        str | None, typer.Option(help="Recurrent cell: rnn, lstm, gru, bilstm or bigru.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Recipe to start from; `btc presets` lists them.")
    ] = None,
    exogenous: ExogenousOption = None,
    exchange_url: ExchangeUrlOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    json_file: JsonFileOption = None,
) -> None:
    """Retrain on all candles up to a day: judge, register and report the new model."""
    options = {
        "source": source,
        "as_of": as_of,
        "cell": cell,
        "preset": preset,
        "exogenous": parse_exogenous(exogenous),
        "exchange_url": exchange_url,
    }
    checked = make_request(options, config, assignments)
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
        from models.reporting.pages import metrics_table
        from tasks.registry.connection import ui_command
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
