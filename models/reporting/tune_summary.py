"""What a tuning hands on and returns: its study, its trials, and the recipe that won."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from models.config.flows import TuneConfig
from models.config.recipe import Recipe
from models.records import Record, SnapshotRecord
from models.reporting.chart import END_SPACE, Axis, Chart, Layer, padded
from models.reporting.summaries import Summary
from models.wording import count_days

Values = dict[str, int | float]


class StudyRecord(Record):
    """A study: where its candles lie, its folds as rows, and how many trials are known."""

    name: str
    folder: Path
    model: str
    run_id: str
    folds: tuple[tuple[int, int, int, int], ...]
    first_day: dt.date
    last_day: dt.date
    first_test_day: dt.date
    n_known: int
    n_trials: int

    @property
    def missing(self) -> range:
        """Numbers of the trials that are still to be made, counted from 1."""
        return range(self.n_known + 1, self.n_trials + 1)

    def __str__(self) -> str:
        asked = f" of {self.n_trials} trials known already"
        if self.n_known > self.n_trials:
            asked = f" trials known already, more than the {self.n_trials} asked for"
        known = f"; {self.n_known}{asked}" if self.n_known else ""
        return (
            f"{len(self.folds)} folds from {self.first_day} to {self.last_day}, the day before "
            f"the first test origin{known}"
        )


class TrialRecord(Record):
    """One trial: its values, its score over the folds that it was fitted on, the best so far."""

    number: int
    n_trials: int
    values: Values
    score: float
    """Infinite where a forecast was not finite."""
    n_folds: int
    pruned: bool
    best: float
    """Infinite where no trial is complete yet."""

    @property
    def progress(self) -> tuple[int, int]:
        """How many trials of how many there are."""
        return self.number, self.n_trials

    def __str__(self) -> str:
        folds = "1 fold" if self.n_folds == 1 else f"{self.n_folds} folds"
        given_up = f", given up after {folds}" if self.pruned else ""
        score, best = say_score(self.score), say_score(self.best, "none yet")
        return f"{self.number} of {self.n_trials}: {score}{given_up}; best {best}"


def say_score(score: float | None, without: str = "not finite") -> str:
    """A score with four decimals, or the words for one that is not finite."""
    return f"{score:.4f}" if score is not None and math.isfinite(score) else without


class WinnerRecord(Record):
    """The best trial of a study, its recipe's file, and every finished trial."""

    number: int
    values: Values
    score: float
    start_score: float | None
    recipe_path: Path
    trials: tuple[dict[str, Any], ...]
    importances: dict[str, float]

    def __str__(self) -> str:
        return f"trial {self.number}: {self.score:.4f} (trial 1: {say_score(self.start_score)})"


class TuneSummary(Summary):
    """What `tune` returns."""

    symbol: str
    source: str
    synthetic: bool
    snapshot_sha256: str
    as_of: dt.date
    study: str
    first_day: dt.date
    """First day that trials were scored on."""
    last_day: dt.date
    """Last day that trials knew; the day after is the first test origin of a retrain."""
    n_trials: int
    n_given_up: int
    winner: int
    """Number of the best trial; 1 is the recipe that the search began with."""
    score: float
    """Its CRPS over naive's, every fold and step counted alike; smaller is better."""
    start_score: float | None
    """The same of the recipe that the search began with; null where it diverged."""
    values: Values
    importances: dict[str, float]
    """Share of the scores' variance that each setting explains (fANOVA); empty for few trials."""
    trials: tuple[dict[str, Any], ...]
    """Every trial with its values and score; the score is null where it diverged."""
    recipe_file: str
    run_id: str
    experiment: str
    config: dict[str, Any]
    seconds: dict[str, float]


def summarize_tuning(
    config: TuneConfig,
    snapshot: SnapshotRecord,
    study: StudyRecord,
    winner: WinnerRecord,
    seconds: dict[str, float],
) -> TuneSummary:
    """Gather what a tuning found."""
    return TuneSummary(
        symbol=config.symbol,
        source=snapshot.source,
        synthetic=snapshot.synthetic,
        snapshot_sha256=snapshot.sha256,
        as_of=snapshot.as_of,
        study=study.name,
        first_day=study.first_day,
        last_day=study.last_day,
        n_trials=len(winner.trials),
        n_given_up=sum(trial["given_up"] for trial in winner.trials),
        winner=winner.number,
        score=winner.score,
        start_score=winner.start_score,
        values=winner.values,
        importances=winner.importances,
        trials=winner.trials,
        recipe_file=str(winner.recipe_path),
        run_id=study.run_id,
        experiment=f"{study.model}-tuning",
        config=config.model_dump(mode="json"),
        seconds=seconds,
    )


