"""`btc forecast` and `btc ledger`: what is expected, and how good it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.options import (
    AddressOption,
    AskedSymbolsOption,
    AsOfOption,
    ConfigOption,
    DateOrderOption,
    ExogenousOption,
    JobsOption,
    JsonFileOption,
    JsonOption,
    OneSymbolOption,
    RunnerOption,
    SetOption,
    SourceOption,
    SymbolOption,
    SyntheticOption,
    check_writable,
    make_request,
)
from models.errors import InputError

if TYPE_CHECKING:
    from models.config.flows import RetrainConfig

ledger_app = typer.Typer(
    help="Show the live record: coverage, CRPS against naive and EWMA, streaks, verdict.",
    invoke_without_command=True,
    add_completion=False,
)


def forecast(
    source: SourceOption = None,
    symbols: AskedSymbolsOption = None,
    jobs: JobsOption = None,
    runner: RunnerOption = None,
    address: AddressOption = None,
    as_of: AsOfOption = None,
    exogenous: ExogenousOption = None,
    date_order: DateOrderOption = None,
    below: Annotated[
        float | None, typer.Option(min=0.01, help="Add the probability of a price below this, USD.")
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    json_file: JsonFileOption = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write the table here as CSV.")
    ] = None,
) -> None:
    """Forecast the next days with the champion, and score what was forecast before."""
    options = {
        "source": source,
        "symbols": symbols,
        "jobs": jobs,
        "runner": runner,
        "address": address,
        "as_of": as_of,
        "exogenous": exogenous,
        "date_order": date_order,
    }
    asked, meant = choose_symbols(make_request(options, config, assignments))
    if csv_file and asked.symbols:
        raise InputError("--csv: the table of one symbol (--symbols); --json has those of several")
    if below and meant:
        raise InputError("--below: a price of one symbol; name it with --symbols")
    for option, path in (("--json", json_file), ("--csv", csv_file)):
        check_writable(option, path)
    from flows.cli.console import flow_imports, refuse, settle_request, share_out, show_stages
    from flows.cli.show import print_forecast
    from flows.cli.symbols import take_summary

    checked, note = settle_request(asked)
    with flow_imports():
        import pandas as pd

        from flows.forecast import forecast as flow
        from tasks.storage.files import write_text
    with show_stages(*share_out(checked)):
        ended = flow(checked, below, return_state=True)
    summary, refused = take_summary(ended, json_file, "\n".join(filter(None, (meant, note))))
    if refused:
        refuse(refused)
    if summary is None:
        return
    if csv_file:
        write_text(pd.DataFrame(summary.rows).to_csv(index=False), csv_file)
    print_forecast(summary)


def choose_symbols(asked: RetrainConfig) -> tuple[RetrainConfig, str]:
    """What is meant where no symbol is named: every one with forecasts, if the source has them.

    Returns the request and a sentence on it, empty where there is nothing to say. A file is one
    symbol's, the usual one unless it is named; the sample is nobody's.
    """
    from tasks.sources import is_exchange, is_synthetic

    source = asked.source
    named = "symbol" in asked.model_fields_set or asked.symbols
    if named or (source != "auto" and is_synthetic(source)):
        return asked, ""
    from tasks.service.facts import is_registry_there

    if not is_registry_there():
        return asked.for_symbol(asked.symbol), ""
    from tasks.storage.ledger import known_symbols

    known = known_symbols()
    if len(known) < 2:
        return asked.for_symbol(asked.symbol), ""
    if is_exchange(source) or source == "auto" or "{base}" in source:
        told = f"Every symbol that was forecast before ({len(known)}); --symbols names others."
        return asked.model_copy(update={"symbols": tuple(known)}), told
    told = f"The file was read as {asked.symbol}, one of {len(known)} symbols with forecasts; "
    return asked, told + "--symbols names another, {base} in --source stands for each."


@ledger_app.callback()
def show_ledger(
    context: typer.Context,
    symbol: OneSymbolOption = "",
    synthetic: SyntheticOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show how good the live forecasts were; of several symbols a line each."""
    if context.invoked_subcommand:
        return
    from models.naming import model_name

    names = names_in_ledger(synthetic)
    if not symbol and len(names) > 1:
        show_overview(names, as_json)
        return
    name = names[0] if names and not symbol else model_name(symbol or "BTC/USD", synthetic)
    rows = _read(name)
    from models.scoring.ledger import summarize_record
    from tasks.storage.ledger import read_alarms

    summary = summarize_record(rows)
    alarms = read_alarms(name)
    summary["alarms"] = [
        f"{row['as_of']}: {row['text']}" for row in alarms.tail(5).to_dict("records")
    ]
    if as_json:
        print(json.dumps(summary, indent=2))
        return
    _print_record(name, summary)


