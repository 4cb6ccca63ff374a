"""What the page of one day says: headline, trust, changes, badges, tables and charts.

Everything here is text and numbers; the templates make HTML of it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from models.config.judging import Judging
from models.decisions.drift_watch import Shift
from models.decisions.outlook import is_hindsight
from models.forecasters.frame import Forecast, find_band
from models.reporting.day_charts import fan_chart, lead_chart, record_chart
from models.reporting.holdout_charts import holdout_charts
from models.reporting.notes import say_outcome
from models.reporting.summaries import RetrainSummary
from models.scoring.ledger import parse_lists, select_record, summarize_record
from models.wording import count_days, percent, price

RECENT_MOVES = 8
# A median this near to the last price, as a fraction, is the last price to a reader.
SAME_PRICE = 0.005
# How much wider or narrower a range must be to be worth a word.
SAME_WIDTH = 0.05
RESULT_ROWS = (
    ("crps_bp", "Error of the whole range (CRPS, basis points)", ".1f"),
    ("coverage_90", "Days inside the 90 % band", ".1%"),
    ("rmse_usd", "Typical error of the price (RMSE)", ",.0f"),
    ("mae_usd", "Mean error of the price (MAE)", ",.0f"),
    ("directional_accuracy", "Up or down guessed right", ".1%"),
)


@dataclass(frozen=True)
class Day:
    """What is known on one day about one model.

    candles: up to `as_of`. ledger: all rows of the model, those of `as_of` with levels and
    quantiles. moves: the champion's history. judged: the summary of the version that forecasts (or
    was made today), with its holdout `predictions`, or None. made: the summary of a version that
    this run made, or None. alarms and new_alarms: texts. shifts: drift by input, as
    `measure_shifts` gives them. refused: why there is no forecast, empty where there is one.
    """

    model: str
    symbol: str
    synthetic: bool
    as_of: dt.date
    candles: pd.DataFrame
    ledger: pd.DataFrame
    moves: pd.DataFrame
    version: str | None = None
    unproven: bool = False
    kind: str = "live"
    notes: tuple[str, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()
    below_usd: float | None = None
    refused: str = ""
    alarms: tuple[str, ...] = ()
    new_alarms: tuple[str, ...] = ()
    shifts: tuple[Shift, ...] = ()
    judged: RetrainSummary | None = None
    predictions: pd.DataFrame | None = None
    made: RetrainSummary | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()


def describe_day(day: Day) -> dict[str, Any]:
    """Everything that the template `day.html` shows."""
    unit = day.symbol.partition("/")[2]
    forecast = read_forecast(day)
    live = _scored_live(day.ledger)
    charts = []
    if day.predictions is not None and day.judged is not None:
        judging = Judging.model_validate(day.judged.config.get("judging") or {})
        charts = holdout_charts(day.predictions, day.judged.model, judging)
    record = [record_chart(live[live["step"] == 1])] if len(live) else []
    if len(live) and live["naive_crps_bp"].notna().any():
        record.append(lead_chart(live))
    return {
        "title": f"{day.symbol}, {day.as_of}",
        "symbol": day.symbol,
        "as_of": day.as_of,
        "model": day.model,
        "version": day.version,
        "cell": day.judged.model if day.judged else "",
        "unit": unit,
        "badges": find_badges(day),
        "headline": write_headline(day, forecast, unit),
        "subline": write_subline(day, forecast, unit),
        "trust": write_trust(day),
        "changes": find_changes(day, forecast, unit),
        "notes": day.notes,
        "fan": fan_chart(day.candles, forecast, unit) if forecast else None,
        "rows": day.rows,
        "bands": [b for b in (50, 80, 90, 95) if day.rows and f"low_{b}" in day.rows[0]],
        "below_usd": day.below_usd if day.rows and "p_below" in day.rows[0] else None,
        "charts_of_holdout": charts,
        "record": record,
        "record_text": summarize_record(day.ledger)["verdict"] if len(day.ledger) else "",
        "moves": list_moves(day.moves),
        "shifts": day.shifts,
        "judged": day.judged,
        "made": day.made,
        "sentence": say_outcome(shown) if (shown := day.made or day.judged) else "",
        "results": list_results(day.made or day.judged),
        "seconds": dict(day.seconds),
        "links": day.links,
    }


def read_forecast(day: Day) -> Forecast | None:
    """The day's forecast as it stands in the ledger, or None."""
    if not day.rows or day.ledger.empty:
        return None
    mine = day.ledger[
        (day.ledger["as_of"] == day.as_of)
        & (day.ledger["version"].astype(str) == str(day.version))
        & (day.ledger["kind"] == day.kind)
    ].sort_values("step")
    if mine.empty:
        return None
    return Forecast(
        origins=pd.DatetimeIndex([pd.Timestamp(day.as_of, tz="UTC")]),
        close=mine["close_origin"].to_numpy(dtype=np.float64)[:1],
        quantiles=parse_lists(mine["quantiles"])[None],
        levels=tuple(json.loads(mine["levels"].iloc[0])),
    )


