"""Live forecasts: their scores once their days have come, and the record that these make."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.forecasters.baselines import (
    MONTH_DAYS,
    RESIDUAL_WINDOW,
    ewma_quantiles,
    naive_quantiles,
)
from models.forecasters.frame import BANDS, find_band, probability_below
from models.learning.splits import NAIVE_WINDOW
from models.scoring import metrics
from models.scoring.metrics import wilson_interval
from models.scoring.significance import diebold_mariano

Floats = NDArray[np.float64]


def score_forecasts(forecasts: pd.DataFrame, candles: pd.DataFrame) -> pd.DataFrame:
    """Score ledger rows, one row each, in their order.

    forecasts: as_of and target_date (days), step, close_origin (USD), levels and quantiles (JSON
    lists; log returns). candles: a candle frame that has all those days. Gives actual_usd, actual
    (log return), crps_bp, pinball_bp (JSON list by level), pit, inside_50, …, inside_95, and
    naive_crps_bp and ewma_crps_bp, NaN where a reference has too short a past. A band that the
    levels do not have is None. Raises ValueError for a day without a candle.
    """
    days = candles["open_time"].dt.tz_localize(None).to_numpy("datetime64[D]")
    close = candles["close"].to_numpy(dtype=np.float64)
    parts = []
    for text, rows in forecasts.groupby("levels", sort=False):
        levels = tuple(float(level) for level in json.loads(str(text)))
        parts.append(_score_group(rows, levels, days, close))
    return pd.concat(parts).loc[forecasts.index]


def _score_group(
    rows: pd.DataFrame, levels: tuple[float, ...], days: NDArray[np.datetime64], close: Floats
) -> pd.DataFrame:
    quantiles = np.sort(parse_lists(rows["quantiles"]), axis=1)
    actual_usd = close[_find_rows(days, rows["target_date"])]
    actual = np.log(actual_usd / rows["close_origin"].to_numpy(np.float64))
    pinball = metrics.pinball_loss(actual, quantiles, levels)
    scores: dict[str, Any] = {
        "actual_usd": actual_usd,
        "actual": actual,
        "crps_bp": 1e4 * metrics.crps_from_quantiles(actual, quantiles, levels),
        "pinball_bp": format_lists((1e4 * pinball).round(4)),
        "pit": probability_below(actual, quantiles, levels),
    }
    for band in BANDS:
        inside = None
        if ends := find_band(band, levels):
            low, high = (quantiles[:, end] for end in ends)
            inside = (low <= actual) & (actual <= high)
        scores[_inside(band)] = inside
    origins = _find_rows(days, rows["as_of"])
    steps = rows["step"].to_numpy(np.int64)
    for name in REFERENCES:
        able, reference = _reference_quantiles(name, close, origins, steps, levels)
        crps = np.full(len(rows), np.nan)
        if able.any():
            crps[able] = 1e4 * metrics.crps_from_quantiles(actual[able], reference, levels)
        scores[f"{name}_crps_bp"] = crps
    return pd.DataFrame(scores, index=rows.index)


def _inside(band: float) -> str:
    """Column that says whether the outcome fell inside a central band: 0.9 -> "inside_90"."""
    return f"inside_{band * 100:.0f}"


def parse_lists(texts: Sequence[str] | pd.Series) -> Floats:
    """Parse JSON lists of numbers of one length: (n, length)."""
    return np.asarray(json.loads(f"[{','.join(texts)}]"), dtype=np.float64)


def format_lists(values: Floats) -> list[str]:
    """JSON lists of the rows of `values` (n, length): what `parse_lists` reads."""
    return [f"[{row}]" for row in json.dumps(values.tolist())[2:-2].split("], [")]


REFERENCES: dict[str, tuple[Callable[[Floats, range, int, tuple[float, ...]], Floats], int]] = {
    "naive": (naive_quantiles, NAIVE_WINDOW),
    "ewma": (ewma_quantiles, RESIDUAL_WINDOW + MONTH_DAYS),
}
"""What a live forecast is held against, with the days of past that it needs."""


def _reference_quantiles(
    name: str,
    close: Floats,
    origins: NDArray[np.int64],
    steps: NDArray[np.int64],
    levels: tuple[float, ...],
) -> tuple[NDArray[np.bool_], Floats]:
    """Which of n origins have enough past for a reference, (n,), and its quantiles at those.

    `origins` (n,) are rows of `close`, `steps` (n,) the days ahead that are asked for; the
    quantiles are (n_able, n_levels).
    """
    make, warm_up = REFERENCES[name]
    horizon = int(steps.max())
    able = origins >= warm_up + horizon
    if not able.any():
        return able, np.empty((0, len(levels)))
    asked = range(int(origins[able].min()), int(origins.max()) + 1)
    quantiles = make(close, asked, horizon, levels)  # (n_asked, horizon, n_levels)
    return able, quantiles[origins[able] - asked.start, steps[able] - 1]


def _find_rows(days: NDArray[np.datetime64], wanted: pd.Series) -> NDArray[np.int64]:
    asked = pd.to_datetime(wanted).to_numpy("datetime64[D]")
    at = np.minimum(np.searchsorted(days, asked), len(days) - 1)
    if not (days[at] == asked).all():
        missing = asked[days[at] != asked]
        raise ValueError(f"score_forecasts: no candle of {missing[0]} among {len(days)} candles")
    return np.asarray(at, dtype=np.int64)


SIGNIFICANCE = 0.05
MIN_DAYS = 30


def select_record(rows: pd.DataFrame, kind: str = "live") -> pd.DataFrame:
    """Rows of one kind, a single one for each as_of and step: the one that was issued first."""
    chosen = rows[rows["kind"] == kind].sort_values(["as_of", "step", "issued_at", "version"])
    return chosen.drop_duplicates(["as_of", "step"]).reset_index(drop=True)


def select_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores of the live forecasts among ledger rows: origin, step, crps_bp.

    The CRPS is taken from the stored quantiles and not from the stored score, since releases up to
    0.1.0 scored with another mean over the levels, 0.8 % higher.
    """
    live = select_record(rows)
    scored = live[live["actual"].notna()].reset_index(drop=True)
    crps = pd.Series(np.nan, index=scored.index)
    for text, part in scored.groupby("levels"):
        levels = tuple(json.loads(str(text)))
        quantiles = np.sort(parse_lists(part["quantiles"]), axis=1)
        actual = part["actual"].to_numpy(np.float64)
        crps[part.index] = 1e4 * metrics.crps_from_quantiles(actual, quantiles, levels)
    origin = pd.to_datetime(scored["as_of"], utc=True).astype("datetime64[us, UTC]")
    return pd.DataFrame({"origin": origin, "step": scored["step"].astype("int64"), "crps_bp": crps})


