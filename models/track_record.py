"""The live record: what was forecast before its day came, and how it did."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from models.compare import diebold_mariano
from models.metrics import wilson_interval

BAND_COLUMNS = {0.5: "inside_50", 0.8: "inside_80", 0.9: "inside_90", 0.95: "inside_95"}
REFERENCES = ("naive", "ewma")
SIGNIFICANCE = 0.05
MIN_DAYS = 30


def select_record(rows: pd.DataFrame, kind: str = "live") -> pd.DataFrame:
    """Rows of one kind, a single one for each as_of and step: the one that was issued first."""
    chosen = rows[rows["kind"] == kind].sort_values(["as_of", "step", "issued_at", "version"])
    return chosen.drop_duplicates(["as_of", "step"]).reset_index(drop=True)


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
