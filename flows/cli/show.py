"""What the command line shows of a summary; it fits 80 columns, and a telephone's 60."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from models.reporting.summaries import ForecastSummary, Refused, RetrainSummary, Skipped

# A chart of the bands narrower than this shows nothing.
LEAST_CHART = 16


def make_table(*columns: str) -> Table:
    """A table without lines; the first column is text, the others are numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    return table


def print_retrain(
    summary: RetrainSummary, outcome: str, rows: list[dict[str, str]], compare: str
) -> None:
    """Print the outcome in a sentence, the metrics, and where everything lies.

    `rows`: see `metrics_table`; `compare`: the address or the command that shows all runs.
    """
    console = Console(highlight=False)
    labels = ["SYNTHETIC"] if summary.synthetic else []
    title = "; ".join([*labels, f"{summary.symbol} to {summary.as_of}, one day ahead"])
    table = make_table(*rows[0])
    for row in rows:
        table.add_row(*row.values())
    console.print(f"\n{title}", markup=False)
    if summary.done_before:
        told = f"version {summary.model_version} has these candles and this recipe"
        console.print(f"Nothing to train: {told}.\n", markup=False)
    console.print(table)
    console.print(f"\n{outcome}", markup=False, style="bold")
    console.print(summary.verdict_text, markup=False)
    if summary.features_left_out:
        left = ", ".join(summary.features_left_out)
        console.print(f"Left out, the candles lack them: {left}", markup=False)
    for text in (*(found.message for found in summary.findings), *summary.repairs):
        console.print(f"Data: {text}", markup=False)
    mark = " (unproven)" if summary.decision.unproven else ""
    console.print(f"Decision: {summary.decision.action}{mark}", markup=False)
    for reason in summary.decision.reasons:
        console.print(f"  - {reason}", markup=False)
    aliases = "".join(f" @{alias}" for alias in summary.aliases)
    # Never broken, since they are copied.
    for name, text in (
        ("Model", f"{summary.artifacts.model}{aliases}"),
        ("Report", summary.artifacts.report),
        ("Compare", compare),
    ):
        console.print(f"{name + ':':9}{text}", markup=False, soft_wrap=True)


def print_forecast(summary: ForecastSummary) -> None:
    """Print a forecast's table by target date, and what a reader must know about it."""
    from models.wording import price

    console = Console(highlight=False)
    label = "SYNTHETIC; " if summary.synthetic else ""
    title = f"{label}{summary.symbol} from {summary.as_of}, {summary.kind}"
    rows = summary.rows
    bands = [band for band in (50, 90) if f"low_{band}" in rows[0]]
    columns = ["day", "median", *(f"{band} % band" for band in bands), "up", "±5 %"]
    if summary.below_usd is not None:
        columns.append(f"< {price(summary.below_usd)}")
    table = make_table(*columns)
    charts = draw_bands(rows, console) if len(bands) == 2 else []
    if charts:
        table.add_column("50 % and 90 % band", justify="left", no_wrap=True)
    for i, row in enumerate(rows):
        ends = [f"{price(row[f'low_{band}'])} – {price(row[f'high_{band}'])}" for band in bands]
        chances = [f"{row[key]:.0%}" for key in ("p_up", "p_move_5", "p_below") if key in row]
        drawn = charts[i : i + 1]
        table.add_row(str(row["target_date"]), price(row["median"]), *ends, *chances, *drawn)
    console.print(f"\n{title}", markup=False)
    console.print(table)
    console.print(f"By {summary.model} version {summary.version}.", markup=False)
    for text in [*summary.notes, *(f"Alarm: {alarm}" for alarm in summary.alarms)]:
        console.print(text, markup=False)
    if summary.retrain is not None:
        console.print(f"Retrain: {_describe_retrain(summary.retrain)}", markup=False)
    counts = summary.ledger
    told = f"{counts.new} forecasts new, {counts.scored} scored"
    if counts.rescored or counts.caught_up:
        told += f", {counts.rescored} scored again, {counts.caught_up} days caught up"
    console.print(f"Ledger:  {told}; `btc ledger` shows the record", markup=False)


def draw_bands(rows: tuple[Mapping[str, Any], ...], console: Console) -> list[str]:
    """A line of text a day: the 90 % band thin, the 50 % band thick, the median a bar.

    All on one scale. Nothing where the output is no terminal, or too narrow.
    """
    below = 7 if "p_below" in rows[0] else 0
    width = min(console.width - 62 - below, 40)
    if not console.is_terminal or width < LEAST_CHART:
        return []
    low = min(row["low_90"] for row in rows)
    span = max(row["high_90"] for row in rows) - low or 1.0

    def at(value: float) -> int:
        return int((value - low) / span * (width - 1) + 0.5)

    lines = []
    for row in rows:
        line = [" "] * width
        for ends, mark in ((("low_90", "high_90"), "─"), (("low_50", "high_50"), "━")):
            first, last = (at(row[end]) for end in ends)
            line[first : last + 1] = [mark] * (last - first + 1)
        line[at(row["median"])] = "┃"
        lines.append("".join(line))
    return lines


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
