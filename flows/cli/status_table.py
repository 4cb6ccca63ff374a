"""What `btc status` prints."""

from __future__ import annotations

import datetime as dt

from flows.cli.tables import make_table, open_console
from models.decisions.alarms import REGISTRY, Alarm, Facts


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
    today = facts.at.date()
    if not facts.servers.get(REGISTRY, True):
        table.add_row("champion", "not known, the registry does not answer")
    elif facts.champion is not None and facts.champion_as_of is not None:
        age = (today - facts.champion_as_of).days
        table.add_row("champion", f"version {facts.champion} of {facts.champion_as_of}, {age} days")
    else:
        table.add_row("champion", "none yet; `btc retrain` makes one")
    table.add_row("last forecast", str(facts.last_forecast or "none yet"))
    table.add_row("newest candle", str(facts.newest_candle or "none yet"))
    if facts.disk_bytes is not None:
        table.add_row("disk", f"{facts.disk_bytes / 1e9:,.1f} GB free")
    table.add_row("alarms", str(len(alarms)) if alarms else "none")
    console = open_console()
    console.print(table)
    for alarm in alarms:
        console.print(alarm.text, markup=False)
