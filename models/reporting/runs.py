"""What MLflow shows of a run, for people who compare: metrics, parameters, names, descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from models.config.flows import RetrainConfig
from models.config.recipe import Recipe
from models.decisions.promotion import Challenger, Decision
from models.naming import run_labels
from models.reporting.notes import escape, metrics_table, say_outcome
from models.reporting.summaries import RetrainSummary
from models.scoring import metrics as m
from models.scoring.holdout import REFERENCE, Evaluation
from models.wording import signed_skill

Point = tuple[str, float, int]
"""A metric's name, value and step: the days ahead, or the epoch."""

DECIDED = {
    "promote": "promoted",
    "refresh": "refreshed",
    "keep": "champion kept",
    "reject": "rejected",
}
# A share or a skill is told to the hundredth of a percent, all else to five figures.
SHARES = ("skill", "coverage", "worse_p")
# First lines of a version's description.
STATUS = ("Champion", "Rejected", "Not champion", "Chosen")


def retrain_metrics(evaluation: Evaluation, predictions: pd.DataFrame) -> list[Point]:
    """Metrics of the test days, the most telling first; those that are not defined are left out.

    `_h1` is one day ahead, `_h7` seven; without it a metric has the days ahead as its steps. Skills
    are of the CRPS, but for `skill_rmse`; `best` is the best baseline at that step. `predictions`:
    the frame that was evaluated.
    """
    ours, naive = (evaluation.metrics[name] for name in (evaluation.model, REFERENCE))
    steps = sorted(map(int, ours))
    best = _skill_against_best(predictions, evaluation.model)
    points: list[tuple[str, Any, int]] = []
    for step in sorted({1, steps[-1]}):
        skill = evaluation.skill[str(step)]["skill_crps"]
        points += [(f"skill_vs_naive_h{step}", skill, 0), (f"skill_vs_best_h{step}", best[step], 0)]
        points.append((f"crps_bp_h{step}", ours[str(step)]["crps_bp"], 0))
    first = ours["1"]
    points += [(f"{name}_h1", first.get(name), 0) for name in ("coverage_90", "rmse_usd")]
    points.append(("skill_rmse_h1", evaluation.skill["1"]["skill_rmse"], 0))
    points.append(("n_days", first["n_days"], 0))
    for step in steps:
        points.append(("crps_bp", ours[str(step)]["crps_bp"], step))
        points.append(("skill_vs_naive", evaluation.skill[str(step)]["skill_crps"], step))
        points.append(("naive/crps_bp", naive[str(step)]["crps_bp"], step))
    points += [(f"naive/{key}_h1", naive["1"].get(key), 0) for key in ("coverage_90", "rmse_usd")]
    return rounded(points)


def loss_metrics(losses: Mapping[str, list[float]]) -> list[Point]:
    """The losses by epoch, counted from 1."""
    return rounded(
        [(key, value, epoch) for key, all_ in losses.items() for epoch, value in enumerate(all_, 1)]
    )


def decision_metrics(challenger: Challenger, decision: Decision) -> list[Point]:
    """The numbers that a version was decided by."""
    values = challenger.model_dump(
        include={"score", "crps_bp", "naive_crps_bp", "n_days", "inside_90", "worse_p"}
    )
    values["skill"] = decision.skill
    return rounded([(f"decision/{key}", value, 0) for key, value in values.items()])


def rounded(points: list[tuple[str, Any, int]]) -> list[Point]:
    """Points rounded to what they mean, without those that have no finite value."""
    return [
        (name, round_figure(name, float(value)), step)
        for name, value, step in points
        if value is not None and abs(float(value)) < float("inf")
    ]


def round_figure(name: str, value: float) -> float:
    """A metric's value rounded to what it means: 0.0162, 122.53, 1552.3."""
    last = name.rpartition("/")[2]
    if last.startswith(SHARES):
        return round(value, 4)
    return float(f"{value:.5g}")


def _skill_against_best(predictions: pd.DataFrame, model: str) -> dict[int, float]:
    """By step, the CRPS skill against the baseline of `predictions` that is best at that step."""
    scored = m.with_crps(predictions)
    scores = scored.pivot_table("crps_bp", index="step", columns="model")
    best = scores.drop(columns=model).min(axis=1)
    return {int(str(step)): float(1 - row) for step, row in (scores[model] / best).items()}


