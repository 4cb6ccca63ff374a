"""`btc retrain` and `btc presets`: the daily retrain, and the recipes it can start from."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import (
    AddressOption,
    AskedSymbolsOption,
    AsOfOption,
    ConfigOption,
    DateOrderOption,
    ExchangeUrlOption,
    ExogenousOption,
    JobsOption,
    JsonFileOption,
    RunnerOption,
    SetOption,
    SourceOption,
    check_writable,
    make_request,
)


def retrain(
    source: SourceOption = None,
    symbols: AskedSymbolsOption = None,
    jobs: JobsOption = None,
    runner: RunnerOption = None,
    address: AddressOption = None,
    as_of: AsOfOption = None,
    cell: Annotated[
        str | None,
        typer.Option(
            help="Recurrent cell: rnn, lstm, gru, bilstm or bigru; the last two train on windows."
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Recipe to start from; `btc presets` lists them.")
    ] = None,
    exogenous: ExogenousOption = None,
    exchange_url: ExchangeUrlOption = None,
    date_order: DateOrderOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    every_metric: Annotated[
        bool, typer.Option("--all", help="Show every metric, not the five that most need.")
    ] = False,
    json_file: JsonFileOption = None,
) -> None:
    """Retrain on all candles up to a day: judge, register and report the new model."""
    options = {
        "source": source,
        "symbols": symbols,
        "jobs": jobs,
        "runner": runner,
        "address": address,
        "as_of": as_of,
        "cell": cell,
        "preset": preset,
        "exogenous": exogenous,
        "exchange_url": exchange_url,
        "date_order": date_order,
    }
    asked = make_request(options, config, assignments)
    check_writable("--json", json_file)
    from flows.cli.console import flow_imports, refuse, settle_request, share_out, show_stages
    from flows.cli.show import print_forecast, print_retrain
    from flows.cli.symbols import take_summary

    # Before TensorFlow is loaded and a Prefect server started; the flow checks the day again.
    checked, note = settle_request(asked)
    with flow_imports():
        from flows.retrain import retrain as flow
        from models.reporting.notes import metrics_table, say_outcome
        from models.reporting.summaries import ForecastSummary
        from tasks.registry.connection import compare_command
    with show_stages(*share_out(checked)):
        ended = flow(checked, return_state=True)
    summary, refused = take_summary(ended, json_file, note)
    if summary is None:
        return
    rows = metrics_table(summary, every=every_metric)
    compare = compare_command(summary.experiment, summary.symbol, summary.synthetic)
    print_retrain(summary, say_outcome(summary), rows, compare)
    if isinstance(summary.forecast, ForecastSummary):
        print_forecast(summary.forecast)
    if refused:
        refuse(refused)


def presets() -> None:
    """List the recipes that --preset knows, and what each sets."""
    from flows.cli.tables import fit_table, open_console
    from models.config.recipe import PRESETS, REPRODUCTION_LABEL, Recipe

    rows = []
    for name, changes in PRESETS.items():
        recipe = Recipe(preset=name)
        shown = {key: value for key, value in changes.items() if key not in ("cell", "training")}
        shown |= changes.get("training", {})
        if len(shown.get("features", ())) > 1:
            shown["features"] = f"{len(shown['features'])} with the weekdays"
        parts = [f"{REPRODUCTION_LABEL}:"] if shown.pop("reproduction", False) else []
        parts.append(", ".join(f"{key} {_value(value)}" for key, value in shown.items()))
        rows.append([name, recipe.cell, " ".join(parts)])
    console, column = open_console(), "what it changes from the default"
    names = ["preset", "cell", column]
    console.print(fit_table(console, names, rows, left=("cell",), wraps=column), markup=False)


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
