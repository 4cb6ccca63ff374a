"""What Prefect, MLflow and the command line show of a day: Markdown, and rows of a table.

Texts come from files and users, so that all of them are escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from models.config.recipe import READS_BOTH_WAYS, Recipe
from models.decisions.promotion import write_outcome
from models.reporting.summaries import (
    ForecastSummary,
    Refused,
    RetrainSummary,
    Summary,
    SymbolsSummary,
)
from models.wording import price

# Metric, its name for readers, its format; the first five are what most readers need.
METRICS = (
    ("crps_bp", "CRPS, bp of log return", ".1f"),
    ("coverage_90", "Coverage of the 90 % band", ".1%"),
    ("rmse_usd", "RMSE, USD", ",.0f"),
    ("mae_usd", "MAE, USD", ",.0f"),
    ("n_days", "Test days", ",d"),
    ("mape", "MAPE", ".2%"),
    ("mase", "MASE, USD", ".3f"),
    ("rmse_log_return", "RMSE, log return", ".5f"),
    ("mae_log_return", "MAE, log return", ".5f"),
    ("mase_log_return", "MASE, log return", ".3f"),
    ("directional_accuracy", "Directional accuracy", ".1%"),
    ("crps_usd", "CRPS, USD", ",.0f"),
    ("width_90", "Width of the 90 % band, log return", ".4f"),
)
FEW_METRICS = 5


def metrics_table(summary: RetrainSummary, *, every: bool = True) -> list[dict[str, str]]:
    """Rows of the next day's metrics, one a metric: `metric`, then a formatted text per model."""
    chosen = METRICS if every else METRICS[:FEW_METRICS]
    return [
        {"metric": label}
        | {model: _number(steps["1"], name, spec) for model, steps in summary.metrics.items()}
        for name, label, spec in chosen
    ]


def forecast_table(rows: Sequence[Mapping[str, Any]], unit: str) -> list[dict[str, str]]:
    """Rows of a forecast for people, one a target date: prices and chances, rounded."""
    table = []
    for row in rows:
        told = {"day": str(row["target_date"]), f"median, {unit}": price(row["median"])}
        for band in (50, 80, 90, 95):
            if f"low_{band}" in row:
                ends = (price(row[f"{end}_{band}"]) for end in ("low", "high"))
                told[f"{band} % band"] = " – ".join(ends)
        chances = {"p_up": "up", "p_move_5": "beyond ±5 %", "p_below": "below"}
        told |= {name: f"{row[key]:.0%}" for key, name in chances.items() if key in row}
        table.append(told)
    return table


def say_nothing_to_train(summary: RetrainSummary) -> str:
    """What a retrain says that was done before."""
    return f"Nothing to train: version {summary.model_version} has these candles and this recipe"


def say_cleaning_failed(summary: RetrainSummary) -> str:
    """That the cleaning after a retrain failed, and why; empty where it did not."""
    if summary.cleaned is None or summary.cleaned.failed is None:
        return ""
    return (
        f"The day is done, but cleaning up failed ({summary.cleaned.failed}); the next run tries "
        "again, as `btc clean` does"
    )


def say_failures(summary: Summary) -> str:
    """What failed of a run whose day is done all the same; empty where nothing did."""
    if isinstance(summary, SymbolsSummary):
        told = ((symbol, say_failures(done)) for symbol, done in summary.symbols.items())
        return "; ".join(f"{symbol}: {text}" for symbol, text in told if text)
    retrained = summary.retrain if isinstance(summary, ForecastSummary) else summary
    if isinstance(retrained, Refused):
        return f"Drift asked for a retrain, which could not be had ({retrained.refused})"
    return say_cleaning_failed(retrained) if isinstance(retrained, RetrainSummary) else ""


def say_end(summary: Summary) -> str:
    """What Prefect says of the end of a run; empty where there is nothing to say."""
    parts = [say_failures(summary)]
    if isinstance(summary, RetrainSummary) and summary.done_before:
        parts.insert(0, say_nothing_to_train(summary))
    return ". ".join(part for part in parts if part)


def say_cell(recipe: Mapping[str, Any]) -> str:
    """What the choice of a cell has changed beside the cell; empty for most."""
    cell, usual = str(recipe["cell"]), Recipe()
    if recipe["preset"] != usual.preset or not READS_BOTH_WAYS.get(cell):
        return ""
    return (
        f"{cell} reads its window both ways, so it trains on windows, with {recipe['members']} "
        f"members; {usual.cell} trains {usual.members} on chunks"
    )


def say_outcome(summary: RetrainSummary) -> str:
    """Verdict and decision about a version, in one sentence."""
    skill = summary.skill["1"]
    next_day = [skill[f"skill_crps{end}"] for end in ("", "_low", "_high")]
    n_days = int(summary.metrics[summary.model]["1"]["n_days"] or 0)
    return write_outcome(next_day, n_days, summary.decision, len(summary.skill))


def write_day_note(facts: Mapping[str, Any], page: str) -> str:
    """A day in Markdown: what `describe_day` found, and where its page is."""
    badges = " ".join(
        f"**{escape(word)}:** {escape(meaning)}." for word, meaning in facts["badges"]
    )
    parts = [f"# {escape(facts['headline'])}", badges, escape(facts["subline"])]
    if facts["made"] is not None and facts["made"].done_before:
        parts.append(f"{escape(say_nothing_to_train(facts['made']))}.")
    parts += [escape(facts["trust"]), "\n".join(f"- {escape(text)}" for text in facts["changes"])]
    parts += [escape(note) for note in facts["notes"]]
    if facts["sentence"]:
        parts.append(f"**{escape(facts['sentence'])}**")
    links = [f"[{escape(text)}]({address})" for text, address in facts["links"]]
    parts.append(" · ".join([*links, f"Page with charts: `{page}`"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(value: Any) -> str:
    """Any value as one line of Markdown that shows it as it is, whatever it holds."""
    line = " ".join(str(value).split())
    return re.sub(r"([\\`*_\[\]<>|&#~!])", r"\\\1", line)


def _number(scores: Mapping[str, Any], name: str, spec: str) -> str:
    value, low, high = (scores.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "n/a"
    text = format(value, spec)
    if low is None or high is None:
        return text
    return f"{text} ({format(low, spec)} to {format(high, spec)})"