@ledger_app.command("export")
def export_ledger(
    file: Annotated[Path, typer.Argument(help="FILE.parquet or FILE.csv.")],
    symbol: SymbolOption = "BTC/USD",
    synthetic: SyntheticOption = False,
) -> None:
    """Write every forecast with its scores to a Parquet or CSV file."""
    if file.suffix not in (".parquet", ".csv"):
        raise InputError(f"{file}: expected a file that ends in .parquet or .csv")
    check_writable("ledger export", file)
    from models.naming import model_name

    rows = _read(model_name(symbol, synthetic))
    from tasks.storage.files import write_frame, write_text

    if file.suffix == ".csv":
        write_text(rows.to_csv(index=False), file)
    else:
        write_frame(rows, file)
    print(f"{len(rows):,} rows in {file}")


def names_in_ledger(synthetic: bool) -> list[str]:
    """The models with forecasts in the ledger, of generated candles or of real ones."""
    from tasks.storage.ledger import known_models

    return [name for name in known_models() if name.endswith("-synthetic") == synthetic]


def _read(name: str) -> Any:
    """A model's ledger rows; raises InputError that names the models there are."""
    from tasks.storage.ledger import known_models, read_ledger

    rows = read_ledger(name)
    if rows.empty:
        known = ", ".join(known_models()) or "none yet"
        hint = "; add --synthetic" if f"{name}-synthetic" in known else "; run `btc forecast`"
        raise InputError(f"the ledger has no forecast of {name} (it has: {known}){hint}")
    return rows


def show_overview(names: list[str], as_json: bool) -> None:
    """One line for each of several models: its record, and its newest forecast of the next day."""
    from flows.cli.symbols import print_lines
    from models.scoring.ledger import summarize_line

    lines = [{"model": name, **summarize_line(_read(name))} for name in names]
    if as_json:
        print(json.dumps(lines, indent=2))
        return
    print_lines(lines)


def _print_record(name: str, summary: dict[str, Any]) -> None:
    from flows.cli.tables import make_table, open_console

    console = open_console()
    days = f"{summary['days_forecast']} days forecast live, {summary['days_scored']} scored"
    if summary["first_day"]:
        days += f", from {summary['first_day']} to {summary['last_day']}"
    console.print(f"{name}: {days}; {summary['catch_up_days']} caught up later, not counted")
    table = make_table("next day", "held", "95 % interval", "days")
    for level, found in summary["coverage"].items():
        if found:
            interval = f"{found['low']:.1%} to {found['high']:.1%}"
            table.add_row(
                f"{float(level):.0%} band", f"{found['observed']:.1%}", interval, str(found["n"])
            )
    if summary["days_scored"]:
        console.print(table)
    table = make_table("against", "CRPS bp", "its CRPS", "skill", "DM p", "days")
    for reference, found in summary["references"].items():
        if found:
            p = "-" if found["dm_p"] is None else f"{found['dm_p']:.3f}"
            values = [f"{found['crps_bp']:.1f}", f"{found['reference_crps_bp']:.1f}"]
            table.add_row(reference, *values, f"{found['skill']:+.1%}", p, str(found["n_days"]))
    if summary["days_scored"]:
        console.print(table)
    streak = f"{summary['misses']} days in a row outside the 90 % band now"
    console.print(f"Misses: {streak}, {summary['longest_misses']} at most")
    for text in summary["alarms"]:
        console.print(f"Alarm: {text}", markup=False)
    console.print(f"Verdict: {summary['verdict']}", markup=False)
