"""Trials that diverge, are cut off in MLflow, or all score the same."""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path

import optuna
import pytest
import yaml
from mlflow import MlflowClient

import tasks.trial
from models.config.flows import Search, TuneConfig
from models.config.overrides import make_config
from models.data.sample import make_sample
from models.errors import InputError
from models.records import SnapshotRecord
from models.reporting.tune_summary import StudyRecord, WinnerRecord, write_recipe
from tasks.registry.connection import connect
from tasks.registry.trials import begin_study, log_trials
from tasks.storage.files import write_frame
from tasks.storage.studies import opened_studies
from tasks.study import FINISHED
from tasks.trial import trial
from tasks.winner import _measure_importances, winner
from tests.conftest import LAST_DAY, body

CONFIG = TuneConfig(search=Search(trials=3, folds=2, fold_days=30))


@pytest.fixture
def begun(own_home: Path) -> StudyRecord:
    """A study without trials."""
    frame = make_sample(LAST_DAY, n_days=400)
    folder = own_home / "tuning" / "a"
    write_frame(frame, folder / "candles.parquet")
    with opened_studies() as storage:
        optuna.create_study(storage=storage, study_name="a", direction="minimize")
    snapshot = SnapshotRecord(
        folder=folder,
        sha256="0" * 64,
        symbol="BTC/USD",
        source="csv:x.csv",
        synthetic=False,
        n_rows=400,
        first_day=LAST_DAY - dt.timedelta(days=399),
        as_of=LAST_DAY,
    )
    return StudyRecord(
        name="a",
        folder=folder,
        model="btc-usd",
        run_id=begin_study(connect(), "a", CONFIG, snapshot),
        folds=((0, 300, 300, 330), (0, 330, 330, 360)),
        first_day=LAST_DAY,
        last_day=LAST_DAY,
        first_test_day=LAST_DAY,
        n_known=0,
        n_trials=3,
    )


def make(begun: StudyRecord, monkeypatch: pytest.MonkeyPatch, *scores: float) -> list[str]:
    """Make a trial of each score; gives the lines that the stage logs."""
    lines = []
    for number, score in enumerate(scores, 1):
        monkeypatch.setattr(tasks.trial, "score_fold", lambda *_, score=score: score)
        lines.append(str(body(trial)(CONFIG, begun, number)))
    return lines


def runs_of(client: MlflowClient, begun: StudyRecord) -> dict[str, str]:
    experiment = client.get_run(begun.run_id).info.experiment_id
    found = client.search_runs([experiment], "tags.kind = 'trial'")
    return {run.data.tags["trial"]: run.info.run_name for run in found}


def test_a_search_goes_on_after_a_recipe_that_diverged(
    begun: StudyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = make(begun, monkeypatch, math.inf, 0.9, math.inf)
    assert lines == [
        "1 of 3: not finite, given up after 1 fold; best none yet",
        "2 of 3: 0.9000; best 0.9000",
        "3 of 3: not finite, given up after 1 fold; best 0.9000",
    ]
    best: WinnerRecord = body(winner)(CONFIG, begun)
    assert (best.number, best.score, best.start_score) == (2, 0.9, None)
    assert [one["score"] for one in best.trials] == [None, 0.9, None]
    json.dumps(best.trials, allow_nan=False)
    assert runs_of(connect(), begun)["1"] == "trial 1 not finite given up"


def test_where_no_recipe_forecasts_it_is_one_line(
    begun: StudyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(begun, monkeypatch, math.inf, math.inf)
    with pytest.raises(InputError, match="none of 2 trials had finite forecasts"):
        body(winner)(CONFIG, begun)


def test_a_run_of_a_trial_that_was_left_half_is_made_anew(
    begun: StudyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect()
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", cut)
        with pytest.raises(KeyboardInterrupt):
            make(begun, patch, 0.9)
    assert runs_of(client, begun) == {"1": "trial 1 0.9000"}
    with opened_studies() as storage:
        done = optuna.load_study(study_name="a", storage=storage).get_trials(states=FINISHED)
    for _ in range(2):
        log_trials(client, begun, done)
    experiment = client.get_run(begun.run_id).info.experiment_id
    [run] = client.search_runs([experiment], "tags.kind = 'trial'")
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"crps_over_naive": 0.9})


def cut(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_another_study_that_a_kill_left_open_is_marked(begun: StudyRecord) -> None:
    client = connect()
    snapshot = SnapshotRecord(
        folder=begun.folder,
        sha256="1" * 64,
        symbol="BTC/USD",
        source="csv:x.csv",
        synthetic=False,
        n_rows=400,
        first_day=LAST_DAY,
        as_of=LAST_DAY,
    )
    other = begin_study(client, "b", CONFIG, snapshot)
    states = [client.get_run(run_id).info.status for run_id in (begun.run_id, other)]
    assert states == ["KILLED", "RUNNING"]


def test_equal_scores_have_no_importances(begun: StudyRecord) -> None:
    with opened_studies() as storage:
        found = optuna.load_study(study_name="a", storage=storage)
        for _ in range(12):
            asked = found.ask({"units": optuna.distributions.IntDistribution(1, 50)})
            found.tell(asked, 1.0)
        assert _measure_importances(found) == {}


def test_a_study_says_how_many_trials_it_knows(begun: StudyRecord) -> None:
    def said(n_known: int) -> str:
        return str(begun.model_copy(update={"n_known": n_known})).partition("; ")[2]

    assert [said(n) for n in (0, 2)] == ["", "2 of 3 trials known already"]
    assert said(30) == "30 trials known already, more than the 3 asked for"


def test_the_file_of_a_winner_names_the_symbol_that_it_was_found_for(begun: StudyRecord) -> None:
    config = CONFIG.model_copy(update={"symbol": "ETH/USD"})
    written = yaml.safe_load(write_recipe(begun, config, config.recipe, "a note"))
    assert make_config(written, []).symbol == "ETH/USD"