def find_badges(day: Day) -> list[tuple[str, str]]:
    """What a reader must know before anything else: (word, meaning)."""
    badges = []
    if day.synthetic:
        badges.append(("SYNTHETIC", "generated candles, not a market"))
    if day.judged and day.judged.reproduction:
        badges.append(("leaks", "a reproduction that sees the future"))
    if day.refused:
        badges.append(("no forecast", "see below"))
    if any(note.startswith("No fresh candle") for note in day.notes):
        badges.append(("stale", "the newest candle is late"))
    if day.rows and day.kind != "live":
        badges.append(("catch-up", "made after its days had begun; never counted as live"))
    if is_hindsight(day.notes):
        badges.append(("hindsight", "the model has seen later days"))
    if day.unproven:
        badges.append(("unproven", "this model has not beaten naive yet"))
    return badges


def write_headline(day: Day, forecast: Forecast | None, unit: str) -> str:
    """The one sentence of the day."""
    if forecast is None:
        return f"No forecast: {day.refused or 'there is none in the ledger'}"
    usd, levels = forecast.quantiles_usd[0, 0], forecast.levels
    ranges: list[str] = []
    for band in (0.5, 0.9):
        if ends := find_band(band, levels):
            low, high = (price(usd[end]) for end in ends)
            named = f" {unit}" if not ranges else ""
            # No line ends between a number and its unit.
            ranges.append(f"{low} to {high}{named} with {band * 100:.0f}\N{NO-BREAK SPACE}%")
    return f"{_next_day(day)}: {', '.join(ranges)}."


def write_subline(day: Day, forecast: Forecast | None, unit: str) -> str:
    """What nobody knows, and where the middle is."""
    if forecast is None:
        return ""
    close = float(forecast.close[0])
    median = float(forecast.quantiles_usd[0, 0, forecast.levels.index(0.5)])
    if abs(median / close - 1) < SAME_PRICE:
        middle = f"the median is the last close, {price(close)} {unit}"
    else:
        middle = f"the median is {price(median)}, the last close {price(close)} {unit}"
    return f"Where in that range: nobody knows; {middle}."


def _next_day(day: Day) -> str:
    target = day.as_of + dt.timedelta(days=1)
    told = "Tomorrow" if day.kind == "live" else f"{target:%-d %B %Y}"
    return (
        f"In hindsight, by a model that saw later days, {told}" if is_hindsight(day.notes) else told
    )


def write_trust(day: Day) -> str:
    """How far such forecasts can be trusted: by the live record, else by the test days."""
    record = summarize_record(day.ledger) if len(day.ledger) else {}
    held, naive = (
        (record.get("coverage") or {}).get("0.9"),
        (record.get("references") or {}).get("naive"),
    )
    if held and naive:
        text = f"Live record: of the last {count_days(held['n'])} the 90 % band held "
        text += f"{percent(held['observed'])}; CRPS {_side(naive['skill'])}."
        if naive["dm_p"] is None:
            text += " Too few days to tell skill from luck."
        elif naive["dm_p"] >= 0.05:
            text += " That may be luck."
        return text
    if not day.judged:
        return "No live record yet, and no test days to judge by."
    metrics = day.judged.metrics[day.judged.model]["1"]
    n_days, skill = int(metrics["n_days"] or 0), day.judged.skill["1"]["skill_crps"] or 0.0
    coverage = metrics.get("coverage_90")
    inside = "" if coverage is None else f"the 90 % band held {percent(coverage)}; "
    return (
        f"No live record yet. On {count_days(n_days)} that the model had not seen "
        f"{inside}CRPS {_side(skill)}."
    )


def _side(skill: float) -> str:
    if skill < -1:
        return f"{1 - skill:,.0f} times naive's"
    return f"{percent(abs(skill))} {'below' if skill >= 0 else 'above'} naive's"