def say_winner(
    study: StudyRecord, number: int, score: float, start_score: float | None, n: int
) -> str:
    """What the search found, in sentences that promise no more than it knows."""
    days = count_days(len(study.folds) * len(range(*study.folds[0][2:])))
    where = f"on {days} to {study.last_day}, before the first test day"
    if number == 1:
        return (
            f"None of {n} trials is better than the recipe that the search began with: its CRPS is "
            f"{score:.4f} of naive's, {where}."
        )
    start = say_score(start_score, "no finite one")
    return (
        f"Trial {number} of {n} is the best: its CRPS is {score:.4f} of naive's, {where}; the "
        f"recipe that the search began with has {start}. The best of many looks better "
        "than it is: the test days of a retrain decide."
    )


def write_recipe(study: StudyRecord, config: TuneConfig, recipe: Recipe, note: str) -> str:
    """The file of a winner, as `btc retrain --config` reads it: the recipe and what it reads."""
    lines = [
        f"# Study {study.name}, which knew no candle after {study.last_day}.",
        f"# {note}",
        "# Retrain with it on the same candles or later ones; the ordinary rules decide.",
    ]
    elsewhere = {"source", "as_of", "recipe", "search"}
    asked = config.model_dump(mode="json", exclude=elsewhere, exclude_defaults=True)
    tree = {**asked, "recipe": recipe.model_dump(mode="json")}
    return "\n".join([*lines, yaml.safe_dump(tree, sort_keys=False)])


def tune_charts(trials: Sequence[Mapping[str, Any]], values: Sequence[str]) -> list[Chart]:
    """Charts of a study: scores in the order of the trials, and over each setting."""
    complete = [trial for trial in trials if not trial["given_up"]]
    best = min(complete, key=lambda trial: trial["score"])
    return [
        _history_chart(trials, best),
        *(_setting_chart(complete, best, key) for key in values),
    ]


def _history_chart(trials: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> Chart:
    so_far, least = [], math.inf
    for trial in trials:
        least = least if trial["given_up"] else min(least, trial["score"])
        so_far.append(least)
    numbers = tuple(float(trial["number"]) for trial in trials)
    scored = [trial for trial in trials if trial["score"] is not None]
    title = f"Trial {best['number']} of {len(trials)} is the best: {best['score']:.4f} of naive's"
    layers = [
        Layer("dots", look, tuple(map(float, x)), tuple(map(float, y)))
        for look, given_up in (("ours", False), ("naive", True))
        if (x := [t["number"] for t in scored if t["given_up"] == given_up])
        if (y := [t["score"] for t in scored if t["given_up"] == given_up])
    ]
    layers.append(Layer("line", "ours", numbers, tuple(so_far), label="best so far"))
    low, high = padded([trial["score"] for trial in scored])
    return Chart(
        name="history",
        title=title,
        alt=f"{title}. Scores of the trials in their order, and the best so far.",
        x=Axis(0.0, numbers[-1] + 1, unit="trial"),
        y=Axis(low, high, unit="CRPS over naive's", spec=".3f"),
        layers=tuple(layers),
        note="Grey dots were given up after a poor fold.",
        readouts=tuple(
            (float(t["number"]), f"trial {t['number']}: {say_score(t['score'])}") for t in trials
        ),
        right=END_SPACE + 10,
    )


def _setting_chart(
    complete: Sequence[Mapping[str, Any]], best: Mapping[str, Any], key: str
) -> Chart:
    points = [(float(trial["values"][key]), float(trial["score"])) for trial in complete]
    at = float(best["values"][key])
    name = key.rpartition(".")[2]
    title = f"The best trial has {name} {at:g}"
    low, high = padded([score for _, score in points])
    left, right = padded([value for value, _ in points])
    return Chart(
        name=name,
        title=title,
        alt=f"{title}. Score of every complete trial over {name}.",
        x=Axis(left, right, unit=name, spec="g"),
        y=Axis(low, high, unit="CRPS over naive's", spec=".3f"),
        layers=(
            Layer("down", "solid", x=(at,)),
            Layer("dots", "ours", tuple(x for x, _ in points), tuple(y for _, y in points)),
        ),
        readouts=tuple((x, f"{name} {x:g}: {y:.4f}") for x, y in points),
    )