def summarize_record(rows: pd.DataFrame) -> dict[str, Any]:
    """Summarize the live rows of a ledger frame, as JSON types.

    `rows`: ledger rows with their scores (NaN where the day has not come). Coverage is about the
    next day; the CRPS in basis points is the mean over days and steps on which the reference has
    one too, with the Diebold-Mariano p-value; `misses` counts the newest days in a row outside the
    90 % band, `longest_misses` the longest such streak.
    """
    live = select_record(rows)
    scored = live[live["crps_bp"].notna()]
    next_day = scored[scored["step"] == scored["step"].min()] if len(scored) else scored
    summary: dict[str, Any] = {
        "days_forecast": int(live["as_of"].nunique()),
        "days_scored": len(next_day),
        "catch_up_days": int(rows.loc[rows["kind"] == "catch-up", "as_of"].nunique()),
        "first_day": _day(live["as_of"].min()) if len(live) else None,
        "last_day": _day(live["as_of"].max()) if len(live) else None,
        "coverage": {f"{band:g}": _coverage(next_day[_inside(band)]) for band in BANDS},
        "references": {name: _against(scored, name) for name in REFERENCES},
    }
    misses = ~next_day["inside_90"].astype(bool).to_numpy()
    summary |= {"misses": _last_streak(misses), "longest_misses": _longest_streak(misses)}
    return summary | {"verdict": _verdict(summary)}


