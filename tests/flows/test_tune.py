"""`btc tune`: blind to the test days, resumable, and its winner an ordinary challenger."""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

import flows.cli.console
import tasks.trial
from flows.cli.app import app, main
from models.config.flows import TuneConfig
from models.errors import InputError
from tasks.storage.database import HEAD, transaction
from tasks.storage.lock import hold
from tasks.storage.studies import opened_studies
from tests.simulation.days import RECIPE, write_candles

pytestmark = pytest.mark.server

DAY = 30
N_TRIALS = 3
Tune = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def tune(prefect_api: str) -> Tune:
    """Run `btc tune` on the candles of a home, in this process; gives its JSON."""

    def run(home: Path, n_trials: int = N_TRIALS, change_from: str = "9999") -> dict[str, Any]:
        csv = write_candles(home, DAY)
        rows = pd.read_csv(csv)
        late = rows["date"] >= change_from
        prices = ["open", "high", "low", "close"]
        rows.loc[late, prices] *= 1 + 0.3 * (rows.index[late].to_numpy() % 3)[:, None]
        rows.to_csv(csv, index=False)
        recipe = home / "start.json"
        recipe.write_text(json.dumps({"recipe": RECIPE}))
        command = ["tune", "--source", f"csv:{csv}", "--config", str(recipe), "--folds", "2"]
        command += ["--fold-days", "30", "--trials", str(n_trials), "--json", f"{home}/tune.json"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BTC_HOME", str(home))
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow leaves it there.
            with temporary_settings({PREFECT_API_URL: prefect_api}):
                done = CliRunner().invoke(app, command, catch_exceptions=False)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        assert done.exit_code == 0, done.output
        return {"stdout": done.stdout, **json.loads((home / "tune.json").read_text())}

    return run


@pytest.fixture(scope="module")
def tuned(tune: Tune, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    home = tmp_path_factory.mktemp("tuned")
    return home, tune(home)


def test_no_test_origin_is_ever_read_and_an_interrupted_search_goes_on(
    tune: Tune, tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other prices from the first test origin on, cut off twice: not a bit of a trial changes."""
    _, summary = tuned
    last = dt.date.fromisoformat(summary["last_day"])
    first_test = (last + dt.timedelta(days=1)).isoformat()
    home = tmp_path / "altered"
    first = tune(home, 2, change_from=first_test)
    assert first["snapshot_sha256"] != summary["snapshot_sha256"]
    assert (first["study"], first["n_trials"]) == (summary["study"], 2)

    def cut(*_: object) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, AssertionError)):
        patch.setattr(tasks.trial, "score_fold", cut)
        tune(home, change_from=first_test)
    resumed = tune(home, change_from=first_test)
    assert resumed["trials"] == summary["trials"]
    assert resumed["run_id"] == first["run_id"]
    again = tune(home, change_from=first_test)
    assert (again["trials"], again["seconds"]["trials"]) == (resumed["trials"], 0)


def test_mlflow_has_a_run_for_the_study_and_one_for_every_trial(tuned) -> None:
    home, summary = tuned
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    parent = client.get_run(summary["run_id"])
    assert (parent.info.status, parent.data.tags["kind"]) == ("FINISHED", "tuning")
    assert parent.data.metrics["crps_over_naive"] == pytest.approx(summary["score"], rel=1e-4)
    names = {Path(item.path).name for item in client.list_artifacts(summary["run_id"], "plots")}
    assert {"history.svg", "units.svg", "lookback.svg"} <= names
    runs = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{summary['run_id']}'"
    )
    found = {int(run.data.tags["trial"]): run.data.metrics["crps_over_naive"] for run in runs}
    expected = {trial["number"]: trial["score"] for trial in summary["trials"]}
    assert found == pytest.approx(expected, rel=1e-4)
    assert {run.data.tags["kind"] for run in runs} == {"trial"}


def test_the_first_trial_is_the_recipe_that_one_began_with(tuned) -> None:
    _, summary = tuned
    first = summary["trials"][0]
    assert first["values"]["units"] == RECIPE["units"]
    assert first["score"] == summary["start_score"] >= summary["score"]
    assert min(t["score"] for t in summary["trials"] if not t["given_up"]) == summary["score"]


def test_the_winner_is_a_challenger_like_any_other(tuned, prefect_api: str) -> None:
    """The command that is printed retrains with the recipe, and the gate decides."""
    home, summary = tuned
    [line] = [text for text in summary["stdout"].splitlines() if text.startswith("Retrain:")]
    command = shlex.split(line.partition(":")[2])
    assert command[:2] == ["btc", "retrain"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BTC_HOME", str(home))
        with temporary_settings({PREFECT_API_URL: prefect_api}):
            asked = [*command[1:], "--json", f"{home}/retrain.json"]
            done = CliRunner().invoke(app, asked, catch_exceptions=False)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    assert done.exit_code in (0, 1), done.output  # The sample ends years ago: no live forecast.
    written = json.loads((home / "retrain.json").read_text())
    assert written["decision"]["action"]
    for key, value in summary["values"].items():
        section, leaf = ("training", key.rpartition(".")[2]) if "." in key else ("", key)
        found = written["recipe"][section][leaf] if section else written["recipe"][leaf]
        assert found == value


def test_a_second_search_of_the_same_symbol_ends_at_once(
    prefect_api: str, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.tune import tune as flow

    with temporary_settings({PREFECT_API_URL: prefect_api}), hold("btc-usd-tune"):
        ended = flow(TuneConfig(as_of=dt.date(2025, 6, 30)))
    assert ended.as_json()["skipped"].startswith("another tuning of BTC/USD is at work")


def test_studies_and_ledger_share_a_postgresql_database(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BTC_DATABASE_URL", postgres_url)
    for _ in range(2):
        with opened_studies() as storage:
            study = optuna.create_study(storage=storage, study_name="a", load_if_exists=True)
            study.tell(study.ask(), 1.0)
        with transaction() as connection:
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            assert found == HEAD
    assert len(study.trials) == 2


def test_the_symbol_of_a_config_file_counts_unless_an_option_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[TuneConfig] = []

    def stop(config: TuneConfig) -> None:
        asked.append(config)
        raise InputError("far enough")

    monkeypatch.setattr(flows.cli.console, "settle_request", stop)
    (tmp_path / "c.json").write_text('{"symbol": "ETH/USD"}')
    command = ["tune", "--config", str(tmp_path / "c.json")]
    for more in ([], ["--symbol", "LTC/USD"]):
        CliRunner().invoke(app, [*command, *more])
    assert [config.symbol for config in asked] == ["ETH/USD", "LTC/USD"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--trials", "1"), "search.trials: Input should be greater than or equal to 2"),
        (("--preset", "assignment"), "a reproduction is kept to the letter and is not tuned"),
        (("--cell", "gruu"), "did you mean 'gru'"),
        (("--recipe", "no/such/r.yaml"), "--recipe no/such/r.yaml: the folder"),
        (("--set", "trails=3"), "did you mean 'trials'"),
        (("--source", "csv:none.csv"), "none.csv"),
        (("--source", "sample", "--as-of", "2999-01-01"), "has not closed yet"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_2(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["btc", "tune", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