def find_changes(day: Day, forecast: Forecast | None, unit: str) -> list[str]:
    """What is new since the day before: price, volatility, champion, alarms."""
    close = day.candles["close"].to_numpy(dtype=np.float64)
    changes = []
    if len(close) > 1:
        move = percent(close[-1] / close[-2] - 1, signed=True)
        changes.append(f"Price: {price(close[-1])} {unit}, {move} in a day")
    if told := _width_change(day, forecast):
        changes.append(told)
    changes.append(f"Champion: {_champion_change(day)}")
    if day.alarms:
        news = "new: " if day.new_alarms else "still: "
        changes.append(f"Alarms: {news}{'; '.join(day.new_alarms or day.alarms)}")
    else:
        changes.append("Alarms: none")
    return changes


def _width_change(day: Day, forecast: Forecast | None) -> str:
    if forecast is None or (ends := find_band(0.9, forecast.levels)) is None:
        return ""
    now = forecast.quantiles[0, 0, ends[1]] - forecast.quantiles[0, 0, ends[0]]
    text = f"Expected range of one day (90 %): {percent(float(np.expm1(now)))} wide"
    before = select_record(day.ledger, day.kind)
    before = before[(before["as_of"] < day.as_of) & (before["step"] == 1)]
    if before.empty:
        return text
    last = before.iloc[-1]
    levels = tuple(json.loads(last["levels"])) if isinstance(last["levels"], str) else ()
    if (then := find_band(0.9, levels)) is None:
        return text
    quantiles = json.loads(last["quantiles"])
    change = now / (quantiles[then[1]] - quantiles[then[0]]) - 1
    if abs(change) < SAME_WIDTH:
        return f"{text}, as in the forecast of {last['as_of']}"
    word = "wider" if change > 0 else "narrower"
    return f"{text}, {100 * abs(change):.0f} % {word} than in the forecast of {last['as_of']}"


def _champion_change(day: Day) -> str:
    done = day.moves[day.moves["state"] == "done"] if len(day.moves) else day.moves
    if len(done) and day.made:
        last = done.iloc[-1]
        if str(last["to_version"]) == day.made.model_version:
            before = last["from_version"]
            return (
                f"version {last['to_version']}, the first"
                if pd.isna(before)
                else f"version {last['to_version']} took over from version {before}"
            )
    return f"version {day.version}, unchanged" if day.version else "none yet"


def list_moves(moves: pd.DataFrame) -> list[dict[str, str]]:
    """The newest moves of the champion's alias, newest first."""
    done = moves[moves["state"] == "done"] if len(moves) else moves
    return [
        {
            "day": f"{row['at']:%Y-%m-%d}",
            "action": row["action"],
            "from": "" if pd.isna(row["from_version"]) else str(row["from_version"]),
            "to": str(row["to_version"]),
            "who": row["who"],
            "why": row["why"],
        }
        for row in done.tail(RECENT_MOVES)[::-1].to_dict("records")
    ]


def list_results(summary: RetrainSummary | None) -> list[tuple[str, str, str]]:
    """The next day's scores on the test days: (what, the model's, naive's)."""
    if summary is None:
        return []
    ours, naive = (summary.metrics[name]["1"] for name in (summary.model, "naive"))
    return [
        (label, _number(ours.get(name), spec), _number(naive.get(name), spec))
        for name, label, spec in RESULT_ROWS
    ]


def _number(value: float | None, spec: str) -> str:
    return "not defined" if value is None else format(value, spec).replace("%", " %")


def _scored_live(ledger: pd.DataFrame) -> pd.DataFrame:
    """Scored live forecasts, in order of time."""
    if ledger.empty:
        return ledger
    live = select_record(ledger)
    return live[live["crps_bp"].notna()].sort_values(["as_of", "step"])


def list_days(kept: list[dict[str, Any]], ledger: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the index, newest first: what each page kept, and what came of its next day."""
    came: dict[str, tuple[float, bool | None]] = {}
    if not ledger.empty:
        for kind in ("live", "catch-up"):
            rows = select_record(ledger, kind)
            scored = rows[rows["actual_usd"].notna() & (rows["step"] == 1)]
            for row in scored.to_dict("records"):
                inside = None if pd.isna(row["inside_90"]) else bool(row["inside_90"])
                came.setdefault(f"{row['as_of']} {kind}", (float(row["actual_usd"]), inside))
    days = []
    for day in sorted(kept, key=lambda item: str(item["as_of"]), reverse=True):
        price_usd, held = came.get(f"{day['as_of']} {day['kind']}", (None, None))
        days.append(day | {"came": price_usd, "held": held})
    return days
