"""What MLflow shows of a backtest: a parent with the result, and a child for each model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.config.flows import BacktestConfig
from models.config.recipe import Recipe
from models.reporting.backtest_page import write_result
from models.reporting.runs import Point, recipe_params, rounded
from models.scoring.backtest import LEVELS
from models.wording import percent

Summary = Mapping[str, Any]


def what_is(name: str, config: BacktestConfig) -> str:
    """A preset with what it makes, as default (gru + regression); a baseline by its name."""
    if name not in config.recipes:
        return name
    made = Recipe(preset=name).name
    return name if made == name else f"{name} ({made})"


def find_reference(summary: Summary, name: str = "") -> str:
    """What all others are measured against: garch, else naive; empty where `name` is that."""
    models = summary["horizons"]["1"]["models"]
    found = next((known for known in ("garch", "naive") if known in models), "")
    return "" if found == name else found


def rank_models(summary: Summary) -> list[str]:
    """The models by their CRPS one day ahead, the best first."""
    models = summary["horizons"]["1"]["models"]
    return sorted(models, key=lambda name: models[name]["crps_bp"])


def name_parent(config: BacktestConfig, summary: Summary, synthetic: bool) -> str:
    """The backtest in a line: its last day, how many days, and the winner."""
    best = rank_models(summary)[0]
    crps = summary["horizons"]["1"]["models"][best]["crps_bp"]
    told = f"{summary['last_origin']} backtest of {summary['n_origins']:,} days"
    parts = [told, f"best: {what_is(best, config)}, CRPS {crps:.2f} bp"]
    return " · ".join([*parts, *(["SYNTHETIC"] if synthetic else [])])


def name_child(name: str, config: BacktestConfig, summary: Summary) -> str:
    """A model and its result, one day ahead."""
    models = summary["horizons"]["1"]["models"]
    told = f"{what_is(name, config)} · CRPS {models[name]['crps_bp']:.2f} bp"
    reference = find_reference(summary, name)
    if not reference:
        return told
    gain = 1 - models[name]["crps_bp"] / models[reference]["crps_bp"]
    return f"{told}, {percent(gain, signed=True)} against {reference}"


def child_metrics(name: str, summary: Summary) -> list[Point]:
    """A model's scores: `_h1` one day ahead, `_h7` seven; without it by the days ahead.

    `dm_t` is of the Diebold-Mariano test against garch, else naive; negative is better.
    """
    horizons = summary["horizons"]
    steps = sorted(map(int, horizons))
    reference = find_reference(summary, name)
    points: list[tuple[str, Any, int]] = []
    for step in sorted({1, steps[-1]}):
        horizon = horizons[str(step)]
        scores = horizon["models"][name]
        named = {"crps_bp": scores["crps_bp"], "skill_vs_naive": scores.get("skill_naive")}
        if reference == "garch":
            theirs = horizon["models"][reference]["crps_bp"]
            named["skill_vs_garch"] = 1 - scores["crps_bp"] / theirs
        tests = [test for test in horizon["dm"] if (test["a"], test["b"]) == (name, reference)]
        named["dm_t"] = tests[0]["t"] if tests else None
        named |= {"coverage_90": scores.get("coverage_90"), "mae_bp": scores["mae_bp"]}
        points += [(f"{key}_h{step}", value, 0) for key, value in named.items()]
    points.append(("crps_over_naive", summary["all_steps"].get(name), 0))
    for step in steps:
        scores = horizons[str(step)]["models"][name]
        points += [("crps_bp", scores["crps_bp"], step)]
        points += [("skill_vs_naive", scores.get("skill_naive"), step)]
    return rounded(points)


def backtest_params(name: str, config: BacktestConfig, summary: Summary) -> dict[str, str]:
    """What a model of the backtest, or with an empty name the whole, was asked."""
    days = {"start": summary["first_origin"], "end": summary["last_origin"]}
    params = {**days, "horizon": str(config.horizon), "source": config.source}
    if name in config.recipes:
        own = recipe_params(config.recipe(name, LEVELS))
        return own | params | {"refit_days": str(config.refit_days)}
    if name:
        return params | {"refit_days": str(config.baseline_refit_days)}
    names = {"recipes": ", ".join(config.recipes), "baselines": ", ".join(config.baselines)}
    return params | names | {"refit_days": str(config.refit_days), "seed": str(config.seed)}


def describe_parent(config: BacktestConfig, summary: Summary, labels: list[str], page: str) -> str:
    """The backtest's description: the result in a sentence, the table, and where its page is."""
    first, last = summary["horizons"]["1"], str(max(map(int, summary["horizons"])))
    reference = find_reference(summary)
    head = [
        "model",
        "CRPS bp, 1 day",
        f"{last} days",
        f"against {reference}",
        "DM t",
        "in the 90 % band",
    ]
    lines = [f"| {' | '.join(head)} |", f"| --- {'| ---: ' * (len(head) - 1)}|"]
    for name in rank_models(summary):
        scores = first["models"][name]
        tests = [t["t"] for t in first["dm"] if (t["a"], t["b"]) == (name, reference)]
        gain = 1 - scores["crps_bp"] / first["models"][reference]["crps_bp"] if reference else 0.0
        coverage = scores.get("coverage_90")
        cells = [
            what_is(name, config),
            f"{scores['crps_bp']:.2f}",
            f"{summary['horizons'][last]['models'][name]['crps_bp']:.2f}",
            "" if name == reference else percent(gain, signed=True),
            f"{tests[0]:.1f}" if tests and tests[0] is not None else "",
            "" if coverage is None else percent(coverage),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    told = (
        f"{summary['n_origins']:,} origins from {summary['first_origin']} to "
        f"{summary['last_origin']}, refitted every {config.refit_days} days. A negative DM t is "
        f"better than {reference}."
    )
    parts = [*(f"**{label}**" for label in labels), f"**{write_result(summary, config.recipes)}**"]
    parts += ["\n".join(lines), told, f"[Page with charts]({page})"]
    return "\n\n".join(parts)
