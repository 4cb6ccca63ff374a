"""The page of a backtest: who is better than whom, when, how far ahead, and how calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from models.forecasters.frame import find_band, probability_below, read_quantiles
from models.reporting.chart import END_SPACE, Axis, Chart, Layer, day_numbers, floats, padded
from models.reporting.holdout_charts import skill_chart
from models.scoring.backtest import PIT_BINS
from models.scoring.metrics import Z_95
from models.wording import count_days, join_names, percent

COVERAGE_DAYS = 180
LOOKS = ("ours", "naive", "garch", "best", "fifth", "sixth", "seventh", "eighth")


def describe_backtest(
    frame: pd.DataFrame, summary: Mapping[str, Any], recipes: tuple[str, ...]
) -> dict[str, Any]:
    """Everything that the template `backtest.html` shows; `summary` as `summarise_backtest`."""
    horizons = summary["horizons"]
    names = list(horizons["1"]["models"])
    looks = {name: LOOKS[i % len(LOOKS)] for i, name in enumerate(_ours_first(names, recipes))}
    return {
        "headline": write_result(summary, recipes),
        "first": summary["first_origin"],
        "last": summary["last_origin"],
        "n_origins": summary["n_origins"],
        "horizons": {step: horizons[step] for step in _shown_steps(horizons)},
        "years": sorted(next(iter(horizons["1"]["models"].values()))["by_year"]),
        "charts": backtest_charts(frame, summary, recipes, looks),
    }


def write_result(summary: Mapping[str, Any], recipes: tuple[str, ...]) -> str:
    """The result in one sentence: the best one day ahead, and how sure that is."""
    horizon = summary["horizons"]["1"]
    scores = {name: model["crps_bp"] for name, model in horizon["models"].items()}
    best = min(scores, key=lambda name: scores[name])
    others = [name for name in horizon["mcs_90"] if name != best]
    days = f"{summary['n_origins']:,} days"
    if len(scores) == 1:
        return f"{best}: CRPS {scores[best]:.2f} bp one day ahead, over {days}"
    sure = f", not told apart from {join_names(others)}" if others else ", by more than chance"
    against = ""
    reference = next((name for name in ("garch", "naive") if name in scores and name != best), "")
    if reference:
        gain = 1 - scores[best] / scores[reference]
        against = f", {percent(gain)} below {reference}"
    return f"Best one day ahead over {days}: {best} (CRPS {scores[best]:.2f} bp{against}){sure}"


def backtest_charts(
    frame: pd.DataFrame,
    summary: Mapping[str, Any],
    recipes: tuple[str, ...],
    looks: Mapping[str, str],
) -> list[Chart]:
    """Charts of a backtest; `frame` has `crps_bp`, `looks` a class of the stylesheet by model."""
    first = frame[frame["step"] == 1]
    names = list(looks)
    reference = next((n for n in ("garch", "naive") if n in names), None)
    charts = []
    if reference and len(names) > 1:
        charts.append(
            difference_chart(first, [n for n in names if n != reference], reference, looks)
        )
        charts.append(years_chart(summary, [n for n in names if n != reference], reference, looks))
    if recipes and len(summary["horizons"]) > 1 and len(names) > 1:
        charts.append(_horizon_chart(summary, recipes[0], names))
    charts.append(pit_chart(first, names[0]))
    charts.append(coverage_chart(first, names, looks))
    return charts


def difference_chart(
    first: pd.DataFrame, names: list[str], reference: str, looks: Mapping[str, str]
) -> Chart:
    """Running sum of the reference's CRPS less each model's, one day ahead: rising is better."""
    scores = first.pivot_table(index="target_date", columns="model", values="crps_bp")
    days = day_numbers(scores.index)
    gains = {name: (scores[reference] - scores[name]).cumsum().to_numpy() for name in names}
    lead = max(names, key=lambda name: gains[name][-1])
    whole = 1 - scores[lead].mean() / scores[reference].mean()
    side = "smaller" if whole >= 0 else "larger"
    title = f"The error of {lead} was {percent(abs(whole))} {side} than that of {reference}"
    low, high = padded([value for gain in gains.values() for value in gain], around=0.0)
    return Chart(
        name="difference",
        title=title,
        alt=f"{title}, as a running sum over {count_days(len(days))}; a rising line is better.",
        x=Axis(days[0], days[-1], "day"),
        y=Axis(low, high, unit=f"lead over {reference}, summed (basis points); up is better"),
        layers=(
            Layer("across", "solid", y=(0.0,), label=reference),
            *(Layer("line", looks[name], days, floats(gains[name]), label=name) for name in names),
        ),
        readouts=tuple(
            (day, f"{date:%Y-%m-%d}: " + ", ".join(f"{n} {gains[n][i]:+,.0f} bp" for n in names))
            for i, (day, date) in enumerate(zip(days, scores.index, strict=True))
            if i % 7 == 0
        ),
        right=END_SPACE + 30,
        height=300,
    )


def years_chart(
    summary: Mapping[str, Any], names: list[str], reference: str, looks: Mapping[str, str]
) -> Chart:
    """Skill against the reference, one day ahead, year by year."""
    models = summary["horizons"]["1"]["models"]
    years = sorted(models[reference]["by_year"])
    skills = {
        name: [
            100 * (1 - models[name]["by_year"][year]["crps_bp"] / scores["crps_bp"])
            for year, scores in sorted(models[reference]["by_year"].items())
        ]
        for name in names
    }
    width = 0.6 / max(len(names), 1)
    won = sum(value > 0 for value in skills[names[0]])
    title = f"{names[0]} was better than {reference} in {won} of {len(years)} years"
    low, high = padded([value for row in skills.values() for value in row], around=0.0)
    layers = [Layer("across", "solid", y=(0.0,))]
    for place, name in enumerate(names):
        x = tuple(i + (place - (len(names) - 1) / 2) * width for i in range(len(years)))
        layers.append(Layer("dots", looks[name], x, floats(skills[name])))
        layers.append(Layer("line", looks[name], x[-1:], floats(skills[name][-1:]), label=name))
    return Chart(
        name="years",
        title=title,
        alt=f"{title}. Skill by year: "
        + "; ".join(f"{y}: {skills[names[0]][i]:+.1f} %" for i, y in enumerate(years)),
        x=Axis(-0.5, len(years) - 0.5, "names", names=tuple(years)),
        y=Axis(low, high, unit=f"% better than {reference} (above 0) or worse", spec="+,g"),
        layers=tuple(layers),
        readouts=tuple(
            (float(i), f"{y}: " + ", ".join(f"{n} {skills[n][i]:+.1f} %" for n in names))
            for i, y in enumerate(years)
        ),
        right=END_SPACE + 30,
    )


def _horizon_chart(summary: Mapping[str, Any], model: str, names: list[str]) -> Chart:
    """Skill of the first recipe by days ahead against naive, GARCH and the best other."""
    horizons = summary["horizons"]
    others = [n for n in names if n != model]
    best = min(others, key=lambda n: horizons["1"]["models"][n]["crps_bp"])
    against = list(dict.fromkeys([*(n for n in ("naive", "garch") if n in others), best]))
    skills: dict[str, dict[int, tuple[float, float | None, float | None]]] = {}
    for name in against:
        skills[name] = {}
        for step, horizon in horizons.items():
            ours, theirs = (horizon["models"][n]["crps_bp"] for n in (model, name))
            skill = 1 - ours / theirs
            t = next((d["t"] for d in horizon["dm"] if (d["a"], d["b"]) == (model, name)), None)
            # The Diebold-Mariano t gives the standard error of the mean difference.
            half = abs(skill / t) * Z_95 if t else None
            bounds = (None, None) if half is None else (skill - half, skill + half)
            skills[name][int(step)] = (skill, *bounds)
    return skill_chart(skills, summary["n_origins"], "forecast days")


def pit_chart(first: pd.DataFrame, name: str) -> Chart:
    """Share of outcomes in each tenth of the forecast distribution, beside what chance allows."""
    rows = first[first["model"] == name]
    quantiles, levels = read_quantiles(rows)
    pit = probability_below(rows["actual"].to_numpy(dtype=np.float64), quantiles, levels)
    n = len(rows)
    share = 100 * np.histogram(pit, bins=PIT_BINS, range=(0, 1))[0] / n
    half = 100 * Z_95 * np.sqrt(0.1 * 0.9 / n)
    outside = int((np.abs(share - 10) > half).sum())
    title = f"{name}: {PIT_BINS - outside} of {PIT_BINS} tenths came as often as they should"
    return Chart(
        name="pit",
        title=title,
        alt=f"{title}. Shares: {', '.join(f'{value:.1f} %' for value in share)}; 10 % is right.",
        x=Axis(0, 100, unit="tenth of the forecast distribution, %"),
        y=Axis(0, max(16.0, float(share.max()) + 2), unit="% of the days", spec=",g"),
        layers=(
            Layer(
                "band",
                "chance",
                (0.0, 100.0),
                low=(10 - half,) * 2,
                high=(10 + half,) * 2,
                label="chance",
            ),
            Layer(
                "bars",
                "ours",
                floats(np.arange(5, 100, 10)),
                low=(0.0,) * PIT_BINS,
                high=floats(share),
            ),
            Layer("across", "solid", y=(10.0,)),
        ),
        readouts=tuple(
            (5.0 + 10 * i, f"{10 * i} to {10 * i + 10} %: {v:.1f} % of the days")
            for i, v in enumerate(share)
        ),
        right=END_SPACE,
    )


def coverage_chart(first: pd.DataFrame, names: list[str], looks: Mapping[str, str]) -> Chart:
    """Share of the last 180 days inside the 90 % band, over time."""
    series, whole = {}, {}
    days: tuple[float, ...] = ()
    for name in names[:3]:
        rows = first[first["model"] == name].sort_values("target_date")
        quantiles, levels = read_quantiles(rows)
        low_at, high_at = find_band(0.9, levels) or (0, len(levels) - 1)
        actual = rows["actual"].to_numpy(dtype=np.float64)
        inside = (quantiles[:, low_at] <= actual) & (actual <= quantiles[:, high_at])
        window = min(COVERAGE_DAYS, len(rows))
        series[name] = 100 * pd.Series(inside, dtype=float).rolling(window).mean().to_numpy()
        whole[name] = float(inside.mean())
        days = day_numbers(rows["target_date"])
    window = min(COVERAGE_DAYS, len(days))
    half = 100 * Z_95 * np.sqrt(0.09 / window)
    title = (
        f"The 90 % band of {names[0]} held {percent(whole[names[0]])} of {count_days(len(days))}"
    )
    known = [v for row in series.values() for v in row[window - 1 :]]
    low, high = padded([*known, 90 - half, 90 + half])
    shown = slice(window - 1, None)
    spread = (90.0 - half,) * 2, (90.0 + half,) * 2
    return Chart(
        name="coverage",
        title=title,
        alt=f"{title}, and its share of the last {window} days over time.",
        x=Axis(days[shown][0] - 0.5, days[-1] + 0.5, "day"),
        y=Axis(low, min(high, 100.0), unit=f"% of the last {window} days inside"),
        layers=(
            Layer(
                "band",
                "chance",
                (days[shown][0], days[-1]),
                low=spread[0],
                high=spread[1],
                label="chance",
            ),
            Layer("across", "", y=(90.0,)),
            *(
                Layer("line", looks[n], days[shown], floats(s[shown]), label=n)
                for n, s in series.items()
            ),
        ),
        right=END_SPACE + 30,
    )


def _shown_steps(horizons: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(["1", max(horizons, key=int)]))


def _ours_first(names: list[str], recipes: tuple[str, ...]) -> list[str]:
    return [*(n for n in names if n in recipes), *(n for n in names if n not in recipes)]