def summarize_line(rows: pd.DataFrame) -> dict[str, Any]:
    """The record of one model in a line, and its newest forecast of the next day, in USD.

    `rows`: its ledger rows, at least one, with their scores. `verdict` is the word that the
    record's verdict begins with; `skill`, `low_90` and `high_90` may be None.
    """
    record = summarize_record(rows)
    naive = record["references"]["naive"]
    newest = rows.sort_values(["as_of", "issued_at", "step"])
    newest = newest[newest["as_of"] == newest["as_of"].iloc[-1]]
    row = newest[newest["step"] == newest["step"].min()].iloc[-1]
    levels = [float(level) for level in json.loads(row["levels"])]
    prices = row["close_origin"] * np.exp(np.sort(json.loads(row["quantiles"])))
    ends = find_band(0.9, levels)
    return {
        "symbol": row["symbol"],
        "verdict": record["verdict"].partition(":")[0],
        "days_scored": record["days_scored"],
        "skill": naive["skill"] if naive else None,
        "version": int(row["version"]),
        "day": _day(row["target_date"]),
        "median": float(prices[levels.index(0.5)]),
        "low_90": float(prices[ends[0]]) if ends else None,
        "high_90": float(prices[ends[1]]) if ends else None,
    }


def _coverage(inside: pd.Series) -> dict[str, Any] | None:
    known = inside.dropna().astype(bool)
    if known.empty:
        return None
    low, high = wilson_interval(int(known.sum()), len(known))
    return {"observed": float(known.mean()), "low": low, "high": high, "n": len(known)}


def _against(scored: pd.DataFrame, reference: str) -> dict[str, Any] | None:
    both = scored.dropna(subset=[f"{reference}_crps_bp"])
    if both.empty:
        return None
    losses = both.groupby("as_of")[["crps_bp", f"{reference}_crps_bp"]].mean()
    ours, theirs = losses.to_numpy(np.float64).T
    steps = int(both["step"].max())
    p: float | None = None
    if len(losses) > max(2 * steps, MIN_DAYS - 1):
        value = diebold_mariano(ours, theirs, step=steps).p
        p = None if np.isnan(value) else value
    return {
        "crps_bp": float(ours.mean()),
        "reference_crps_bp": float(theirs.mean()),
        "skill": float(1 - ours.mean() / theirs.mean()),
        "dm_p": p,
        "n_days": len(losses),
    }


def _verdict(summary: dict[str, Any]) -> str:
    naive = summary["references"]["naive"]
    if naive is None:
        return "Nothing to judge yet: no live forecast has met its day."
    days = f"over {naive['n_days']} days the live CRPS skill against naive is {naive['skill']:+.1%}"
    if naive["dm_p"] is None:
        return f"Too early to tell: {days}, too few days for a test."
    days += f" (DM p {naive['dm_p']:.3f})."
    if naive["dm_p"] >= SIGNIFICANCE:
        return f"No evidence of skill: {days}"
    return f"Skill: {days}" if naive["skill"] > 0 else f"Worse than naive: {days}"


def _last_streak(misses: np.ndarray) -> int:
    hits = np.flatnonzero(~misses)
    return len(misses) - (int(hits[-1]) + 1 if len(hits) else 0)


def _longest_streak(misses: np.ndarray) -> int:
    edges = np.flatnonzero(~np.concatenate([[False], misses, [False]]))
    return int(np.diff(edges).max() - 1)


def _day(value: Any) -> str:
    return str(pd.Timestamp(value).date())
