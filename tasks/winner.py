"""Winner: the best trial's recipe as a file, and the study's plots in MLflow."""

from __future__ import annotations

import math
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from models.config.flows import TuneConfig
from models.errors import InputError
from models.learning.search_space import make_recipe, make_space
from models.reporting.render import render_chart
from models.reporting.tune_summary import (
    StudyRecord,
    WinnerRecord,
    say_winner,
    tune_charts,
    write_recipe,
)
from tasks.registry.connection import connect
from tasks.registry.trials import SCORE, end_study, log_trials
from tasks.stage import stage
from tasks.storage.files import write_text
from tasks.storage.studies import opened_studies
from tasks.study import FINISHED

# Below this, shares of the variance say nothing.
LEAST_TRIALS = 10


@stage("winner", retries=3)
def winner(config: TuneConfig, study: StudyRecord) -> WinnerRecord:
    """Write the best recipe, and log it with the study's plots to the run of the study.

    Raises InputError where no trial had finite forecasts on every fold.
    """
    with opened_studies() as storage:
        found = optuna.load_study(study_name=study.name, storage=storage)
        done = found.get_trials(deepcopy=False, states=FINISHED)
        importances = _measure_importances(found)
    client = connect()
    log_trials(client, study, done)
    facts = [_facts(order, trial) for order, trial in enumerate(done, 1)]
    complete = [f for f in facts if not f["given_up"]]
    if not complete:
        raise InputError(
            f"search: none of {len(facts)} trials had finite forecasts on every fold; begin with "
            "another recipe (--preset, or --set learning_rate=0.001), or try more (--trials)"
        )
    best = min(complete, key=lambda f: f["score"])
    recipe = make_recipe(config.recipe, best["values"])
    scores = (best["score"], facts[0]["score"])
    note = say_winner(study, best["number"], *scores, len(facts))
    text = write_recipe(study, config, recipe, note)
    path = study.folder / "recipe.yaml"
    write_text(text, path)
    charts = tune_charts(facts, list(make_space(config.recipe)))
    files = {f"plots/{chart.name}.svg": render_chart(chart) for chart in charts}
    figures = {SCORE: scores[0]} | ({f"start_{SCORE}": scores[1]} if scores[1] else {})
    end_study(client, study.run_id, note, figures, files | {"recipe.yaml": text})
    return WinnerRecord(
        number=best["number"],
        values=best["values"],
        score=scores[0],
        start_score=scores[1],
        recipe_path=path,
        trials=tuple(facts),
        importances=importances,
    )


def _facts(order: int, trial: FrozenTrial) -> dict[str, Any]:
    steps = trial.intermediate_values
    score = steps[max(steps)]
    return {
        "number": order,
        "values": dict(trial.params),
        "score": score if math.isfinite(score) else None,
        "n_folds": len(steps),
        "given_up": trial.state == TrialState.PRUNED,
    }


def _measure_importances(found: optuna.Study) -> dict[str, float]:
    if len(found.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < LEAST_TRIALS:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        return optuna.importance.get_param_importances(found, evaluator=evaluator)
    except RuntimeError as error:
        if "zero total variance" not in str(error):
            raise
        return {}  # All scores are equal.
