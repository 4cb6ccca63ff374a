"""What the command line shows: stages as they end, the summary, errors in one line."""

from __future__ import annotations

import datetime as dt
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tasks.storage.home import prepare_environment
from tasks.temporary_server import start_temporary_server

if TYPE_CHECKING:
    from models.config.flows import RetrainConfig
    from models.reporting.summaries import ForecastSummary, Refused, RetrainSummary, Skipped


class StageLines(logging.Handler):
    """Prints the one line that each stage logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record if a stage logged it."""
        if hasattr(record, "stage"):
            print(record.getMessage(), file=sys.stderr, flush=True)


def show_stages() -> None:
    """Print every stage's line as it ends."""
    logging.getLogger("prefect.task_runs").addHandler(StageLines())


@contextmanager
def hushed_imports() -> Iterator[None]:
    """Keep back what native libraries write to stderr while they load, unless loading fails.

    TensorFlow's libraries log before they read any setting that would keep them quiet.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as spill:
        os.dup2(spill.fileno(), 2)
        try:
            yield
        except Exception:
            spill.seek(0)
            os.write(kept, spill.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def flow_imports() -> Iterator[None]:
    """Import a flow quietly while Prefect's temporary server starts; afterwards it answers."""
    wait_for_server = start_temporary_server()
    with hushed_imports():
        yield
    wait_for_server()


def settle_source(config: RetrainConfig) -> tuple[RetrainConfig, str]:
    """Replace the source auto by the one that it stands for now, and say so in a sentence."""
    from models.data.calendar import newest_closed_day, resolve_as_of

    newest_closed = newest_closed_day(dt.datetime.now(dt.UTC))
    as_of = resolve_as_of(config.as_of, newest_closed)
    if config.source != "auto":
        return config, ""
    from tasks.sources.auto import resolve_auto

    symbol = config.symbols[0] if config.symbols else config.symbol
    source, note = resolve_auto(config.source, symbol, config.ingestion, as_of)
    return config.model_copy(update={"source": source}), note


def settle_request(config: RetrainConfig) -> tuple[RetrainConfig, str]:
    """Settle the source, prepare the environment, and check all that needs no training."""
    settled, note = settle_source(config)
    prepare_environment()
    with hushed_imports():
        from tasks.preflight import check_prefect, check_request
    check_prefect()
    if not settled.symbols:  # Of several, each is checked by its own run: one may fail alone.
        check_request(settled)
    return settled, note


def print_summary(
    summary: RetrainSummary, rows: list[dict[str, str]], notes: list[str], ui_command: str
) -> None:
    """Print metrics, verdict and where everything lies."""
    console = Console(highlight=False, soft_wrap=True)
    title = f"{summary.symbol} to {summary.as_of}, the next day"
    table = Table(title="; ".join([*notes, title]), title_justify="left")
    for i, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row.values())
    console.print()
    console.print(table)
    console.print(f"Verdict: {summary.verdict_text}", markup=False)
    if summary.features_left_out:
        console.print(f"Left out, the candles lack them: {', '.join(summary.features_left_out)}")
    for text in (*(found.message for found in summary.findings), *summary.repairs):
        console.print(f"Data: {text}", markup=False)
    decision = summary.decision
    mark = " (unproven)" if decision.unproven else ""
    console.print(f"Decision: {decision.action}{mark}", markup=False)
    for reason in decision.reasons:
        console.print(f"  - {reason}", markup=False)
    artifacts = summary.artifacts
    aliases = "".join(f" @{alias}" for alias in summary.aliases)
    console.print(f"Model:   {artifacts.model}{aliases}", markup=False)
    console.print(f"Report:  {artifacts.report}", markup=False)
    console.print(f"Plots:   {artifacts.plots}", markup=False)
    console.print(f"Compare: {ui_command}", markup=False)


def print_forecast(summary: ForecastSummary | Refused) -> None:
    """Print a forecast's table by target date, and what a reader must know about it."""
    from models.reporting.summaries import Refused

    console = Console(highlight=False, soft_wrap=True)
    if isinstance(summary, Refused):
        console.print(f"No forecast: {summary.refused}", markup=False)
        return
    # A pipe counts as 80 columns wide, where the table would fold every number.
    console.width = max(console.width, 150)
    label = "SYNTHETIC; " if summary.synthetic else ""
    title = f"{label}{summary.symbol} from {summary.as_of}, {summary.kind}"
    title += f", by {summary.model} version {summary.version}"
    rows = summary.rows
    below = [f"below {summary.below_usd:,.0f}"] if "p_below" in rows[0] else []
    bands = [band for band in (50, 80, 90, 95) if f"low_{band}" in rows[0]]
    columns = ["day", "median USD", *(f"{band} % band" for band in bands), "up", "beyond ±5 %"]
    table = Table(title=title, title_justify="left")
    for i, name in enumerate([*columns, *below]):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        chances = [f"{row[key]:.0%}" for key in ("p_up", "p_move_5")]
        chances += [f"{row['p_below']:.1%}"] if below else []
        ends = [f"{row[f'low_{band}']:,.0f} - {row[f'high_{band}']:,.0f}" for band in bands]
        table.add_row(row["target_date"], f"{row['median']:,.0f}", *ends, *chances)
    console.print()
    console.print(table)
    for text in [*summary.notes, *(f"Alarm: {alarm}" for alarm in summary.alarms)]:
        console.print(text, markup=False)
    if summary.retrain is not None:
        console.print(f"Retrain: {_describe_retrain(summary.retrain)}", markup=False)
    counts = summary.ledger
    told = f"{counts.new} forecasts new, {counts.scored} scored"
    if counts.rescored or counts.caught_up:
        told += f", {counts.rescored} scored again, {counts.caught_up} days caught up"
    console.print(f"Ledger:  {told}; `btc ledger` shows the record", markup=False)


def _describe_retrain(started: RetrainSummary | Skipped | Refused) -> str:
    """One line on the retrain that an alarm started."""
    from models.reporting.summaries import Refused, Skipped

    if isinstance(started, Refused):
        return f"none, {started.refused}"
    if isinstance(started, Skipped):
        return f"none, {started.skipped}"
    if started.done_before:
        return f"none, version {started.model_version} is of the same candles"
    return f"version {started.model_version}, {started.decision.action}"
