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
from models.forecasters.distribution import BANDS, probability_below
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
    scores = {
        "actual_usd": actual_usd,
        "actual": actual,
        "crps_bp": 2e4 * (pinball @ metrics.level_weights(levels)),
        "pinball_bp": format_lists((1e4 * pinball).round(4)),
        "pit": probability_below(actual, quantiles, levels),
    }
    for band in BANDS:
        ends = [
            [i for i, level in enumerate(levels) if abs(level - end) < 1e-9]
            for end in ((1 - band) / 2, (1 + band) / 2)
        ]
        inside = None
        if all(ends):
            low, high = (quantiles[:, at[0]] for at in ends)
            inside = (low <= actual) & (actual <= high)
        scores[f"inside_{band * 100:.0f}"] = inside
    origins = _find_rows(days, rows["as_of"])
    steps = rows["step"].to_numpy(np.int64)
    for name, (make, warm_up) in _REFERENCES.items():
        scores[f"{name}_crps_bp"] = _score_reference(
            make, warm_up, close, origins, steps, actual, levels
        )
    return pd.DataFrame(scores, index=rows.index)


def parse_lists(texts: Sequence[str] | pd.Series) -> Floats:
    """Parse JSON lists of numbers of one length: (n, length)."""
    return np.asarray(json.loads(f"[{','.join(texts)}]"), dtype=np.float64)


def format_lists(values: Floats) -> list[str]:
    """JSON lists of the rows of `values` (n, length): what `parse_lists` reads."""
    return [f"[{row}]" for row in json.dumps(values.tolist())[2:-2].split("], [")]


def _score_reference(
    make: Callable[[Floats, range, int, tuple[float, ...]], Floats],
    warm_up: int,
    close: Floats,
    origins: NDArray[np.int64],
    steps: NDArray[np.int64],
    actual: Floats,
    levels: tuple[float, ...],
) -> Floats:
    """CRPS in basis points of a reference at the same origins and steps; NaN where it has none."""
    horizon = int(steps.max())
    scores = np.full(len(origins), np.nan)
    able = origins >= warm_up + horizon
    if able.any():
        asked = range(int(origins[able].min()), int(origins.max()) + 1)
        quantiles = make(close, asked, horizon, levels)
        chosen = quantiles[origins[able] - asked.start, steps[able] - 1]
        scores[able] = 1e4 * metrics.crps_from_quantiles(actual[able], chosen, levels)
    return scores


_REFERENCES: dict[str, tuple[Callable[[Floats, range, int, tuple[float, ...]], Floats], int]] = {
    "naive": (naive_quantiles, NAIVE_WINDOW),
    "ewma": (ewma_quantiles, RESIDUAL_WINDOW + MONTH_DAYS),
}


def _find_rows(days: NDArray[np.datetime64], wanted: pd.Series) -> NDArray[np.int64]:
    asked = pd.to_datetime(wanted).to_numpy("datetime64[D]")
    at = np.minimum(np.searchsorted(days, asked), len(days) - 1)
    if not (days[at] == asked).all():
        missing = asked[days[at] != asked]
        raise ValueError(f"score_forecasts: no candle of {missing[0]} among {len(days)} candles")
    return np.asarray(at, dtype=np.int64)


BAND_COLUMNS = {0.5: "inside_50", 0.8: "inside_80", 0.9: "inside_90", 0.95: "inside_95"}
REFERENCES = ("naive", "ewma")
SIGNIFICANCE = 0.05
MIN_DAYS = 30


def select_record(rows: pd.DataFrame, kind: str = "live") -> pd.DataFrame:
    """Rows of one kind, a single one for each as_of and step: the one that was issued first."""
    chosen = rows[rows["kind"] == kind].sort_values(["as_of", "step", "issued_at", "version"])
    return chosen.drop_duplicates(["as_of", "step"]).reset_index(drop=True)


def select_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores of the live forecasts among ledger rows: origin, step, crps_bp."""
    live = select_record(rows)
    scored = live[live["crps_bp"].notna()]
    origin = pd.to_datetime(scored["as_of"], utc=True).astype("datetime64[us, UTC]")
    return pd.DataFrame(
        {
            "origin": origin,
            "step": scored["step"].astype("int64"),
            "crps_bp": scored["crps_bp"].astype("float64"),
        }
    )


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
        "coverage": {
            f"{level:g}": _coverage(next_day[column]) for level, column in BAND_COLUMNS.items()
        },
        "references": {name: _against(scored, name) for name in REFERENCES},
    }
    misses = ~next_day["inside_90"].astype(bool).to_numpy()
    summary |= {"misses": _last_streak(misses), "longest_misses": _longest_streak(misses)}
    return summary | {"verdict": _verdict(summary)}


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
