"""What becomes of a new version: each test starts from a state folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from flows.forecast import forecast
from flows.retrain import retrain
from models.decisions.promotion import Challenger, Champion
from models.errors import InputError
from models.scoring.ledger import select_record
from models.scoring.promotion import score_origins
from tasks import decide as decide_stage
from tasks.registry.facts import list_facts
from tasks.registry.versions import find_version, read_decision, read_facts, read_recipe
from tasks.storage.ledger import read_ledger, record_forecasts
from tests.flows.states import Run, btc, champion, date, poor_rows
from tests.simulation.days import NAME, RECIPE

pytestmark = pytest.mark.server

SMALL_ASSIGNMENT = {
    "preset": "assignment",
    "units": 2,
    "dense_units": 2,
    "lookback": 5,
    "training": {"epochs": 1},
}


def test_without_a_champion_there_is_no_forecast(run: Run, empty_state: Path) -> None:
    assert "no champion yet; run `btc retrain`" in run(forecast, 0)["refused"]
    assert "has no version yet" in btc("models")
    with pytest.raises(InputError, match="the ledger has no forecast"):
        btc("ledger")


def test_first_run_that_is_rejected_ends_well_without_a_forecast(
    run: Run, empty_state: Path
) -> None:
    summary = run(retrain, 0, recipe=SMALL_ASSIGNMENT)
    assert summary["decision"]["action"] == "reject"
    assert "no champion yet" in summary["forecast"]["refused"]


def test_first_model_is_promoted_and_forecasts(
    run: Run, empty_state: Path, client: MlflowClient
) -> None:
    summary = run(retrain, 0)
    assert summary["decision"]["action"] == "promote"
    assert summary["aliases"] == ["challenger", "champion"]
    assert [row["target_date"] for row in summary["forecast"]["rows"]] == [
        date(step).isoformat() for step in (1, 2, 3)
    ]
    run_id = summary["run_id"]
    kept = {f.path for f in client.list_artifacts(run_id)}
    assert {"decision.json", "scores.json", "config.yaml", "summary.json"} <= kept
    version = find_version(client, NAME, "1")
    assert set(version.tags) == {
        "as_of", "model", "snapshot_sha256", "model_sha256", "decision", "finished"
    }  # fmt: skip
    assert version.tags["decision"].startswith("promote")
    assert read_recipe(version).units == RECIPE["units"]
    decision = read_decision(version)
    assert decision is not None and decision.model_dump(mode="json") == summary["decision"]
    assert version.tags["snapshot_sha256"] == summary["snapshot_hash"]
    assert read_facts(client, version)["parent"] == "none"
    assert version.description.startswith(f"Champion since {date(1)}: promote; the first model")


def test_serving_model_saw_the_newest_days_and_its_holdout_did_not(
    one_day: Path, client: MlflowClient
) -> None:
    logged = client.get_metric_history(str(find_version(client, NAME, "1").run_id), "loss")
    assert logged  # the holdout's
    [path] = (one_day / "holdouts").iterdir()
    newest = pd.read_parquet(path)["origin"].max()
    assert newest == pd.Timestamp(date(-RECIPE["horizon"]), tz="UTC")


def test_same_recipe_on_the_next_day_is_a_refresh(
    run: Run, one_day: Path, client: MlflowClient
) -> None:
    summary = run(retrain, 1)
    assert summary["decision"]["action"] == "refresh"
    assert champion(client) == "2"
    before, after = (find_version(client, NAME, number) for number in ("1", "2"))
    assert read_facts(client, after)["parent"] == "1"
    assert before.description.startswith(f"Champion from {date(1)} to {date(2)}: promote; ")
    assert after.description.startswith(f"Champion since {date(2)}: refresh; ")
    [fact, _] = list_facts(client, NAME)
    assert (fact["decision"], fact["cell"]) == ("refresh", RECIPE["cell"])
    assert fact["reasons"] == summary["decision"]["reasons"]
    assert fact["score"] > 0 and fact["n_days"] > 0
    assert summary["forecast"]["ledger"] == {
        "new": 3, "scored": 1, "rescored": 0, "caught_up": 0
    }  # fmt: skip


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Challenger, Champion]]:
    """Who was compared with whom in the decisions of this test."""
    asked: list[tuple[Challenger, Champion]] = []

    def listen(challenger: Challenger, champion: Champion, *more: Any) -> Any:
        asked.append((challenger, champion))
        return decide(challenger, champion, *more)

    decide = decide_stage.decide
    monkeypatch.setattr(decide_stage, "decide", listen)
    return asked


def test_other_recipe_is_judged_against_the_champions_holdout(
    run: Run, one_day: Path, compared: list[tuple[Challenger, Champion]]
) -> None:
    run(retrain, 1)
    before = set((one_day / "holdouts").iterdir())
    summary = run(retrain, 1, recipe=RECIPE | {"units": 3, "seed": 11})
    assert summary["decision"]["action"] == "reject"
    # Its own scores alone are new: the champion's on the same candles were there already.
    assert len(set((one_day / "holdouts").iterdir()) - before) == 1
    challenger, rival = compared[-1]
    assert rival.version == "2" and challenger.recipe != rival.recipe
    assert rival.n_shared == challenger.n_days
    assert rival.score != rival.challenger_score


def test_reproduction_is_never_promoted(run: Run, one_day: Path, client: MlflowClient) -> None:
    before = champion(client)
    summary = run(retrain, 1, recipe=SMALL_ASSIGNMENT)
    assert summary["decision"]["action"] == "reject"
    assert summary["aliases"] == []
    assert champion(client) == before
    with pytest.raises(InputError, match="never promoted"):
        btc("promote", summary["model_version"], "--why", "please")


def test_retrain_on_old_candles_ends_well_and_only_its_forecast_is_refused(
    run: Run, empty_state: Path
) -> None:
    summary = run(retrain, 9, candles_to=5)
    assert summary["decision"]["action"] == "promote"
    assert summary["forecast"]["refused"].endswith(
        f"is that of {date(5)}, 4 days old; at most 3 are allowed (max_age_days): "
        f"bring the candles up to date, or forecast as of that day (--as-of {date(5)})"
    )
    assert read_ledger(NAME).empty


def test_decision_counts_what_the_champion_forecast_live(
    run: Run, one_day: Path, compared: list[tuple[Challenger, Champion]]
) -> None:
    assert record_forecasts(poor_rows(one_day)) == 120
    run(forecast, 1)
    summary = run(retrain, 2, recipe=RECIPE | {"seed": 5}, promotion={"min_live_days": 10})
    [(_, described)] = compared
    scored = select_record(read_ledger(NAME)).dropna(subset=["crps_bp"])
    predictions = pd.read_parquet(summary["artifacts"]["predictions"])
    judged = set(predictions["origin"].dt.date)
    shared = scored[scored["as_of"].isin(judged)]
    assert described.n_live == shared["as_of"].nunique() >= 40
    naive = score_origins(predictions, "naive").groupby("step")["crps_bp"].mean()
    ratios = shared["crps_bp"] / shared["step"].map(naive)
    by_hand = ratios.groupby(shared["as_of"]).mean().mean()
    assert described.live_score == pytest.approx(by_hand)
    assert described.live_challenger_score is not None
    assert described.live_challenger_score < described.live_score / 5
