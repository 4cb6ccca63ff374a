"""What the command line shows of a summary; it fits 80 columns, and a telephone's 60."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from flows.cli.tables import fit_table, make_table, open_console

if TYPE_CHECKING:
    from models.reporting.summaries import ForecastSummary, Refused, RetrainSummary, Skipped

# A chart of the bands narrower than this shows nothing.
LEAST_CHART = 16
WIDEST_CHART = 66


def print_retrain(
    summary: RetrainSummary, outcome: str, rows: list[dict[str, str]], compare: str
) -> None:
    """Print the outcome in a sentence, the metrics, and where everything lies.

    `rows`: see `metrics_table`; `compare`: the address or the command that shows all runs.
    """
    from models.reporting.notes import say_cell, say_cleaning_failed, say_nothing_to_train

    console = open_console()
    labels = ["SYNTHETIC"] if summary.synthetic else []
    title = "; ".join([*labels, f"{summary.symbol} to {summary.as_of}, one day ahead"])
    table = make_table(*rows[0])
    for row in rows:
        table.add_row(*row.values())
    console.print(f"\n{title}", markup=False)
    if summary.done_before:
        console.print(f"{say_nothing_to_train(summary)}.\n", markup=False)
    console.print(table)
    console.print(f"\n{outcome}", markup=False, style="bold")
    console.print(summary.verdict_text, markup=False)
    if told := say_cell(summary.recipe):
        console.print(f"Cell: {told}.", markup=False)
    if summary.features_left_out:
        left = ", ".join(summary.features_left_out)
        console.print(f"Left out, the candles lack them: {left}", markup=False)
    for text in (*(found.message for found in summary.findings), *summary.repairs):
        console.print(f"Data: {text}", markup=False)
    mark = " (unproven)" if summary.decision.unproven else ""
    console.print(f"Decision: {summary.decision.action}{mark}", markup=False)
    for reason in summary.decision.reasons:
        lines = textwrap.wrap(f"  - {reason}", console.width, subsequent_indent=" " * 4)
        console.print("\n".join(lines), markup=False)
    aliases = "".join(f" @{alias}" for alias in summary.aliases)
    # Never broken, since they are copied.
    for name, text in (
        ("Model", f"{summary.artifacts.model}{aliases}"),
        ("Report", summary.artifacts.report),
        ("Compare", compare),
    ):
        console.print(f"{name + ':':9}{text}", markup=False, soft_wrap=True)
    if failed := say_cleaning_failed(summary):
        console.print(f"{failed}.", markup=False)


def print_forecast(summary: ForecastSummary) -> None:
    """Print a forecast's table by target date, and what a reader must know about it."""
    from models.decisions.outlook import is_hindsight
    from models.wording import price

    console = open_console()
    label = "SYNTHETIC; " if summary.synthetic else ""
    title = f"{label}{summary.symbol} from {summary.as_of}, {summary.kind}"
    if is_hindsight(summary.notes):
        title += ", in hindsight: the model saw later days"
    rows = summary.rows
    bands = [band for band in (50, 90) if f"low_{band}" in rows[0]]
    below = "" if summary.below_usd is None else f"< {price(summary.below_usd)}"
    columns = ["day", "median", *(f"{band} % band" for band in bands), "up", "±5 %"]
    columns += [below] if below else []
    cells = []
    for row in rows:
        ends = [f"{price(row[f'low_{band}'])} – {price(row[f'high_{band}'])}" for band in bands]
        chances = [f"{row[key]:.0%}" for key in ("p_up", "p_move_5", "p_below") if key in row]
        cells.append([row["target_date"], price(row["median"]), *ends, *chances])
    table = fit_table(console, columns, cells, drop=("±5 %", "up", "50 % band"))
    console.print(f"\n{title}", markup=False)
    console.print(table)
    for line in draw_bands(rows, console) if len(bands) == 2 else []:
        console.print(line, markup=False, no_wrap=True)
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
    """A chart of text: for every day the 90 % band thin, the 50 % band thick, the median a bar.

    All on one scale, whose ends stand in the last line. Nothing where the output is no terminal,
    or too narrow.
    """
    from models.wording import price

    margin = len(str(rows[0]["target_date"])) + 2
    width = min(console.width - margin, WIDEST_CHART)
    if not console.is_terminal or width < LEAST_CHART:
        return []
    low = min(row["low_90"] for row in rows)
    high = max(row["high_90"] for row in rows)
    span = high - low or 1.0

    def at(value: float) -> int:
        return int((value - low) / span * (width - 1) + 0.5)

    lines = ["", f"{'90 % ── and 50 % ━━ band, median ┃':>{margin + 33}}"]
    for row in rows:
        line = [" "] * width
        for ends, mark in ((("low_90", "high_90"), "─"), (("low_50", "high_50"), "━")):
            first, last = (at(row[end]) for end in ends)
            line[first : last + 1] = [mark] * (last - first + 1)
        line[at(row["median"])] = "┃"
        lines.append(f"{row['target_date']}  {''.join(line)}".rstrip())
    scale = f"{price(low)}{price(high):>{width - len(price(low))}}"
    return [*lines, " " * margin + scale, ""]


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
