"""How a command runs its flow, and what it shows of several symbols: one line each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.options import write_json
from flows.cli.tables import fit_table, open_console
from models.errors import SymbolsError
from models.reporting.summaries import (
    ForecastSummary,
    Refused,
    RetrainSummary,
    Skipped,
    SymbolsSummary,
)
from models.wording import price, signed_skill

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


def take_summary(ended: State[Any], json_file: Path | None, note: str) -> tuple[Any, str]:
    """Write what a flow ended with to the file of --json, and print `note`.

    Returns the summary of one symbol for the command to print, and why there is no forecast, empty
    where there is one. Of several symbols, and of a run that was skipped, it prints all there is to
    tell, and returns None; raises what the flow raised, SymbolsError if a symbol failed.
    """
    from flows.closing import NO_FORECAST, summary_of

    refused = str(ended.message) if ended.name == NO_FORECAST else ""
    failure: SymbolsError | None = None
    try:
        summary = summary_of(ended)
    except SymbolsError as error:
        failure, summary = error, error.summary
    write_json(summary, json_file)
    if note:
        print(f"\n{note}")
    if isinstance(summary, Skipped):
        print(summary.skipped)
        return None, ""
    if not isinstance(summary, SymbolsSummary):
        return summary, refused
    lines = [_summary_line(symbol, done) for symbol, done in summary.symbols.items()]
    print_lines(lines + [{"symbol": symbol, "state": "failed"} for symbol in summary.failed])
    if failure:
        raise failure
    return None, ""


def print_lines(lines: list[dict[str, Any]]) -> None:
    """Print one line a symbol: what is `None` in all of them has no column."""
    titles = {
        "symbol": "symbol",
        "state": "state",
        "version": "version",
        "range": "range vs naive",
        "verdict": "verdict",
        "days_scored": "days live",
        "skill": "vs naive",
        "day": "day",
        "median": "median",
        "low_90": "90 % band",
    }
    shown = [key for key in titles if any(line.get(key) is not None for line in lines)]
    if all(line.get("state") == "done" for line in lines):
        shown.remove("state")
    console = open_console()
    table = fit_table(
        console,
        [titles[key] for key in shown],
        [[_cell(line, key) for key in shown] for line in lines],
        drop=[titles[key] for key in ("version", "days_scored", "day") if key in shown],
        left=("state", "range vs naive", "verdict"),
    )
    console.print(table)


def _summary_line(
    symbol: str, summary: RetrainSummary | ForecastSummary | Skipped
) -> dict[str, Any]:
    """The line of one symbol, from what its retrain or forecast returned.

    A retrain's says how its range was on the test days, a forecast's how the live record is.
    """
    if isinstance(summary, Skipped):
        return {"symbol": symbol, "state": "skipped"}
    line: dict[str, Any] = {
        "symbol": symbol,
        "state": "SYNTHETIC" if summary.synthetic else "done",
    }
    forecast: ForecastSummary | Refused | None
    if isinstance(summary, RetrainSummary):
        from models.scoring.holdout import say_range

        line |= {"version": summary.model_version, "range": say_range(summary.skill["1"])}
        forecast = summary.forecast
    else:
        from models.scoring.ledger import summarize_line
        from tasks.storage.ledger import read_ledger

        record = summarize_line(read_ledger(summary.model))
        line |= {key: record[key] for key in ("verdict", "days_scored", "skill")}
        line |= {"version": summary.version}
        forecast = summary
    if not isinstance(forecast, ForecastSummary):
        return line
    row = forecast.rows[0]
    prices = {key: row.get(key) for key in ("median", "low_90", "high_90")}
    return line | {"day": row["target_date"]} | prices


def _cell(line: Mapping[str, Any], key: str) -> str:
    value = line.get(key)
    if value is None:
        return "-"
    if key == "skill":
        return signed_skill(value)
    if key == "median":
        return price(value)
    if key == "low_90":
        return f"{price(value)} – {price(line['high_90'])}"
    return str(value)