def retrain_params(config: RetrainConfig) -> dict[str, str]:
    """What a person varies from run to run, under plain names."""
    params = recipe_params(config.recipe) | {"source": config.source}
    if config.exogenous:
        params["exogenous"] = ", ".join(series.feature for series in config.exogenous)
    return params


def recipe_params(recipe: Recipe) -> dict[str, str]:
    """What a person varies of a recipe."""
    names = (
        "preset", "cell", "units", "layers", "dropout", "lookback", "horizon", "members", "blend",
        "target", "seed",
    )  # fmt: skip
    params = {name: getattr(recipe, name) for name in names}
    params |= {"features": ", ".join(recipe.features), "training": recipe.training.kind}
    params |= {"epochs": recipe.training.epochs, "learning_rate": recipe.training.learning_rate}
    return {name: str(value) for name, value in params.items()}


def name_run(
    day: object, model: str, labels: list[str], skill: float | None, decision: Decision
) -> str:
    """A run as a line of a diary: 2026-08-21 gru + regression +1.0 % · refreshed."""
    told = "" if skill is None else f" {signed_skill(skill)}"
    mark = ", unproven" if decision.moves and decision.unproven else ""
    short = [label.partition(":")[0] for label in labels]
    return " · ".join([f"{day} {model}{told}", DECIDED[decision.action] + mark, *short])


def describe_model(symbol: str, synthetic: bool) -> str:
    """What the registered model and its experiment are, for their pages."""
    label = "SYNTHETIC: made of generated candles, not a market. " if synthetic else ""
    return (
        f"{label}The distribution of {symbol}'s price over the next days, retrained every day on "
        "daily candles. `@champion` forecasts; `@challenger` is the newest version. A version "
        "takes over only for a reason, which its description gives first."
    )


def describe_run(summary: RetrainSummary, fan: str, links: Mapping[str, str]) -> str:
    """A run's description: verdict and decision, metrics beside naive's, fan chart, links.

    `fan`: address of the chart, empty without a forecast.
    """
    rows = metrics_table(summary, every=False)
    head = " | ".join(rows[0])
    table = [f"| {head} |", "| --- " + "| ---: " * (len(rows[0]) - 1) + "|"]
    table += [f"| {' | '.join(row.values())} |" for row in rows]
    labels = run_labels(summary.synthetic, summary.reproduction)
    mark = ", unproven" if summary.decision.unproven else ""
    decision = "\n".join(f"- {escape(reason)}" for reason in summary.decision.reasons)
    parts = [*(f"**{label}**" for label in labels), f"**{escape(say_outcome(summary))}**"]
    parts += [escape(summary.verdict_text)]
    parts += [f"Decision: {summary.decision.action}{mark}\n\n{decision}", "\n".join(table)]
    parts += [f"![The week ahead]({fan})"] if fan else []
    parts += [f"Why this retrain: {escape(summary.reason)}"] if summary.reason else []
    parts.append(f"Candles: {escape(summary.source)}, {summary.first_day} to {summary.as_of}.")
    parts.append(" · ".join(f"[{text}]({address})" for text, address in links.items()))
    return "\n\n".join(part for part in parts if part)


def describe_version(decision: Decision, body: str) -> str:
    """The description of a new version, Markdown: the decision first, then `body`."""
    told = {
        "reject": "Rejected",
        "keep": "Not champion",
        "promote": "Chosen as champion",
        "refresh": "Chosen as champion",
    }[decision.action]
    return f"{told}: {escape('; '.join(decision.reasons))}\n\n{body}"


def with_status(description: str, status: str) -> str:
    """A version's description with another first line."""
    head, _, body = description.partition("\n\n")
    return f"{status}\n\n{body if head.startswith(STATUS) else description}"


def ended_status(description: str, day: object) -> str:
    """The first line of a champion's description when another takes its place on `day`."""
    head = description.partition("\n\n")[0]
    if head.startswith(("Champion from ", "Champion until ")):
        return head
    if head.startswith("Champion since "):
        since, mark, rest = head.removeprefix("Champion since ").partition(":")
        return f"Champion from {since} to {day}{mark}{rest}"
    return f"Champion until {day}"
