"""What MLflow shows of a run: names that other people's queries rely on, rounded numbers, words."""

from __future__ import annotations

import math

import pytest

from models.config.flows import RetrainConfig
from models.config.recipe import Recipe
from models.decisions.promotion import Decision
from models.reporting.runs import (
    describe_run,
    describe_version,
    ended_status,
    loss_metrics,
    name_run,
    retrain_metrics,
    retrain_params,
    round_figure,
    with_status,
)
from models.scoring import metrics as m
from models.scoring.holdout import score_holdout
from tests.models.reporting.facts import make_retrain

KEEP = Decision(action="keep", reasons=("no better", "by far"))


def test_metric_names_are_stable_and_the_most_telling_come_first(fitted):
    stages, forecaster = fitted("lstm", "log_return")
    prepared = stages.prepared
    predictions, evaluation = score_holdout(
        forecaster, prepared.candles, prepared.fold, stages.config.judging
    )
    points = retrain_metrics(evaluation, predictions)
    named = {name: value for name, value, step in points if not step}
    assert list(named) == [
        "skill_vs_naive_h1", "skill_vs_best_h1", "crps_bp_h1", "skill_vs_naive_h3",
        "skill_vs_best_h3", "crps_bp_h3", "coverage_90_h1", "rmse_usd_h1", "skill_rmse_h1",
        "n_days", "naive/coverage_90_h1", "naive/rmse_usd_h1",
    ]  # fmt: skip
    ours, naive = evaluation.metrics[evaluation.model], evaluation.metrics["naive"]
    by_step = {(name, step): value for name, value, step in points if step}
    assert {step for _, step in by_step} == {1, 2, 3}
    for step in (1, 2, 3):
        for name, expected in (
            ("crps_bp", ours[str(step)]["crps_bp"]),
            ("naive/crps_bp", naive[str(step)]["crps_bp"]),
        ):
            assert by_step[name, step] == pytest.approx(expected, rel=1e-4)
    assert named["crps_bp_h3"] == by_step["crps_bp", 3]
    assert named["skill_rmse_h1"] == pytest.approx(evaluation.skill["1"]["skill_rmse"], abs=1e-4)


def test_best_baseline_is_the_best_at_each_step(fitted):
    stages, forecaster = fitted("lstm", "log_return")
    prepared = stages.prepared
    predictions, evaluation = score_holdout(
        forecaster, prepared.candles, prepared.fold, stages.config.judging
    )
    named = {name: value for name, value, _ in retrain_metrics(evaluation, predictions)}
    scored = m.with_crps(predictions)
    for step in (1, 3):
        mean = {
            name: rows.loc[rows["step"] == step, "crps_bp"].mean()
            for name, rows in scored.groupby("model")
        }
        ours = mean.pop(evaluation.model)
        expected = 1 - ours / min(mean.values())
        assert named[f"skill_vs_best_h{step}"] == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(
    ("name", "value", "rounded"),
    [
        ("crps_bp_h1", 122.530449, 122.53),
        ("skill_vs_naive_h1", 0.01618033, 0.0162),
        ("naive/coverage_90_h1", 0.8987654, 0.8988),
        ("rmse_usd_h1", 1552.34567, 1552.3),
        ("rmse_usd_h1", 0.000123456, 0.00012346),
    ],
)
def test_numbers_are_rounded_to_what_they_mean(name, value, rounded):
    assert round_figure(name, value) == rounded


def test_losses_have_the_epoch_as_step_and_no_infinity():
    losses = {"loss": [1.0, 0.5], "val_loss": [math.inf, 0.25]}
    assert loss_metrics(losses) == [("loss", 1.0, 1), ("loss", 0.5, 2), ("val_loss", 0.25, 2)]


def test_parameters_are_what_a_person_varies():
    params = retrain_params(RetrainConfig(recipe=Recipe(cell="lstm"), source="csv:x.csv"))
    assert len(params) == 16
    assert (params["cell"], params["training"], params["source"]) == ("lstm", "chunks", "csv:x.csv")


def test_a_run_is_named_like_a_line_of_a_diary():
    assert name_run("2026-08-21", "gru + regression", [], 0.0103, KEEP) == (
        "2026-08-21 gru + regression +1.0 % · champion kept"
    )
    unproven = Decision(action="refresh", reasons=("r",), unproven=True)
    labels = ["SYNTHETIC", "reproduction: leaks the future"]
    assert name_run("2026-08-21", "gru", labels, None, unproven) == (
        "2026-08-21 gru · refreshed, unproven · SYNTHETIC · reproduction"
    )


def test_a_version_s_description_begins_with_what_became_of_it():
    text = describe_version(KEEP, "It is so.")
    assert text == "Not champion: no better; by far\n\nIt is so."
    serving = with_status(text, "Champion since 2026-08-21: refresh; a: b")
    assert serving == "Champion since 2026-08-21: refresh; a: b\n\nIt is so."
    ended = with_status(serving, ended_status(serving, "2026-08-22"))
    assert ended == "Champion from 2026-08-21 to 2026-08-22: refresh; a: b\n\nIt is so."
    assert ended_status(ended, "2026-08-23") == ended.partition("\n\n")[0]
    # One that an earlier release registered.
    assert with_status(
        "It is old.\n\nMore.", ended_status("It is old.\n\nMore.", "2026-08-22")
    ) == ("Champion until 2026-08-22\n\nIt is old.\n\nMore.")


def test_a_run_s_description_has_verdict_table_picture_and_links():
    text = describe_run(make_retrain(), "get-artifact?path=fan.svg", {"Run in Prefect": "http://p"})
    assert text.startswith("**Better than naive one day ahead")
    assert "| CRPS, bp of log return | 150.0 | 150.0 |" in text
    assert "![The week ahead](get-artifact?path=fan.svg)" in text
    assert text.endswith("[Run in Prefect](http://p)")
    hostile = make_retrain(reason="<script>", synthetic=True)
    assert "<script>" not in describe_run(hostile, "", {}) and "**SYNTHETIC**" in describe_run(
        hostile, "", {}
    )
