"""What `btc status` prints."""

from __future__ import annotations

import datetime as dt

from rich.console import Console
from rich.table import Table

from flows.cli.tables import fit_table, make_table, open_console
from models.decisions.alarms import REGISTRY, Alarm, Facts, SymbolFacts


def print_status(
    facts: Facts,
    addresses: dict[str, str],
    coming: tuple[str, dt.datetime] | None,
    alarms: list[Alarm],
) -> None:
    """Print the state of the service as a table, and each alarm below it."""
    table = make_table("what", "state", wraps="state")
    table.show_header = False
    for name, well in facts.servers.items():
        table.add_row(name, f"{'runs' if well else 'does not answer'} {addresses.get(name, '')}")
    if not facts.servers:
        table.add_row("servers", "none; `btc up` starts them")
    for run in facts.runs:
        table.add_row(f"last {run.flow}", f"{run.day}, {run.state.lower()} {run.message}".strip())
    if coming is not None:
        table.add_row("next run", f"{coming[0]} at {coming[1]:%Y-%m-%d %H:%M} UTC")
    answers, today = facts.servers.get(REGISTRY, True), facts.at.date()
    if len(facts.symbols) == 1:
        for what, state in _describe(facts.symbols[0], today, answers).items():
            table.add_row(what, state)
    if facts.disk_bytes is not None:
        table.add_row("disk", f"{facts.disk_bytes / 1e9:,.1f} GB free")
    table.add_row("alarms", str(len(alarms)) if alarms else "none")
    console = open_console()
    console.print(table)
    if len(facts.symbols) > 1:
        console.print()
        console.print(_symbols_table(facts, today, answers, console))
    for alarm in alarms:
        console.print(alarm.text, markup=False)


def _describe(known: SymbolFacts, today: dt.date, answers: bool) -> dict[str, str]:
    """Champion with its age, last forecast and newest candle, in words."""
    champion = "none yet; `btc retrain` makes one"
    if not answers:
        champion = "not known, the registry does not answer"
    elif known.champion is not None and known.champion_as_of is not None:
        age = (today - known.champion_as_of).days
        champion = f"version {known.champion} of {known.champion_as_of}, {age} days"
    return {
        "champion": champion,
        "last forecast": str(known.last_forecast or "none yet"),
        "newest candle": str(known.newest_candle or "none yet"),
    }


def _symbols_table(facts: Facts, today: dt.date, answers: bool, console: Console) -> Table:
    """A line a symbol."""
    columns = ("symbol", "champion", "of", "age", "last forecast", "newest candle")
    rows = []
    for known in facts.symbols:
        champion = "none" if answers else "not known"
        made = age = "-"
        if known.champion is not None and known.champion_as_of is not None:
            champion, made = str(known.champion), str(known.champion_as_of)
            age = f"{(today - known.champion_as_of).days} d"
        days = [str(day or "none") for day in (known.last_forecast, known.newest_candle)]
        rows.append([known.symbol, champion, made, age, *days])
    return fit_table(console, columns, rows, drop=("of",))
